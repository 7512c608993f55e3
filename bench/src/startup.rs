//! `skysail-bench startup`: the time until a server has loaded many models, beside an older build.
//! A slow model is measured in its own runs.

use crate::alternation::alternate_all;
use crate::engine_under_test::{install, install_tiny};
use crate::http;
use crate::load::wait;
use crate::process::Server;
use crate::targets::{self, Figures, Target};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Tensor};
use skysail_loadtest::quantiles::median;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Greatest ratio of the new build's time to the old one's.
const RATIO_MAX: f64 = 0.5;

/// Greatest time until the tiny models are ready, in seconds.
const TINY_S_MAX: f64 = 1.0;

/// Greatest time until a slow model is ready, in its runs: two, and what a run does not explain.
const RUNS_MAX: f64 = 2.5;

/// Tiny models beside the real ones.
const TINY: usize = 10;

/// Time limit of a start.
const START_MAX: Duration = Duration::from_secs(300);

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench startup --old ../before/skysail-server
  cargo xtask bench startup --rounds 1 --slow-steps 40";

/// Measures the start with many models
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Executable of the build to compare with
    #[arg(long, value_name = "FILE")]
    old: Option<PathBuf>,
    /// Executable of the build under test
    #[arg(long, value_name = "FILE", default_value = "target/release/skysail-server")]
    new: PathBuf,
    /// Folder with real models
    #[arg(long, value_name = "DIR", default_value = "../shared/data")]
    data: PathBuf,
    /// Alternations; each starts both builds twice, with and without results of earlier trials
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Products of large matrices that the slow model makes in a run
    #[arg(long, value_name = "N", default_value_t = 250)]
    slow_steps: usize,
}

/// Times of one start in seconds.
#[derive(Clone, Copy)]
struct Start {
    /// Time until every model is ready or has failed.
    all_s: f64,
    /// Time until the tiny models are.
    tiny_s: f64,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let builds: Vec<&PathBuf> = flags.old.iter().chain([&flags.new]).collect();
    for program in &builds {
        ensure!(program.is_file(), "{} does not exist", program.display());
    }
    ensure!(flags.rounds > 0, "--rounds is above 0");
    let mut out = io::stdout().lock();
    let mut figures = many(&mut out, flags, &builds)?;
    figures.extend(slow(&mut out, flags)?);
    writeln!(out, "\n### Targets\n")?;
    targets::print(&mut out, &figures)?;
    Ok(out.flush()?)
}

/// Measures starts with all real models and the tiny ones.
fn many(out: &mut impl Write, flags: &Flags, builds: &[&PathBuf]) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let names = install_all(folder.path(), &flags.data)?;
    writeln!(out, "## Start with {} models: medians of {} rounds\n", names.len(), flags.rounds)?;
    writeln!(out, "| trials known | build | all loaded, s | tiny ones, s |\n|---|---|---:|---:|")?;
    let starts = alternate_all(flags.rounds, &mut builds.to_vec(), |build| {
        let cache = tempfile::tempdir()?;
        let start = || start(build, folder.path(), cache.path(), &names);
        Ok([start()?, start()?])
    })?;
    let mut figures = Figures::new();
    for (kind, known) in ["no", "yes"].into_iter().enumerate() {
        let of = |which: usize, value: fn(&Start) -> f64| {
            let of_kind = starts[which].iter().map(|starts| value(&starts[kind]));
            median(&of_kind.collect::<Vec<f64>>())
        };
        for (which, build) in builds.iter().enumerate() {
            let (all_s, tiny_s) = (of(which, |start| start.all_s), of(which, |start| start.tiny_s));
            let build = build.display();
            writeln!(out, "| {known} | {build} | {all_s:.2} | {tiny_s:.2} |")?;
        }
        let new = builds.len() - 1;
        let what = format!("trials known: {known}; until");
        if new > 0 {
            let ratio = of(new, |start| start.all_s) / of(0, |start| start.all_s);
            let what = format!("{what} all are loaded, relative to the old build");
            figures.push((what, ratio, Target::AtMost(RATIO_MAX)));
        }
        let tiny_s = of(new, |start| start.tiny_s);
        figures.push((
            format!("{what} the tiny ones are ready, s"),
            tiny_s,
            Target::AtMost(TINY_S_MAX),
        ));
    }
    Ok(figures)
}

/// Measures the time until a slow model is ready, in its runs on one thread.
fn slow(out: &mut impl Write, flags: &Flags) -> Result<Figures> {
    let names = BTreeSet::from(["slow".to_owned()]);
    let folder = tempfile::tempdir()?;
    save_slow(folder.path(), flags.slow_steps)?;
    let started = |cache: &Path| launch(&flags.new, folder.path(), cache);
    let unpinned = tempfile::tempdir()?;
    let ready_s = wait_loaded(&started(unpinned.path())?, &names)?.all_s;
    fs::write(folder.path().join("slow/model.toml"), "replicas = { count = 1, threads = 1 }\n")?;
    let pinned = tempfile::tempdir()?;
    let server = started(pinned.path())?;
    wait_loaded(&server, &names)?;
    let began = Instant::now();
    let request = r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}"#;
    http::post(&server.http, "/v2/models/slow/infer", request)?;
    let run_s = began.elapsed().as_secs_f64();
    let runs = ready_s / run_s;
    writeln!(
        out,
        "\nThe slow model runs {run_s:.2} s on one thread, and is ready after {ready_s:.2} s."
    )?;
    let what = "a slow model is ready, in its runs on one thread".to_owned();
    Ok(vec![(what, runs, Target::AtMost(RUNS_MAX))])
}

/// Installs the real models that are there, and the tiny ones. Returns their names.
fn install_all(models: &Path, data: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let folder = data.join("models");
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let file = entry.path().join("model.onnx");
        if file.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            install(models, &name, &file)?;
            names.insert(name);
        }
    }
    for index in 0..TINY {
        let name = format!("tiny{index}");
        install_tiny(models, &name, index as f32)?;
        names.insert(name);
    }
    Ok(names)
}

/// Writes a model whose runs take seconds: a chain of products of large matrices.
fn save_slow(models: &Path, steps: usize) -> Result<()> {
    const SIDE: u64 = 1024;
    let matrix = vec![1.0 / SIDE as f32; (SIDE * SIDE) as usize];
    let mut graph = GraphBuilder::new("slow");
    graph
        .input("x", ElementType::Float32, &[Dim::from(1)])
        .initializer("matrix", Tensor::new(&[SIDE, SIDE], &matrix)?)
        .node("Add", &["x", "matrix"], &["step0"], &[]);
    for step in 1..=steps {
        let (from, to) = (format!("step{}", step - 1), format!("step{step}"));
        graph.node("MatMul", &[&from, "matrix"], &[&to], &[]);
    }
    let last = format!("step{steps}");
    graph.node("ReduceMean", &[&last], &["y"], &[("keepdims", Attribute::Int(0))]).output(
        "y",
        ElementType::Float32,
        &[],
    );
    let version = models.join("slow/1");
    fs::create_dir_all(&version)?;
    Ok(graph.finish()?.save(version.join("model.onnx"))?)
}

fn launch(build: &Path, models: &Path, cache: &Path) -> Result<Server> {
    let mut command = Server::command(build, models);
    command.env("XDG_CACHE_HOME", cache);
    Server::run(command)
}

fn start(build: &Path, models: &Path, cache: &Path, names: &BTreeSet<String>) -> Result<Start> {
    let server = launch(build, models, cache)?;
    let start = wait_loaded(&server, names)?;
    // Trials that come after the load, and the cache of all of them, are waited for.
    wait(Duration::from_secs(2))?;
    Ok(start)
}

/// Waits until all models are ready or have failed.
fn wait_loaded(server: &Server, names: &BTreeSet<String>) -> Result<Start> {
    let mut tiny_s = None;
    loop {
        let after_s = server.started.elapsed().as_secs_f64();
        let index = http::post(&server.http, "/v2/repository/index", "").unwrap_or_default();
        let index: Value = serde_json::from_str(&index).unwrap_or_default();
        let loaded: BTreeSet<&str> = index
            .as_array()
            .into_iter()
            .flatten()
            .filter(|entry| entry["state"] != "LOADING")
            .filter_map(|entry| entry["name"].as_str())
            .collect();
        let is_loaded = |name: &&String| loaded.contains(name.as_str());
        if names.iter().filter(|name| name.starts_with("tiny")).all(|name| is_loaded(&name)) {
            tiny_s.get_or_insert(after_s);
        }
        if names.iter().all(|name| is_loaded(&name)) {
            return Ok(Start { all_s: after_s, tiny_s: tiny_s.unwrap_or(after_s) });
        }
        if server.started.elapsed() > START_MAX {
            bail!("not everything is loaded after {after_s:.0} s");
        }
        wait(Duration::from_millis(5))?;
    }
}
