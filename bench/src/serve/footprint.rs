//! Idle memory: of models with one operator each, and of many replicas relative to one.

use super::Bench;
use crate::build::Build;
use crate::engine_under_test::{install_mlp, install_model};
use crate::targets::{Figures, Target};
use anyhow::Result;
use skysail_graph::{Dim, ElementType, GraphBuilder, Model};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Operators of the models.
const OPERATORS: [&str; 5] = ["Identity", "Relu", "Sigmoid", "Softmax", "Neg"];
/// Most memory of a server of these: 40 MB of an idle one, and 20 MB that trials may leave.
const OPERATORS_MB_MAX: f64 = 60.0;
/// Most memory of further replicas.
const REPLICAS_MB_MAX: f64 = 200.0;

pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    let (folder, rest) = (tempfile::tempdir()?, bench.extent.rest);
    let [operators, one, many] = ["operators", "one", "many"].map(|name| folder.path().join(name));
    for operator in OPERATORS {
        install_model(&operators, operator, &of_operator(operator, bench.extent.operator_width)?)?;
    }
    let count = bench.extent.replicas;
    for (models, count) in [(&one, 1), (&many, count)] {
        let folder = install_mlp(models, "heavy", bench.extent.heavy)?;
        let replicas = format!("replicas = {{ count = {count}, threads = 1 }}\n");
        fs::write(folder.join("model.toml"), replicas)?;
    }
    let (kilobytes, weights_mb) =
        (bench.extent.operator_width * 4 / 1_000, bench.extent.heavy_mb());
    writeln!(
        out,
        "Operators have rows of {kilobytes} kB; the replicas' model has {weights_mb:.0} MB of weights.\n\n\
         | build | {} one-operator models: MB | one replica: MB | {count} replicas: MB |\n\
         |---|---:|---:|---:|",
        OPERATORS.len()
    )?;
    let mut figures = Figures::new();
    for build in &bench.builds {
        let operators_mb = idle_mb(build, &operators, rest)?;
        let (one_mb, many_mb) = (idle_mb(build, &one, rest)?, idle_mb(build, &many, rest)?);
        writeln!(out, "| {} | {operators_mb:.0} | {one_mb:.0} | {many_mb:.0} |", build.name)?;
        if build.is_new() {
            let what = format!("{} one-operator models: resident MB", OPERATORS.len());
            figures.push((what, operators_mb, Target::AtMost(OPERATORS_MB_MAX)));
            let what = format!("{count} replicas: MB beyond one replica's");
            figures.push((what, many_mb - one_mb, Target::AtMost(REPLICAS_MB_MAX)));
        }
    }
    Ok(figures)
}

/// Memory of a server that has loaded its models and rests.
fn idle_mb(build: &Build, models: &Path, rest: Duration) -> Result<f64> {
    let server = build.start_anew(models, &[])?;
    server.wait_ready()?;
    server.resident_mb_after(rest)
}

/// Model of one operator.
fn of_operator(operator: &str, width: u64) -> Result<Model> {
    let dims = [Dim::from("batch"), Dim::Fixed(width)];
    let mut graph = GraphBuilder::new(operator);
    graph
        .input("input", ElementType::Float32, &dims)
        .node(operator, &["input"], &["output"], &[])
        .output("output", ElementType::Float32, &dims);
    Ok(graph.finish()?)
}
