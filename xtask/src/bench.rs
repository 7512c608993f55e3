//! `cargo xtask bench`: one benchmark, on the release build.

use crate::{setup, workspace};
use anyhow::Result;

/// Sets up and runs the benchmark called `name` with `args`.
pub(crate) fn bench(name: &str, args: &[String]) -> Result<()> {
    setup::onnx_runtime()?;
    let mut programs = workspace::cargo("build");
    programs.arg("--release");
    match name {
        "training" => {
            programs.args(["--package", "skysail-trainer", "--bins", "--examples"]);
            if workspace::has_mpi()? {
                programs.args(["--features", "mpi"]);
            }
        }
        _ => {
            programs.args(["--package", "skysail-server", "--package", "skysail-compression"]);
        }
    }
    workspace::run(&mut programs)?;
    let mut bench = workspace::cargo("run");
    bench.args(["--release", "--package", "skysail-bench", "--", name]).args(args);
    workspace::run(&mut bench)
}
