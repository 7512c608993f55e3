//! `skysail-load run`: one load on one or several models, and its report.

mod kinds;
mod live;
mod statistics;

use super::output::Output;
use super::{Usage, values};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use live::Live;
use skysail_loadtest::arrival::{Arrival, Window};
use skysail_loadtest::report::Report;
use skysail_loadtest::target::{Address, Protocol, Server, Transport};
use skysail_loadtest::trace;
use skysail_loadtest::{Load, prepare_mix, run};
use skysail_policy::simulate::Arrivals;
use std::future;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use tokio::runtime;

/// Default connections of a closed loop.
const CLOSED_CONNECTIONS: usize = 8;
/// Default connections of an open loop: enough that requests need not wait for one.
const OPEN_CONNECTIONS: usize = 128;
/// Most connections: each uses a port of this machine.
const CONNECTIONS_MAX: usize = 60_000;
/// Default number of sending threads: the processors over this. Most of them are left to the
/// server.
const THREADS_SHARE: usize = 4;
/// Default duration of the measurement, unless a recording has its own length.
const DURATION: Duration = Duration::from_secs(10);
/// Default duration of the warm-up.
const WARM_UP: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  Throughput of the server: eight connections, each sending again when it is answered:
    skysail-load run --url http://127.0.0.1:8000 --model digits --connections 8

  Latency at 500 requests a second, sent whether or not the server keeps up:
    skysail-load run --url http://127.0.0.1:8000 --model digits --rate 500 --duration 30s

  Goodput within a latency objective of 20 ms, and the rejected requests:
    skysail-load run --url http://127.0.0.1:8000 --model digits --rate 500 --objective-ms 20

  Poisson arrivals; bursts of ten times the rate for 200 ms every 2 s; recorded arrivals of a log,
  played 60 times as fast:
    skysail-load run --url http://127.0.0.1:8000 --model digits --rate 500 --arrival poisson
    skysail-load run --url http://127.0.0.1:8000 --model digits --rate 100 \\
      --arrival burst:10,200ms,2s
    skysail-load run --url http://127.0.0.1:8000 --model digits --arrival trace:log.csv \\
      --trace-speed 60

  Two models, the first three times as often; the requests of the second from two files:
    skysail-load run --url http://127.0.0.1:8000 --model digits=3 --model wide \\
      --input wide:small.json=9 --input wide:large.json

  Over gRPC, with four rows a request, and the report as JSON:
    skysail-load run --url http://127.0.0.1:8001 --model digits --protocol grpc --rate 500 \\
      --rows 4 --output json

  A request from a file, and the report as an HTML page with plots:
    skysail-load run --url http://127.0.0.1:8000 --model digits --input request.json \\
      --html report.html

Latencies count from the scheduled time of a request, so that a stall shows in every request that
it delayed. Rejected requests are HTTP's 503 and 429, gRPC's UNAVAILABLE and RESOURCE_EXHAUSTED.

Exit codes: 0 done; 1 failed: no server, no such model, no request answered, or the load
generator itself was the bottleneck; 2 bad usage.";

/// Send one load to a server, and report throughput and latency
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// URL of the server, http://HOST:PORT
    #[arg(long, value_name = "URL")]
    url: Address,
    /// Name of the model; may be repeated, each with its weight
    #[arg(long, value_name = "NAME[=WEIGHT]", required = true, value_parser = values::weighted)]
    model: Vec<values::Weighted>,
    /// Version of the model [default: the server chooses]
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Protocol: json, binary (raw tensors over HTTP), grpc or grpc-stream
    #[arg(long, default_value = "json", value_parser = values::protocol)]
    protocol: Protocol,
    /// Use HTTP/2 without TLS for json and binary [default: HTTP/1.1]
    #[arg(long, conflicts_with = "no_keep_alive")]
    http2: bool,
    /// Open a new connection for each request
    #[arg(long)]
    no_keep_alive: bool,
    /// Concurrent requests on one connection of HTTP/2 or gRPC
    #[arg(long, value_name = "N", default_value = "64")]
    streams: NonZeroUsize,

    /// Most requests in flight at once [default: 8 without --rate, 128 with --rate]
    #[arg(long, value_name = "N")]
    connections: Option<NonZeroUsize>,
    /// Requests a second of an open loop, sent whether or not earlier ones are answered [default:
    /// closed loop, each connection sends again when answered]
    #[arg(long, value_name = "R", value_parser = values::rate)]
    rate: Option<f64>,
    /// Arrival process of an open loop: constant, poisson, burst, ramp or trace. Bursts are
    /// burst:TIMES,ON,PERIOD, TIMES the rate during the last ON of each PERIOD. Ramps are
    /// ramp:RATE[,TIME], from --rate to RATE. Recorded times are trace:FILE [default: constant]
    #[arg(long, value_name = "PROCESS", value_parser = values::arrival_pattern)]
    arrival: Option<values::ArrivalPattern>,
    /// Unit of plain numbers in a recording: s, ms, us or ns
    #[arg(long, value_name = "UNIT", default_value = "s", value_parser = values::unit)]
    trace_unit: trace::Unit,
    /// Speed at which a recording is played: 2 is twice as fast
    #[arg(long, value_name = "X", default_value = "1", value_parser = values::speed)]
    trace_speed: f64,
    /// Duration of the measurement, such as 10s or 2m [default: 10s, or the length of the
    /// recording]
    #[arg(long, value_parser = values::some_duration)]
    duration: Option<Duration>,
    /// Duration of the warm-up, whose requests do not count [default: 1s, with a recording 0s]
    #[arg(long, value_parser = values::duration)]
    warm_up: Option<Duration>,
    /// Time after which a request without a response has failed
    #[arg(long, default_value = "10s", value_parser = values::some_duration)]
    timeout: Duration,
    /// Latency objective, in milliseconds; the report counts the requests within it as goodput
    #[arg(long, value_name = "MS", value_parser = values::objective_ms)]
    objective_ms: Option<Duration>,
    /// Number of sending threads [default: a quarter of the processors]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Poll instead of sleeping: latencies exclude the client's wake-up time, and a server on this
    /// machine spends no CPU on waking it. Each thread uses a whole core
    #[arg(long)]
    busy_poll: bool,

    /// JSON file with the body of an inference request, to send instead of random inputs; may be
    /// repeated, each with its weight
    #[arg(long, value_name = "[MODEL:]FILE[=WEIGHT]", conflicts_with_all = ["rows", "shape"],
        value_parser = values::weighted)]
    input: Vec<values::Weighted>,
    /// Rows of each request: the size of the inputs' first dimension, where it is variable
    #[arg(long, value_name = "N", default_value = "1")]
    rows: NonZeroUsize,
    /// Whole shape of one input with several variable dimensions; may be repeated
    #[arg(long, value_name = "NAME:1,2,3", value_parser = values::shape)]
    shape: Vec<(String, Vec<i64>)>,
    /// Seed of the random inputs and of the send times
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Format of the report
    #[arg(long, value_enum, default_value = "text")]
    output: ReportFormat,
    /// File to write the report to as an HTML page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Output format: those of other commands, or a table.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReportFormat {
    Text,
    Json,
    Csv,
}

/// Runs the load and prints its report.
pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let server = flags.server()?;
    let kinds = flags.kinds()?;
    let load = flags.load()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let prepared = prepare_mix(&server, &kinds, load.timeout).await?;
        let before = statistics::read(&server, &kinds).await;
        let mut live = Live::start(&kinds, load.window);
        let report = run(&prepared, &load, interrupted(), |progress| live.show(&progress)).await;
        live.end();
        let mut report = report?;
        report.server = statistics::between(before, statistics::read(&server, &kinds).await);
        anyhow::Ok(report)
    })?;
    print(&report, flags.output)?;
    if let Some(path) = &flags.html {
        let written = std::fs::write(path, report.html());
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    check_validity(&report)
}

impl Flags {
    fn server(&self) -> Result<Server> {
        let transport = Transport {
            http2: self.http2,
            keep_alive: !self.no_keep_alive,
            streams: self.streams.get(),
        };
        if !self.protocol.is_http() && (self.http2 || self.no_keep_alive) {
            return Err(Usage::error(
                "gRPC has its own connections: leave out --http2 and --no-keep-alive",
            ));
        }
        Ok(Server { address: self.url.clone(), protocol: self.protocol, transport })
    }

    fn load(&self) -> Result<Load> {
        let (arrival, window) = self.arrival()?;
        let is_closed = arrival == Arrival::Closed;
        let usual = if is_closed { CLOSED_CONNECTIONS } else { OPEN_CONNECTIONS };
        let connections = self.connections.map_or(usual, NonZeroUsize::get);
        if connections > CONNECTIONS_MAX {
            return Err(Usage::error(format!("--connections is at most {CONNECTIONS_MAX}")));
        }
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = self.threads.map_or(processors / THREADS_SHARE, NonZeroUsize::get);
        Ok(Load {
            arrival,
            connections,
            threads: threads.clamp(1, connections.min(processors)),
            busy_poll: self.busy_poll,
            window,
            timeout: self.timeout,
            objective: self.objective_ms,
        })
    }

    /// Arrival process and window of the load.
    fn arrival(&self) -> Result<(Arrival, Window)> {
        let window = Window {
            warm_up: self.warm_up.unwrap_or(WARM_UP),
            duration: self.duration.unwrap_or(DURATION),
        };
        let playback = values::TracePlayback { unit: self.trace_unit, speed: self.trace_speed };
        let law = match (&self.arrival, self.rate) {
            (None, None) => return Ok((Arrival::Closed, window)),
            (None, Some(_)) => &values::ArrivalPattern::Constant,
            (Some(values::ArrivalPattern::Trace(_)), Some(_)) => {
                return Err(Usage::error(
                    "a recording has its own rate: leave out --rate, and set --trace-speed",
                ));
            }
            (Some(law), _) => law,
        };
        let rate = match (law, self.rate) {
            (values::ArrivalPattern::Trace(_), _) => 0.0,
            (_, Some(rate)) => rate,
            (_, None) => return Err(Usage::error("--arrival needs --rate, the requests a second")),
        };
        let arrival = law.arrival(rate, window.end(), self.seed, playback)?;
        let window = self.trace_window(&arrival)?.unwrap_or(window);
        Ok((arrival, window))
    }

    /// Window of a recording, limited to its length.
    fn trace_window(&self, arrival: &Arrival) -> Result<Option<Window>> {
        let Arrival::Process { arrivals, .. } = arrival else { return Ok(None) };
        let Arrivals::Recorded(times) = &**arrivals else { return Ok(None) };
        // The last arrival counts, too.
        let whole = Duration::from_micros(times.last().map_or(1, |last| last.saturating_add(1)));
        let warm_up = self.warm_up.unwrap_or_default();
        let left = whole.saturating_sub(warm_up);
        if left.is_zero() {
            return Err(Usage::error(format!(
                "--warm-up is longer than the recording's {whole:?}"
            )));
        }
        let duration = self.duration.map_or(left, |duration| duration.min(left));
        Ok(Some(Window { warm_up, duration }))
    }
}

/// Completes when the user presses Ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        future::pending::<()>().await;
    }
}

fn print(report: &Report, form: ReportFormat) -> Result<()> {
    match form {
        ReportFormat::Text => Output::Text.print(report),
        ReportFormat::Json => Output::Json.print(report),
        ReportFormat::Csv => {
            let mut out = io::stdout().lock();
            write!(out, "{}", report.csv())?;
            Ok(out.flush()?)
        }
    }
}

fn check_validity(report: &Report) -> Result<()> {
    if report.requests == 0 {
        bail!("the run ended before the measurement began");
    }
    if report.answered == 0 {
        bail!("no request was answered");
    }
    if let Some(reason) = &report.invalid_because {
        bail!("{reason}");
    }
    Ok(())
}
