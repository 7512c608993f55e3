//! `skysail-bench loadgen`: our load generator beside others in the same run. What one thread of it
//! drives is seen against a responder that does next to nothing; whether it measures right, on
//! models whose server is the limit.

mod perf_analyzer;
mod responder;

use crate::bars::{self, Bar};
use crate::cores::Cores;
use crate::load::{Closed, Generator, LoadResult, drive};
use crate::process::Server;
use anyhow::{Context, Result, ensure};
use clap::Args;
use perf_analyzer::PerfAnalyzer;
use responder::Responder;
use skysail_loadtest::Load;
use skysail_loadtest::arrival::{Arrival, Window};
use skysail_loadtest::report::Report;
use skysail_loadtest::target::{Protocol, Target};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What one core is to drive.
const REQUESTS_PER_S: f64 = 60_000.0;
/// How far throughput may be from another generator's, and p99.
const THROUGHPUT_OFF_MAX: f64 = 0.05;
const P99_OFF_MAX: f64 = 0.10;

/// Measures the load generator.
#[derive(Args)]
pub(crate) struct Flags {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How often each generator takes its turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The server's executable.
    #[arg(long, default_value = "target/release/skysail-server")]
    server: PathBuf,
    /// Where `perf_analyzer` is set up from its Python package.
    #[arg(long, default_value = "target/loadgen/venv")]
    venv: PathBuf,
    /// Leave out the server.
    #[arg(long)]
    only_responder: bool,
}

/// A model of the agreement, with the connections at which the server is the limit.
struct Subject {
    name: &'static str,
    sizes: &'static [u64],
    connections: usize,
}

const SUBJECTS: [Subject; 2] = [
    Subject { name: "wide", sizes: &[1024, 4096, 4096, 1000], connections: 4 },
    Subject { name: "deep", sizes: &[512, 2048, 2048, 2048, 2048, 2048, 512], connections: 8 },
];

type Bars = Vec<(String, f64, Bar)>;

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut bars = trivial(&mut out, flags)?;
    if !flags.only_responder {
        bars.extend(agreement(&mut out, flags)?);
    }
    writeln!(out, "\n### Bars\n")?;
    bars::print(&mut out, &bars)?;
    Ok(out.flush()?)
}

/// One thread of each generator against the trivial responder.
fn trivial(out: &mut impl Write, flags: &Flags) -> Result<Bars> {
    let responder = Responder::start()?;
    let folder = tempfile::tempdir()?;
    writeln!(out, "## One thread against a trivial responder\n")?;
    writeln!(out, "| loop | by | connections | req/s | p50 us | p99 us | own load |")?;
    writeln!(out, "|---|---|---:|---:|---:|---:|---:|")?;
    let mut best = 0.0_f64;
    for connections in [16, 64] {
        let closed = |seconds| Closed {
            address: &responder.address,
            model: "trivial",
            protocol: Protocol::Json,
            connections,
            seconds,
        };
        if Generator::of(Protocol::Json) == Generator::Wrk {
            let seen = closed(flags.seconds).run(Generator::Wrk, folder.path())?;
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
        ("closed loop, one thread: req/s".into(), best, Bar::AtLeast(REQUESTS_PER_S)),
        (
            "open loop at 60000/s: req/s".into(),
            report.requests_per_s,
            Bar::AtLeast(0.99 * REQUESTS_PER_S),
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
    let target = Target::new(address, Protocol::Json, "trivial");
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

/// The generators in turns on models whose server is the limit.
fn agreement(out: &mut impl Write, flags: &Flags) -> Result<Bars> {
    ensure!(flags.server.is_file(), "{} is not built", flags.server.display());
    let folder = tempfile::tempdir()?;
    for subject in &SUBJECTS {
        let version = folder.path().join(subject.name).join("1");
        std::fs::create_dir_all(&version)?;
        // How large batches become hangs on how soon a generator asks again.
        std::fs::write(
            folder.path().join(subject.name).join("model.toml"),
            "max_batch_size = 0\n",
        )?;
        skysail_graph::mlp(subject.sizes, 1)?.save(version.join("model.onnx"))?;
    }
    let start = || Server::start(&flags.server, folder.path());
    let server = Cores::split(out)?.start(start)?;
    writeln!(out, "\n## Agreement, closed loops in turns, raw tensors over HTTP\n")?;
    let perf_analyzer = PerfAnalyzer::find(&flags.venv);
    if let Err(reason) = &perf_analyzer {
        writeln!(out, "perf_analyzer is left out: {reason:#}\n")?;
    }
    writeln!(
        out,
        "| model | connections | by | req/s | p50 us | p99 us |\n|---|---:|---|---:|---:|---:|"
    )?;
    let mut bars = Vec::new();
    for subject in &SUBJECTS {
        server.first_answer(subject.name)?;
        let turns = Turns { subject, server: &server, folder: folder.path(), flags };
        bars.extend(turns.compare(out, perf_analyzer.as_ref().ok())?);
    }
    Ok(bars)
}

/// One model's turns.
struct Turns<'a> {
    subject: &'a Subject,
    server: &'a Server,
    folder: &'a Path,
    flags: &'a Flags,
}

impl Turns<'_> {
    fn compare(&self, out: &mut impl Write, perf_analyzer: Option<&PerfAnalyzer>) -> Result<Bars> {
        let (mut ours, mut wrk, mut perf) = (Vec::new(), Vec::new(), Vec::new());
        let has_wrk = Generator::of(Protocol::Binary) == Generator::Wrk;
        self.closed(1).run(Generator::SkysailLoad, self.folder)?;
        for _ in 0..self.flags.rounds {
            let closed = self.closed(self.flags.seconds);
            ours.push(closed.run(Generator::SkysailLoad, self.folder)?);
            if has_wrk {
                wrk.push(closed.run(Generator::Wrk, self.folder)?);
            }
            if let Some(perf_analyzer) = perf_analyzer {
                perf.push(
                    perf_analyzer.run(&closed, self.subject.sizes[0]).context("perf_analyzer")?,
                );
            }
        }
        let (name, connections) = (self.subject.name, self.subject.connections);
        let ours = median(&ours);
        let mut bars = Vec::new();
        for (by, seen) in
            [("skysail-load", ours), ("wrk", median(&wrk)), ("perf_analyzer", median(&perf))]
        {
            let Some(LoadResult { requests_per_s: rate, p50_us, p99_us, .. }) = seen else {
                continue;
            };
            writeln!(
                out,
                "| {name} | {connections} | {by} | {rate:.0} | {p50_us:.0} | {p99_us:.0} |"
            )?;
            if let (Some(ours), true) = (ours, by != "skysail-load") {
                let off = |ours: f64, theirs: f64| (ours / theirs - 1.0).abs();
                let throughput = off(ours.requests_per_s, rate);
                bars.push((
                    format!("{name}: throughput off {by}'s"),
                    throughput,
                    Bar::AtMost(THROUGHPUT_OFF_MAX),
                ));
                bars.push((
                    format!("{name}: p99 off {by}'s"),
                    off(ours.p99_us, p99_us),
                    Bar::AtMost(P99_OFF_MAX),
                ));
            }
        }
        Ok(bars)
    }

    fn closed(&self, seconds: u64) -> Closed<'_> {
        Closed {
            address: &self.server.http,
            model: self.subject.name,
            protocol: Protocol::Binary,
            connections: self.subject.connections,
            seconds,
        }
    }
}

/// Each figure's median.
fn median(seen: &[LoadResult]) -> Option<LoadResult> {
    let of = |value: fn(&LoadResult) -> f64| {
        let mut values: Vec<f64> = seen.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    Some(LoadResult {
        answered: of(|seen| seen.answered)?,
        requests_per_s: of(|seen| seen.requests_per_s)?,
        p50_us: of(|seen| seen.p50_us)?,
        p99_us: of(|seen| seen.p99_us)?,
    })
}
