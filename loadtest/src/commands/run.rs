//! `skysail-load run`: one load on one model or several, and what came of it.

mod kinds;
mod live;
mod statistics;

use super::output::Output;
use super::{Usage, values};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use live::Live;
use skysail_loadtest::arrival::{Arrival, Window, trace};
use skysail_loadtest::report::Report;
use skysail_loadtest::target::{Address, Protocol, Server, Transport};
use skysail_loadtest::{Load, prepare_mix, run};
use skysail_policy::simulate::Arrivals;
use std::future;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use tokio::runtime;

/// Connections of a closed loop, unless told.
const CLOSED_CONNECTIONS: usize = 8;
/// Connections of an open loop, unless told: enough that requests need not wait for one.
const OPEN_CONNECTIONS: usize = 128;
/// The most connections: one uses a port of this machine.
const CONNECTIONS_MAX: usize = 60_000;
/// Of the machine's processors, the part that sends unless told: most are left to the server.
const THREADS_SHARE: usize = 4;
/// How long is measured, unless told or a recording has its own length.
const DURATION: Duration = Duration::from_secs(10);
/// How long requests are sent before that.
const WARM_UP: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  How much can the server do? Eight connections, each asking again once it is answered:
    skysail-load run --url http://127.0.0.1:8000 --model digits --connections 8

  How long do users wait at 500 requests a second, whether or not the server keeps up?
    skysail-load run --url http://127.0.0.1:8000 --model digits --rate 500 --duration 30s

  And how many of them are answered within 20 ms, how many refused, and how soon?
    skysail-load run --url http://127.0.0.1:8000 --model digits --rate 500 --objective-ms 20

  The same with users who know nothing of each other, and every two seconds a burst of ten times
  as many; and a day's log, sixty times as fast:
    skysail-load run --url http://127.0.0.1:8000 --model digits --rate 500 --arrival poisson
    skysail-load run --url http://127.0.0.1:8000 --model digits --rate 100 \\
      --arrival burst:10,200ms,2s
    skysail-load run --url http://127.0.0.1:8000 --model digits --arrival trace:log.csv \\
      --trace-speed 60

  Two models, the first three times as often, one of them with requests from files:
    skysail-load run --url http://127.0.0.1:8000 --model digits=3 --model wide \\
      --input wide:small.json=9 --input wide:large.json

  The same over gRPC, four rows a request, as JSON for a program:
    skysail-load run --url http://127.0.0.1:8001 --model digits --protocol grpc --rate 500 \\
      --rows 4 --output json

  With your own request, and a page of drawings:
    skysail-load run --url http://127.0.0.1:8000 --model digits --input request.json \\
      --html report.html

Exit codes: 0 done; 1 failed: no server, no such model, no request answered, or the load
generator itself was the bottleneck; 2 bad usage.";

/// Sends one load to a server and reports throughput and latency.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The server: http://HOST:PORT
    #[arg(long, value_name = "URL")]
    url: Address,
    /// The model's name; repeated for several, each with its weight
    #[arg(long, value_name = "NAME[=WEIGHT]", required = true, value_parser = values::weighted)]
    model: Vec<values::Weighted>,
    /// The model's version [default: the server's choice]
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// How requests travel: json, binary (raw tensors over HTTP), grpc or grpc-stream
    #[arg(long, default_value = "json", value_parser = values::protocol)]
    protocol: Protocol,
    /// HTTP/2 without TLS for json and binary
    #[arg(long, conflicts_with = "no_keep_alive")]
    http2: bool,
    /// A new connection for each request
    #[arg(long)]
    no_keep_alive: bool,
    /// Requests that share a connection of HTTP/2 or gRPC
    #[arg(long, value_name = "N", default_value = "64")]
    streams: NonZeroUsize,

    /// Requests under way at once, at most [default: 8, in an open loop 128]
    #[arg(long, value_name = "N")]
    connections: Option<NonZeroUsize>,
    /// Requests a second, sent whether or not earlier ones are answered (an open loop)
    #[arg(long, value_name = "R", value_parser = values::rate)]
    rate: Option<f64>,
    /// How they are spread: constant, poisson, burst:TIMES,ON,PERIOD (so many times the rate for a
    /// part of each period), ramp:RATE[,TIME] (from the rate to this one), or trace:FILE
    /// [default: constant]
    #[arg(long, value_name = "LAW", value_parser = values::law)]
    arrival: Option<values::Law>,
    /// What plain numbers in a recording count: s, ms, us or ns
    #[arg(long, value_name = "UNIT", default_value = "s", value_parser = values::unit)]
    trace_unit: trace::Unit,
    /// How many times as fast a recording is played
    #[arg(long, value_name = "X", default_value = "1", value_parser = values::speed)]
    trace_speed: f64,
    /// How long is measured [default: 10s, or as long as the recording]
    #[arg(long, value_parser = values::some_duration)]
    duration: Option<Duration>,
    /// How long requests are sent before that [default: 1s, with a recording 0s]
    #[arg(long, value_parser = values::duration)]
    warm_up: Option<Duration>,
    /// When a request without an answer has failed
    #[arg(long, default_value = "10s", value_parser = values::some_duration)]
    timeout: Duration,
    /// How soon an answer should be there; those in time are counted as goodput
    #[arg(long, value_name = "MS", value_parser = values::objective_ms)]
    objective_ms: Option<Duration>,
    /// Threads that send [default: a quarter of the processors]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// The threads never sleep, so that latencies hold no waking up, and a server on this machine
    /// has nobody to wake: as if the callers were on others. Each thread takes a whole processor
    #[arg(long)]
    busy_poll: bool,

    /// A file with the JSON body of an inference request, instead of made-up inputs; repeated for
    /// several, each with its weight
    #[arg(long, value_name = "[MODEL:]FILE[=WEIGHT]", conflicts_with_all = ["rows", "shape"],
        value_parser = values::weighted)]
    input: Vec<values::Weighted>,
    /// The size of the inputs' first dimension where it may vary
    #[arg(long, value_name = "N", default_value = "1")]
    rows: NonZeroUsize,
    /// The whole shape of one input, where other dimensions may vary too; may be repeated
    #[arg(long, value_name = "NAME:1,2,3", value_parser = values::shape)]
    shape: Vec<(String, Vec<i64>)>,
    /// The same seed makes the same inputs, sent at the same times
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    output: Form,
    /// Writes the report as a page with drawings, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// In which form: as other commands do, or as a table.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
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
    judge(&report)
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
                "gRPC has connections of its own: leave out --http2 and --no-keep-alive",
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

    /// When requests go out, and for how long.
    fn arrival(&self) -> Result<(Arrival, Window)> {
        let window = Window {
            warm_up: self.warm_up.unwrap_or(WARM_UP),
            duration: self.duration.unwrap_or(DURATION),
        };
        let playing = values::Playing { unit: self.trace_unit, speed: self.trace_speed };
        let law = match (&self.arrival, self.rate) {
            (None, None) => return Ok((Arrival::Closed, window)),
            (None, Some(_)) => &values::Law::Constant,
            (Some(values::Law::Trace(_)), Some(_)) => {
                return Err(Usage::error(
                    "a recording has its own rate: leave out --rate, and set --trace-speed",
                ));
            }
            (Some(law), _) => law,
        };
        let rate = match (law, self.rate) {
            (values::Law::Trace(_), _) => 0.0,
            (_, Some(rate)) => rate,
            (_, None) => return Err(Usage::error("--arrival needs --rate, the requests a second")),
        };
        let arrival = law.arrival(rate, window.end(), self.seed, playing)?;
        let window = self.recorded(&arrival)?.unwrap_or(window);
        Ok((arrival, window))
    }

    /// The window of a recording: no longer than it.
    fn recorded(&self, arrival: &Arrival) -> Result<Option<Window>> {
        let Arrival::Drawn { arrivals, .. } = arrival else { return Ok(None) };
        let Arrivals::Recorded(times) = &**arrivals else { return Ok(None) };
        // The last one counts, too.
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

/// Ready when the user presses Ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        future::pending::<()>().await;
    }
}

fn print(report: &Report, form: Form) -> Result<()> {
    match form {
        Form::Text => Output::Text.print(report),
        Form::Json => Output::Json.print(report),
        Form::Csv => {
            let mut out = io::stdout().lock();
            write!(out, "{}", report.csv())?;
            Ok(out.flush()?)
        }
    }
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
