//! `cargo xtask test`: every test of the workspace.

use crate::{setup, workspace};
use anyhow::{Result, ensure};
use std::process::Command;

/// Sets up and runs every test, with `args` for the test runner.
pub(crate) fn test(args: &[String]) -> Result<()> {
    setup::onnx_runtime()?;
    let clients_python = setup::clients()?;
    let mut failures = Vec::new();
    for mut run in runs(args)? {
        run.env("SKYSAIL_CLIENTS_PYTHON", &clients_python);
        failures.extend(workspace::run(&mut run).err().map(|error| format!("{error:#}")));
    }
    ensure!(failures.is_empty(), "{}", failures.join("; "));
    Ok(())
}

/// The runs that make up every test; the one with nearly all of them comes last, so that its
/// closing lines do.
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
