//! `skysail-load run`: one load on one model, and what came of it.

use std::future;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use skysail_loadtest::arrival::{Arrival, Window};
use skysail_loadtest::payload::{Random, Source};
use skysail_loadtest::report::Report;
use skysail_loadtest::target::{Address, Protocol, Target};
use skysail_loadtest::{Load, Progress, prepare, run};
use tokio::runtime;

use super::values;

/// Connections of a closed loop, unless told.
const CLOSED_CONNECTIONS: usize = 8;
/// Connections of an open loop, unless told: enough that requests need not wait for one.
const OPEN_CONNECTIONS: usize = 128;
/// The most connections: one uses a port of this machine.
const CONNECTIONS_MAX: usize = 60_000;
/// Of the machine's processors, the part that sends unless told: most are left to the server.
const THREADS_SHARE: usize = 4;

const EXAMPLES: &str = "\
Examples:
  How much can the server do? Eight connections, each asking again once it is answered:
    skysail-load run --url http://127.0.0.1:8000 --model digits --connections 8

  How long do users wait at 500 requests a second, whether or not the server keeps up?
    skysail-load run --url http://127.0.0.1:8000 --model digits --rate 500 --duration 30s

  And how many of them are answered within 20 ms, how many refused, and how soon?
    skysail-load run --url http://127.0.0.1:8000 --model digits --rate 500 --objective-ms 20

  The same over gRPC, four rows a request, as JSON for a program:
    skysail-load run --url http://127.0.0.1:8001 --model digits --protocol grpc --rate 500 \\
      --rows 4 --output json

  With your own request:
    skysail-load run --url http://127.0.0.1:8000 --model digits --input request.json

Exit codes: 0 done; 1 failed: no server, no such model, no request answered, or the load
generator itself was the bottleneck; 2 bad usage.";

/// Sends one load to a model and reports throughput and latency.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The server: http://HOST:PORT
    #[arg(long, value_name = "URL")]
    url: Address,
    /// The model's name
    #[arg(long, value_name = "NAME")]
    model: String,
    /// The model's version [default: the server's choice]
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// How requests travel: json, binary (raw tensors over HTTP) or grpc
    #[arg(long, default_value = "json", value_parser = values::protocol)]
    protocol: Protocol,

    /// Requests under way at once, at most [default: 8, with --rate 128]
    #[arg(long, value_name = "N")]
    connections: Option<NonZeroUsize>,
    /// Requests a second, sent whether or not earlier ones are answered (an open loop)
    #[arg(long, value_name = "R", value_parser = values::rate)]
    rate: Option<f64>,
    /// How long is measured
    #[arg(long, default_value = "10s", value_parser = values::some_duration)]
    duration: Duration,
    /// How long requests are sent before that
    #[arg(long, default_value = "1s", value_parser = values::duration)]
    warm_up: Duration,
    /// When a request without an answer has failed
    #[arg(long, default_value = "10s", value_parser = values::some_duration)]
    timeout: Duration,
    /// How soon an answer should be there; those in time are counted as goodput
    #[arg(long, value_name = "MS", value_parser = values::objective_ms)]
    objective_ms: Option<Duration>,
    /// Threads that send [default: a quarter of the processors]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// A file with the JSON body of an inference request, instead of made-up inputs
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rows", "shape", "seed"])]
    input: Option<PathBuf>,
    /// The size of the inputs' first dimension where it may vary
    #[arg(long, value_name = "N", default_value = "1")]
    rows: NonZeroUsize,
    /// The whole shape of one input, where other dimensions may vary too; may be repeated
    #[arg(long, value_name = "NAME:1,2,3", value_parser = values::shape)]
    shape: Vec<(String, Vec<i64>)>,
    /// The same seed makes the same inputs
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Runs the load and prints its report.
pub(crate) fn execute(flags: Flags) -> Result<()> {
    let load = flags.load()?;
    let output = flags.output;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let (target, source) = flags.target();
        let prepared = prepare(target, &source, load.timeout).await?;
        run(&prepared, &load, interrupted(), show_progress()).await
    })?;
    print(&report, output)?;
    judge(&report)
}

impl Flags {
    fn load(&self) -> Result<Load> {
        let (arrival, usual) = match self.rate {
            Some(requests_per_s) => (Arrival::Open { requests_per_s }, OPEN_CONNECTIONS),
            None => (Arrival::Closed, CLOSED_CONNECTIONS),
        };
        let connections = self.connections.map_or(usual, NonZeroUsize::get);
        if connections > CONNECTIONS_MAX {
            bail!("--connections is at most {CONNECTIONS_MAX}");
        }
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = self.threads.map_or(processors / THREADS_SHARE, NonZeroUsize::get);
        Ok(Load {
            arrival,
            connections,
            threads: threads.clamp(1, connections.min(processors)),
            window: Window { warm_up: self.warm_up, duration: self.duration },
            timeout: self.timeout,
            objective: self.objective_ms,
        })
    }

    fn target(self) -> (Target, Source) {
        let source = match self.input {
            Some(path) => Source::File(path),
            None => Source::Random(Random {
                rows: self.rows.get(),
                shapes: self.shape,
                seed: self.seed,
            }),
        };
        let (address, protocol) = (self.url, self.protocol);
        (Target { address, protocol, model: self.model, version: self.version }, source)
    }
}

/// Ready when the user presses Ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        future::pending::<()>().await;
    }
}

/// A line each second, for someone who watches.
fn show_progress() -> impl FnMut(Progress) {
    let watched = io::stderr().is_terminal();
    let mut before = 0;
    move |progress| {
        if watched {
            let more = progress.answered - before;
            before = progress.answered;
            let Progress { elapsed, answered, failed } = progress;
            let seconds = elapsed.as_secs();
            let line = format!("{seconds} s: {answered} answered (+{more}), {failed} failed");
            // A run goes on without its watcher.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

fn print(report: &Report, output: Output) -> Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Text => write!(out, "{report}")?,
        Output::Json => {
            serde_json::to_writer(&mut out, report)?;
            writeln!(out)?;
        }
    }
    Ok(out.flush()?)
}

fn judge(report: &Report) -> Result<()> {
    if report.requests == 0 {
        bail!("it ended before anything was measured");
    }
    if report.answered == 0 {
        bail!("no request was answered");
    }
    if let Some(reason) = &report.invalid_because {
        bail!("{reason}");
    }
    Ok(())
}
