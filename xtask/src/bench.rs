//! `cargo xtask bench`: one benchmark, on the release build.

use crate::{setup, workspace};
use anyhow::Result;

/// Sets up and runs the benchmark called `name` with `args`.
pub(crate) fn bench(name: &str, args: &[String]) -> Result<()> {
    setup::onnx_runtime()?;
    let mut server = workspace::cargo("build");
    server.args(["--release", "--package", "skysail-server"]);
    workspace::run(&mut server)?;
    let mut bench = workspace::cargo("run");
    bench.args(["--release", "--package", "skysail-bench", "--", name]).args(args);
    workspace::run(&mut bench)
}
