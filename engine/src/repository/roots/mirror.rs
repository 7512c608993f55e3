//! The seam to places elsewhere, whose models are copied to this machine.

use std::collections::BTreeMap;
use std::path::Path;

/// Keeps a copy of a place elsewhere on this machine.
///
/// A changed model is copied beside its older copy and then takes the older one's place at once, so
/// that it can be read meanwhile.
pub trait Mirror: Send + Sync {
    /// Path of the copy: a repository's folder, or the file or folder of a model.
    fn copy(&self) -> &Path;

    /// Models of the place by name, each with the reason why its newest state is not in the copy.
    fn models(&self) -> BTreeMap<String, Option<String>>;

    /// State of the copy as a whole.
    fn state(&self) -> Copied;

    /// Copies the newest state of one model, and waits for that.
    ///
    /// # Errors
    /// The place can not be read, or the model not be copied.
    fn fetch(&self, model: &str) -> Result<(), String>;
}

/// State of a copy as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It is as the place was when it was last looked at.
    All,
    /// It has never been complete, for this reason.
    NotYet(String),
    /// It is as the place was some time ago, for this reason.
    Before(String),
}
