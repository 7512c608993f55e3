//! How versions are tried in a process of their own before they are loaded.

use std::path::PathBuf;

/// The trial of versions that were not met before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSettings {
    /// The program that tries them, which calls [`crate::probe::probe_child`].
    pub program: PathBuf,
    /// What it is called with, before what the child takes itself.
    pub arguments: Vec<String>,
    /// How long it may take to load a file, and to run it once.
    pub timeout_ms: u64,
    /// Bytes of RAM that it may have; by the file's size and the machine's memory when it is not
    /// given.
    pub memory_bytes_max: Option<u64>,
    /// The folder in which results are kept for the next start; they are not when there is none.
    pub cache: Option<PathBuf>,
}
