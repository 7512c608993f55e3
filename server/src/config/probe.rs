//! Settings of the probe, which tries new model files in a child process.

use crate::PROBE_CHILD;
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use skysail_engine::config::ProbeSettings;
use std::env::var_os;
use std::path::PathBuf;

/// Default time limit for loading a file, and for running it once.
const TIMEOUT_MS: u64 = 300_000;

/// The running program, even if its file has been replaced since.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The probe of new versions. Some models crash the process that loads or runs them, which must not
/// be the server.
#[derive(Args, Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Probe {
    /// Model files that are first tried in a child process. A file that crashes it is not loaded by
    /// the server [default: new].
    #[arg(long = "probe", value_name = "WHICH")]
    which: Option<Which>,
    /// Time limit in milliseconds for the child process to load a file, and to run it once
    /// [default: 300000].
    #[arg(long = "probe-timeout-ms", value_name = "MS")]
    timeout_ms: Option<u64>,
    /// Memory limit of the child process in bytes [default: 16 times the files (compressed packages: 64
    /// times), at least 2147483648, at most 3/4 of RAM].
    #[arg(long = "probe-memory-bytes-max", value_name = "BYTES")]
    memory_bytes_max: Option<u64>,
    /// Folder that remembers the results, so that a restart does not repeat them
    /// [default: skysail in $XDG_CACHE_HOME or ~/.cache].
    #[arg(long = "probe-cache", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Program to run instead of this one, for tests.
    #[arg(long = "probe-program", value_name = "FILE", hide = true)]
    program: Option<PathBuf>,
}

/// Versions that are probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Which {
    /// Files that were not probed before with this version of ONNX Runtime.
    New,
    /// None: a file that crashes its process crashes the server.
    Never,
}

impl Probe {
    pub(super) fn or(self, other: &Self) -> Self {
        Self {
            which: self.which.or(other.which),
            timeout_ms: self.timeout_ms.or(other.timeout_ms),
            memory_bytes_max: self.memory_bytes_max.or(other.memory_bytes_max),
            cache: self.cache.or(other.cache.clone()),
            program: self.program.or(other.program.clone()),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.timeout_ms != Some(0), "probe-timeout-ms must be at least 1");
        ensure!(self.memory_bytes_max != Some(0), "probe-memory-bytes-max must be at least 1");
        Ok(())
    }

    /// The engine's settings.
    pub(super) fn engine(&self) -> Option<ProbeSettings> {
        if self.which == Some(Which::Never) {
            return None;
        }
        Some(ProbeSettings {
            program: self.program.clone().unwrap_or_else(|| THIS_PROGRAM.into()),
            arguments: vec![PROBE_CHILD.into()],
            timeout_ms: self.timeout_ms.unwrap_or(TIMEOUT_MS),
            memory_bytes_max: self.memory_bytes_max,
            cache: self.cache.clone().or_else(cache),
        })
    }
}

/// The user's cache folder for skysail, if there is one.
pub(super) fn cache() -> Option<PathBuf> {
    let folder = |name: &str| var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || folder("HOME").map(|home| home.join(".cache"));
    folder("XDG_CACHE_HOME").or_else(home).map(|folder| folder.join("skysail"))
}
