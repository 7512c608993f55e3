//! Python for the set-up: pip, and virtual environments.

use crate::workspace::{run, succeeds};
use anyhow::{Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

const PYTHON: &str = "python3";
const NO_PYTHON: &str = "Python 3 is missing. On Debian or Ubuntu, as root: \
    apt-get install python3 python3-pip python3-venv";
const NO_VENV: &str = "Python cannot make a virtual environment here. \
    On Debian or Ubuntu, as root: apt-get install python3-pip python3-venv";

/// A Python that has pip: the system's, or else that of the virtual environment in `venv`. Makes
/// the environment if needed.
pub(crate) fn with_pip(venv: &Path) -> Result<PathBuf> {
    ensure_python()?;
    let inside = interpreter(venv);
    for python in [PathBuf::from(PYTHON), inside.clone()] {
        if succeeds(Command::new(&python).args(["-m", "pip", "--version"]))? {
            return Ok(python);
        }
    }
    make_venv(venv)?;
    Ok(inside)
}

/// Makes an empty virtual environment in `venv`, and replaces an older one.
pub(crate) fn make_venv(venv: &Path) -> Result<()> {
    ensure_python()?;
    let made = run(Command::new(PYTHON).args(["-m", "venv", "--clear"]).arg(venv));
    ensure!(made.is_ok(), NO_VENV);
    Ok(())
}

/// The Python of the virtual environment in `venv`.
pub(crate) fn interpreter(venv: &Path) -> PathBuf {
    venv.join("bin/python")
}

/// A pip command that asks nothing and builds nothing.
pub(crate) fn pip(python: &Path, subcommand: &str) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", subcommand, "--disable-pip-version-check", "--no-input"]);
    pip.arg("--only-binary=:all:");
    pip
}

/// Unpacks a wheel, which is a zip file.
pub(crate) fn unzip(wheel: &Path, into: &Path) -> Result<()> {
    run(Command::new(PYTHON).args(["-m", "zipfile", "-e"]).arg(wheel).arg(into))
}

fn ensure_python() -> Result<()> {
    ensure!(succeeds(Command::new(PYTHON).arg("--version"))?, NO_PYTHON);
    Ok(())
}
