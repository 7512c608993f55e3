//! `skysail-bench loadgen`: our load generator beside others. One thread drives a trivial
//! responder, which shows its limit; models whose server is the limit show whether the generators
//! agree.

mod perf_analyzer;
mod responder;

use crate::alternation::{Side, alternate_all};
use crate::cores::Cores;
use crate::engine_under_test::{WIDE_MLP, install_mlp};
use crate::load::{ClosedLoop, Generator, LoadResult, drive};
use crate::process::Server;
use crate::targets::{self, Figures, Target};
use anyhow::{Context, Result, ensure};
use clap::Args;
use perf_analyzer::PerfAnalyzer;
use responder::Responder;
use skysail_loadtest::Load;
use skysail_loadtest::arrival::{Arrival, Window};
use skysail_loadtest::quantiles;
use skysail_loadtest::report::Report;
use skysail_loadtest::target::{self, Protocol};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Requests a second that one core must drive.
const REQUESTS_PER_S: f64 = 60_000.0;
/// Greatest relative differences of throughput and p99 from another generator.
const THROUGHPUT_OFF_MAX: f64 = 0.05;
const P99_OFF_MAX: f64 = 0.10;

/// Measure the load generator
#[derive(Args)]
pub(crate) struct Flags {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Alternations of the generators
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Executable of the server
    #[arg(long, default_value = "target/release/skysail-server")]
    server: PathBuf,
    /// Python environment for perf_analyzer, created if it does not exist
    #[arg(long, default_value = "target/loadgen/venv")]
    venv: PathBuf,
    /// Measure the trivial responder only
    #[arg(long)]
    only_responder: bool,
}

/// Model of the agreement, with the connections at which the server is the limit.
struct AgreementModel {
    name: &'static str,
    sizes: &'static [u64],
    connections: usize,
}

const MODELS: [AgreementModel; 2] = [
    AgreementModel { name: "wide", sizes: WIDE_MLP, connections: 4 },
    AgreementModel {
        name: "deep",
        sizes: &[512, 2048, 2048, 2048, 2048, 2048, 512],
        connections: 8,
    },
];

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut figures = trivial(&mut out, flags)?;
    if !flags.only_responder {
        figures.extend(agreement(&mut out, flags)?);
    }
    writeln!(out, "\n### Targets\n")?;
    targets::print(&mut out, &figures)?;
    Ok(out.flush()?)
}

/// Measures one thread of each generator against the trivial responder.
fn trivial(out: &mut impl Write, flags: &Flags) -> Result<Figures> {
    let responder = Responder::start()?;
    writeln!(out, "## One thread against a trivial responder\n")?;
    writeln!(out, "| loop | generator | connections | req/s | p50 us | p99 us | busy |")?;
    writeln!(out, "|---|---|---:|---:|---:|---:|---:|")?;
    let mut best = 0.0_f64;
    for connections in [16, 64] {
        let closed = ClosedLoop {
            models: &["trivial"],
            protocol: Protocol::Json,
            connections,
            duration: Duration::from_secs(flags.seconds),
        };
        if closed.generator() == Generator::Wrk {
            let seen = closed.run(&responder.address)?;
            let LoadResult { requests_per_s: rate, p50_us, p99_us, .. } = seen;
            writeln!(
                out,
                "| closed | wrk | {connections} | {rate:.0} | {p50_us:.0} | {p99_us:.0} | |"
            )?;
        }
        let report = load(&responder, flags.seconds, Arrival::Closed, connections)?;
        best = best.max(report.requests_per_s);
        row(out, "closed", connections, &report)?;
    }
    let open = Arrival::Constant { requests_per_s: REQUESTS_PER_S };
    let report = load(&responder, flags.seconds, open, 64)?;
    row(out, "open", 64, &report)?;
    if let Some(reason) = &report.invalid_because {
        writeln!(out, "\nThe open loop is not valid: {reason}.")?;
    }
    Ok(vec![
        ("closed loop, one thread: req/s".into(), best, Target::AtLeast(REQUESTS_PER_S)),
        (
            "open loop at 60000/s: req/s".into(),
            report.requests_per_s,
            Target::AtLeast(0.99 * REQUESTS_PER_S),
        ),
    ])
}

fn load(
    responder: &Responder,
    seconds: u64,
    arrival: Arrival,
    connections: usize,
) -> Result<Report> {
    let address = format!("http://{}", responder.address).parse()?;
    let target = target::Target::new(address, Protocol::Json, "trivial");
    let load = Load {
        arrival,
        connections,
        threads: 1,
        busy_poll: false,
        window: Window { warm_up: Duration::from_secs(1), duration: Duration::from_secs(seconds) },
        timeout: Duration::from_secs(10),
        objective: None,
    };
    drive(target, &load)
}

fn row(out: &mut impl Write, kind: &str, connections: usize, report: &Report) -> Result<()> {
    let us = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |us| format!("{us:.0}"));
    writeln!(
        out,
        "| {kind} | skysail-load | {connections} | {:.0} | {} | {} | {:.0} % |",
        report.requests_per_s,
        us(report.latency_us_p50),
        us(report.latency_us_p99),
        report.utilization * 1e2
    )?;
    Ok(())
}

/// The generators in turn on models whose server is the limit.
fn agreement(out: &mut impl Write, flags: &Flags) -> Result<Figures> {
    ensure!(flags.server.is_file(), "{} is not built", flags.server.display());
    let folder = tempfile::tempdir()?;
    for model in &MODELS {
        let model_folder = install_mlp(folder.path(), model.name, model.sizes)?;
        // Without batching: batch sizes would depend on how soon a generator sends again.
        std::fs::write(model_folder.join("model.toml"), "max_batch_size = 0\n")?;
    }
    let start = || Server::start(&flags.server, folder.path());
    let server = Cores::split(out)?.start(start)?;
    writeln!(out, "\n## Agreement, closed loops in alternation, raw tensors over HTTP\n")?;
    let perf_analyzer = PerfAnalyzer::find(&flags.venv);
    if let Err(reason) = &perf_analyzer {
        writeln!(out, "perf_analyzer is left out: {reason:#}\n")?;
    }
    writeln!(
        out,
        "| model | connections | generator | req/s | p50 us | p99 us |\n|---|---:|---|---:|---:|---:|"
    )?;
    let mut figures = Vec::new();
    for model in &MODELS {
        server.first_answer(model.name)?;
        let alternation = Alternation { model, server: &server, flags };
        figures.extend(alternation.compare(out, perf_analyzer.as_ref().ok())?);
    }
    Ok(figures)
}

/// Alternating runs of one model.
struct Alternation<'a> {
    model: &'a AgreementModel,
    server: &'a Server,
    flags: &'a Flags,
}

impl Alternation<'_> {
    fn compare(
        &self,
        out: &mut impl Write,
        perf_analyzer: Option<&PerfAnalyzer>,
    ) -> Result<Figures> {
        let models = [self.model.name];
        let closed = ClosedLoop {
            models: &models,
            protocol: Protocol::Binary,
            connections: self.model.connections,
            duration: Duration::from_secs(self.flags.seconds),
        };
        closed.warm_up(self.server)?;
        let address = &*self.server.http;
        let mut sides: Vec<(&str, Side<'_, LoadResult>)> =
            vec![("skysail-load", Box::new(|| closed.run_by(Generator::SkysailLoad, address)))];
        if closed.generator() == Generator::Wrk {
            sides.push(("wrk", Box::new(|| closed.run_by(Generator::Wrk, address))));
        }
        if let Some(perf_analyzer) = perf_analyzer {
            let width = self.model.sizes[0];
            let run = move || perf_analyzer.run(&closed, address, width).context("perf_analyzer");
            sides.push(("perf_analyzer", Box::new(run)));
        }
        let measured = alternate_all(self.flags.rounds, &mut sides, |(_, run)| run())?;
        let (name, connections) = (self.model.name, self.model.connections);
        let ours = measured.first().and_then(|ours| median(ours));
        let mut figures = Vec::new();
        for ((by, _), seen) in sides.iter().zip(&measured) {
            let Some(LoadResult { requests_per_s: rate, p50_us, p99_us, .. }) = median(seen) else {
                continue;
            };
            writeln!(
                out,
                "| {name} | {connections} | {by} | {rate:.0} | {p50_us:.0} | {p99_us:.0} |"
            )?;
            if let (Some(ours), true) = (ours, *by != "skysail-load") {
                let off = |ours: f64, theirs: f64| (ours / theirs - 1.0).abs();
                let throughput = off(ours.requests_per_s, rate);
                figures.push((
                    format!("{name}: throughput, relative difference from {by}"),
                    throughput,
                    Target::AtMost(THROUGHPUT_OFF_MAX),
                ));
                figures.push((
                    format!("{name}: p99, relative difference from {by}"),
                    off(ours.p99_us, p99_us),
                    Target::AtMost(P99_OFF_MAX),
                ));
            }
        }
        Ok(figures)
    }
}

/// Median of each figure.
fn median(results: &[LoadResult]) -> Option<LoadResult> {
    let of = |value: fn(&LoadResult) -> f64| {
        quantiles::median(&results.iter().map(value).collect::<Vec<_>>())
    };
    (!results.is_empty()).then(|| LoadResult {
        answered: of(|result| result.answered),
        requests_per_s: of(|result| result.requests_per_s),
        p50_us: of(|result| result.p50_us),
        p99_us: of(|result| result.p99_us),
        slowest_connection_share: None,
    })
}
