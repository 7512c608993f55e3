//! Limit of open files of this process and of those that it starts.

use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as the system allows, which must be to `least`.
pub(crate) fn raise(least: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let maximum = limit.maximum.unwrap_or(u64::MAX);
    ensure!(
        maximum >= least as u64,
        "{least} files must be open, and the system allows {maximum}: raise it by `ulimit -Hn`"
    );
    Ok(())
}
