//! Builds of the server that are compared.

use crate::process::Server;
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Build of the server, with its own cache for the verdicts of its probes.
pub(crate) struct Build {
    /// `old` or `new`.
    pub(crate) name: &'static str,
    executable: PathBuf,
    cache: TempDir,
}

impl Build {
    /// Finds a build.
    ///
    /// # Errors
    /// Fails if the executable does not exist.
    pub(crate) fn new(name: &'static str, executable: &Path) -> Result<Self> {
        ensure!(executable.is_file(), "{} does not exist", executable.display());
        let executable = std::path::absolute(executable)?;
        Ok(Self { name, executable, cache: tempfile::tempdir()? })
    }

    /// The build to compare with, if any, and then the one under test.
    pub(crate) fn all(old: Option<&Path>, new: &Path) -> Result<Vec<Self>> {
        let old = old.map(|old| Self::new("old", old));
        old.into_iter().chain([Self::new("new", new)]).collect()
    }

    /// True for the build under test, whose figures have targets.
    pub(crate) fn is_new(&self) -> bool {
        self.name == "new"
    }

    /// Starts the build with further flags.
    pub(crate) fn start(&self, models: &Path, flags: &[&str]) -> Result<Server> {
        self.start_with_cache(models, self.cache.path(), flags)
    }

    /// Starts the build as one that has seen none of the models before.
    pub(crate) fn start_anew(&self, models: &Path, flags: &[&str]) -> Result<Server> {
        let cache = tempfile::tempdir_in(self.cache.path())?.keep();
        self.start_with_cache(models, &cache, flags)
    }

    fn start_with_cache(&self, models: &Path, cache: &Path, flags: &[&str]) -> Result<Server> {
        let mut command = Server::command(&self.executable, models);
        command.env("XDG_CACHE_HOME", cache).args(flags);
        Server::run(command)
    }
}
