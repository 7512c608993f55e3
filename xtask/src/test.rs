//! `cargo xtask test`: every test of the workspace, or the ONNX project's cases alone.

use crate::{setup, test_report, workspace};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

const BACKEND: &str = "server/tests/onnx_backend";
const SERVER: &str = "skysail-server";
/// Report of cargo-nextest in cargo's folder, as `.config/nextest.toml` has it.
const REPORT: &str = "nextest/default/junit.xml";

/// Flags of `cargo xtask test`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Compares the server with ONNX Runtime instead of running the tests.
    pub onnx_backend: bool,
    /// Folder of models to compare on, instead of the ONNX project's cases.
    pub models: Option<PathBuf>,
    /// File for all findings of the comparison.
    pub json: Option<PathBuf>,
    /// Server program to compare, instead of the release build.
    pub server: Option<PathBuf>,
    /// Arguments for the test runner or the comparison.
    pub args: Vec<String>,
}

/// Sets up, then runs the tests or the comparison.
pub(crate) fn test(flags: &Flags) -> Result<()> {
    setup::onnx_runtime()?;
    let clients_python = setup::clients()?;
    if flags.onnx_backend {
        return workspace::run(&mut backend(flags, clients_python)?);
    }
    // Reports of earlier runs say nothing about this one.
    let report = workspace::target().join(REPORT);
    let _ = fs::remove_file(&report);
    let start = Instant::now();
    let mut failures = Vec::new();
    for mut run in runs(&flags.args)? {
        run.env("SKYSAIL_CLIENTS_PYTHON", &clients_python);
        failures.extend(workspace::run(&mut run).err().map(|error| format!("{error:#}")));
    }
    if let Ok(xml) = fs::read_to_string(&report) {
        println!("\n{}", test_report::summary(&xml, start.elapsed()));
    }
    ensure!(failures.is_empty(), "{}", failures.join("; "));
    Ok(())
}

/// The comparison with ONNX Runtime as a command.
fn backend(flags: &Flags, python: PathBuf) -> Result<Command> {
    let server = flags.server.clone().map_or_else(built_server, Ok)?;
    let mut check = Command::new(python);
    check.arg(workspace::root().join(BACKEND)).arg(server);
    for (flag, value) in [("--models", &flags.models), ("--json", &flags.json)] {
        if let Some(value) = value {
            check.arg(flag).arg(value);
        }
    }
    check.args(&flags.args).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(check)
}

/// Builds the server, and returns the path of the program.
fn built_server() -> Result<PathBuf> {
    let mut build = workspace::cargo("build");
    build.args(["--release", "--package", SERVER, "--bin", SERVER]);
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let built = build.output().context("cannot start cargo")?;
    ensure!(built.status.success(), "the server does not build: cargo says why above");
    let said = String::from_utf8_lossy(&built.stdout);
    let path = said.lines().find_map(executable);
    path.context("cargo does not say where it put the server: name it by --server")
}

/// The built program that a line of cargo's messages names.
fn executable(line: &str) -> Option<PathBuf> {
    let (_, rest) = line.split_once(r#""executable":""#)?;
    Some(rest.split_once('"')?.0.into())
}

/// The commands that run every test. The one with nearly all tests comes last, and so does its
/// summary.
fn runs(args: &[String]) -> Result<Vec<Command>> {
    let has_nextest = workspace::succeeds(workspace::cargo("nextest").arg("--version"))?;
    let mut all = workspace::cargo(if has_nextest { "nextest" } else { "test" });
    if has_nextest {
        all.arg("run");
    }
    let mut documentation = workspace::cargo("test");
    for run in [&mut all, &mut documentation] {
        run.args(["--workspace", "--no-fail-fast"]);
        if workspace::has_mpi()? {
            run.args(["--features", "skysail-trainer/mpi"]);
        }
    }
    all.args(args);
    documentation.args(["--quiet", "--doc"]);
    // `cargo test` runs the documentation tests too.
    Ok(if has_nextest { vec![documentation, all] } else { vec![all] })
}

#[cfg(test)]
mod tests {
    use super::executable;
    use std::path::Path;

    #[test]
    fn the_built_server_is_found_in_cargos_messages() {
        let library = r#"{"reason":"compiler-artifact","executable":null}"#;
        let server = r#"{"reason":"compiler-artifact","executable":"/t/release/skysail-server"}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable("   Compiling"), None);
        assert_eq!(executable(server).as_deref(), Some(Path::new("/t/release/skysail-server")));
    }
}
