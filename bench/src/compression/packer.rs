//! Packager, run by its command line.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Executable `skysail-pack`, and a folder for its output.
pub(super) struct Packer {
    executable: PathBuf,
    folder: TempDir,
}

impl Packer {
    pub(super) fn new(executable: &Path) -> Result<Self> {
        Ok(Self { executable: std::path::absolute(executable)?, folder: tempfile::tempdir()? })
    }

    /// Path in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Packs a model with these flags as `NAME.sky`.
    pub(super) fn pack(&self, name: &str, model: &Path, flags: &[&str]) -> Result<PathBuf> {
        let out = self.path(&format!("{name}.sky"));
        let mut command = Command::new(&self.executable);
        command.arg("pack").arg(model).arg("--out").arg(&out).args(flags);
        run(command)?;
        Ok(out)
    }

    /// Unpacks a package to an ONNX file.
    pub(super) fn unpack(&self, package: &Path) -> Result<PathBuf> {
        let out = package.with_extension("onnx");
        let mut command = Command::new(&self.executable);
        command.arg("unpack").arg(package).arg("--out").arg(&out);
        run(command)?;
        Ok(out)
    }
}

fn run(mut command: Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(())
}
