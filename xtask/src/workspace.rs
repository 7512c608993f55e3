//! The workspace's folders, and commands run in them.

use anyhow::{Context, Result, ensure};
use std::{
    env,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable for what it runs; the tree may have moved since the build.
    let xtask =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&xtask).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The folder that cargo builds in, unless a configuration file names another.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |path| root().join(path))
}

/// A cargo command in the workspace's root.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg(subcommand).current_dir(root());
    // Variables about this package would make some build scripts run anew.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Runs a command to its end, and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    run_beside(command, || Ok(()))
}

/// Runs a command to its end while `work` goes on. An error of `work` kills the command.
pub(crate) fn run_beside(command: &mut Command, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let shown = shown(command);
    let mut child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
    if let Err(error) = work() {
        child.kill()?;
        child.wait()?;
        return Err(error);
    }
    let status = child.wait()?;
    ensure!(status.success(), "`{shown}` failed ({status})");
    Ok(())
}

/// Returns true if a command exists and succeeds. Its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) => Ok(status.success()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot start `{}`", shown(command))),
    }
}

/// Returns true if the trainer can be built with MPI, which needs `mpicc` and `clang`.
pub(crate) fn has_mpi() -> Result<bool> {
    let has = |program| succeeds(Command::new(program).arg("--version"));
    Ok(has("mpicc")? && has("clang")?)
}

/// A command as a person would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
