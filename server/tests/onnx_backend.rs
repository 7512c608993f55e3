//! Compares the server with ONNX Runtime: selected cases of the ONNX project, and small models.
//!
//! The client is in Python, in `onnx_backend/`; SKYSAIL_CLIENTS_PYTHON names the interpreter.
//! `cargo xtask test --onnx-backend` checks all cases.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx_backend");
const CHOSEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx_backend/chosen.txt");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/venv/bin/python");

#[test]
fn selected_cases_match_onnx_runtime() -> io::Result<()> {
    check(&["--cases", CHOSEN])
}

#[test]
fn our_models_match_onnx_runtime() -> io::Result<()> {
    check(&["--own"])
}

/// Runs the checks; prints a note if Python lacks the packages.
#[expect(clippy::print_stdout, reason = "says what was checked, and what was skipped")]
fn check(arguments: &[&str]) -> io::Result<()> {
    let python = env::var_os("SKYSAIL_CLIENTS_PYTHON").map_or_else(|| PYTHON.into(), PathBuf::from);
    if !has_packages(&python) {
        println!(
            "SKIPPED: {} has no packages `onnx` and `onnxruntime`: run `cargo xtask setup \
             --clients`, which brings them",
            python.display()
        );
        return Ok(());
    }
    let checked = Command::new(python)
        .arg(SCRIPT)
        .arg(env!("CARGO_BIN_EXE_skysail-server"))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()?;
    let said = String::from_utf8_lossy(&checked.stdout);
    let errors = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{}:\n{said}\n{errors}", checked.status);
    println!("{said}");
    Ok(())
}

fn has_packages(python: &Path) -> bool {
    let imported = Command::new(python).args(["-c", "import onnx, onnxruntime"]).output();
    imported.is_ok_and(|output| output.status.success())
}
