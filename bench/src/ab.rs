//! `skysail-bench ab`: two builds of the server in alternating runs, so that changes of the
//! machine's speed affect both alike.

use crate::alternation::{alternate, ratio};
use crate::build::Build;
use crate::comparison::{self, Bounds};
use crate::engine_under_test::{WIDE_MLP, install};
use crate::load::ClosedLoop;
use crate::targets::{self, Figure, Target};
use anyhow::{Result, ensure};
use clap::Args;
use skysail_loadtest::quantiles::median;
use skysail_loadtest::target::Protocol;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Least ratio of the new build's throughput, and greatest of its CPU time.
const BOUNDS: Bounds = Bounds { throughput_min: 0.98, cpu_max: COST_MAX };
/// Greatest ratio of the new build's CPU time, memory or start time to the old one's.
const COST_MAX: f64 = 1.02;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench ab --old ../before/skysail-server
  cargo xtask bench ab --old before/skysail-server --new after/skysail-server --rounds 15";

/// Compares two builds of the server
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Executable of the build to compare with
    #[arg(long, value_name = "FILE")]
    old: PathBuf,
    /// Executable of the build under test
    #[arg(long, value_name = "FILE", default_value = "target/release/skysail-server")]
    new: PathBuf,
    /// Alternations of each load; each measures both builds once
    #[arg(long, value_name = "N", default_value_t = 9)]
    rounds: usize,
    /// Seconds of one measurement
    #[arg(long, value_name = "S", default_value_t = 1)]
    seconds: u64,
    /// Starts of each build, for the start time and the idle memory
    #[arg(long, value_name = "N", default_value_t = 15)]
    starts: usize,
    /// ONNX file of the small model
    #[arg(long, value_name = "FILE", default_value = "models/digits/1/model.onnx")]
    small: PathBuf,
}

/// Loads that both builds are measured under: model, protocol, connections.
const LOADS: [(&str, Protocol, usize); 7] = [
    ("small", Protocol::Binary, 1),
    ("small", Protocol::Binary, 64),
    ("small", Protocol::Json, 1),
    ("small", Protocol::Json, 64),
    ("small", Protocol::Grpc, 1),
    ("small", Protocol::Grpc, 64),
    ("wide", Protocol::Binary, 64),
];

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    ensure!(flags.rounds > 0 && flags.starts > 0, "--rounds and --starts are above 0");
    let mut out = io::stdout().lock();
    let builds = [Build::new("old", &flags.old)?, Build::new("new", &flags.new)?];
    let mut figures = idle(&mut out, flags, &builds)?;
    figures.extend(loads(&mut out, flags, &builds)?);
    writeln!(out, "\n### Targets\n")?;
    targets::print(&mut out, &figures)?;
    Ok(out.flush()?)
}

/// Measures start time and idle memory with the small model, the server's defaults, and files that
/// each build has seen before.
fn idle(out: &mut impl Write, flags: &Flags, builds: &[Build; 2]) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    install(folder.path(), "small", &flags.small)?;
    let start = |build: &Build| {
        let server = build.start(folder.path(), &[])?;
        server.first_answer("small")?;
        Ok((server.started.elapsed().as_secs_f64() * 1e3, server.resident_mb()?))
    };
    builds.iter().try_for_each(|build| start(build).map(drop))?;
    let starts = alternate(flags.starts, builds.each_ref(), |build| start(build))?;
    writeln!(out, "## Start and idle memory, the small model alone\n")?;
    writeln!(out, "| what | old | new | new/old |\n|---|---:|---:|---:|")?;
    let of = |figure: fn(&(f64, f64)) -> f64| {
        starts.each_ref().map(|starts| starts.iter().map(figure).collect::<Vec<f64>>())
    };
    let mut figures = Vec::new();
    for (what, [old, new]) in [
        ("start to first response, ms", of(|(ms, _)| *ms)),
        ("idle: resident MB", of(|(_, mb)| *mb)),
    ] {
        let ratio = ratio(&new, &old);
        writeln!(out, "| {what} | {:.1} | {:.1} | {ratio:.3} |", median(&old), median(&new))?;
        figures.push((what.to_owned(), ratio, Target::AtMost(COST_MAX)));
    }
    Ok(figures)
}

/// Measures both builds under each load. Replicas are set, as calibration could choose different
/// ones at each start.
fn loads(out: &mut impl Write, flags: &Flags, builds: &[Build; 2]) -> Result<Vec<Figure>> {
    let cores = std::thread::available_parallelism()?.get();
    let folder = tempfile::tempdir()?;
    let wide = folder.path().join("wide.onnx");
    skysail_graph::mlp(WIDE_MLP, 1)?.save(&wide)?;
    let models = folder.path().join("models");
    for (name, file, count, threads) in
        [("small", &flags.small, cores, 1), ("wide", &wide, 1, cores)]
    {
        let replicas = format!("replicas = {{ count = {count}, threads = {threads} }}\n");
        fs::write(install(&models, name, file)?.join("model.toml"), replicas)?;
    }
    let servers = [builds[0].start(&models, &[])?, builds[1].start(&models, &[])?];
    for server in &servers {
        server.first_answer("small")?;
        server.first_answer("wide")?;
    }
    writeln!(
        out,
        "\n## Closed loops, one row a request: medians of {} rounds of {} s\n",
        flags.rounds, flags.seconds
    )?;
    comparison::head(out)?;
    let duration = Duration::from_secs(flags.seconds);
    let mut figures = Vec::new();
    for (model, protocol, connections) in LOADS {
        let closed = ClosedLoop { models: &[model], protocol, connections, duration };
        figures.extend(comparison::row(out, servers.each_ref(), &closed, flags.rounds, BOUNDS)?);
    }
    Ok(figures)
}
