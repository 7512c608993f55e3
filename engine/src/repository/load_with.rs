//! Settings and files that come with a request to load a model.

use super::sent_files::SentFiles;
use std::sync::Arc;

/// Settings and files that replace those in a model's folder.
#[derive(Clone, Debug, Default)]
pub struct LoadWith {
    /// Triton's model configuration as JSON, in place of the settings in the folder.
    pub config: Option<String>,
    /// Files in place of the whole folder.
    pub files: Option<Arc<SentFiles>>,
}

impl From<Option<String>> for LoadWith {
    fn from(config: Option<String>) -> Self {
        Self { config, files: None }
    }
}
