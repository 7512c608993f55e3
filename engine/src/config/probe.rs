//! Settings of the probe, which tries versions in a child process before they are loaded.

use std::path::PathBuf;

/// Settings of the probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSettings {
    /// Program of the child, which calls [`crate::probe::probe_child`].
    pub program: PathBuf,
    /// Arguments of the program, before those that the engine appends.
    pub arguments: Vec<String>,
    /// Milliseconds for loading a file, and for running it once.
    pub timeout_ms: u64,
    /// Bytes of RAM that the child may use. Default: from the file's size and the machine's memory.
    pub memory_bytes_max: Option<u64>,
    /// Folder that caches verdicts for the next start; `None` turns caching off.
    pub cache: Option<PathBuf>,
}
