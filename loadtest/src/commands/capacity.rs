//! `skysail-load capacity`: the highest rate at which a model meets an objective.

use super::output::Output;
use super::{shares, values};
use anyhow::Result;
use clap::Args;
use skysail_loadtest::capacity::measure::Conditions;
use skysail_loadtest::capacity::{Capacity, Options, Progress, find};
use skysail_loadtest::payload::{Random, Source};
use skysail_loadtest::prepare;
use skysail_loadtest::profile::Objective;
use skysail_loadtest::target::{Address, Protocol, Target};
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use tokio::runtime;

/// Default number of sending threads: the processors over this. Most of them are left to the
/// server.
const THREADS_SHARE: usize = 4;
/// Default timeout, in objectives.
const TIMEOUT_OBJECTIVES: u32 = 20;
/// Shortest default timeout.
const TIMEOUT_MIN: Duration = Duration::from_secs(3);

const EXAMPLES: &str = "\
Examples:
  The highest rate at which 99 % of the requests are answered within 20 ms:
    skysail-load capacity --url http://127.0.0.1:8000 --model digits --objective-ms 20

  Over gRPC, with a profile for `skysail-load plan`:
    skysail-load capacity --url http://127.0.0.1:8001 --model digits --protocol grpc \\
      --objective-ms 20 --profile digits.json

  A quick estimate:
    skysail-load capacity --url http://127.0.0.1:8000 --model digits --objective-ms 20 \\
      --window 1s --windows 3 --precision 20 --no-curve

Requests arrive as a Poisson process. Latencies count from the scheduled time; rejected requests are
not in time.

Exit codes: 0 done; 1 failed: no server, no such model, an objective that cannot be met, or the
load generator itself was the bottleneck; 2 bad usage.";

/// Find the highest rate at which a model meets a latency objective
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// URL of the server, http://HOST:PORT
    #[arg(long, value_name = "URL")]
    url: Address,
    /// Name of the model
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Version of the model [default: the server chooses]
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Protocol: json, binary (raw tensors over HTTP), grpc or grpc-stream
    #[arg(long, default_value = "json", value_parser = values::protocol)]
    protocol: Protocol,

    /// Latency objective, in milliseconds
    #[arg(long, value_name = "MS", value_parser = values::objective_ms)]
    objective_ms: Duration,
    /// Percentage of the requests that must be answered within the objective, 50 to 99.99
    #[arg(long, value_name = "P", default_value = "99", value_parser = shares::percentile)]
    percentile: f64,
    /// Confidence that the capacity meets the objective, in percent, 50 to 99.99
    #[arg(long, value_name = "C", default_value = "95", value_parser = shares::confidence)]
    confidence: f64,
    /// Precision of the capacity, in percent: the search ends when it is known this closely, 1 to
    /// 50
    #[arg(long, value_name = "P", default_value = "5", value_parser = shares::precision)]
    precision: f64,

    /// Duration of one measurement at one rate; low rates are measured for longer
    #[arg(long, default_value = "5s", value_parser = values::some_duration)]
    window: Duration,
    /// Most measurements at one rate
    #[arg(long, value_name = "N", default_value = "4")]
    windows: NonZeroUsize,
    /// First rate to try, in requests a second [default: half the rate of one request at a time]
    #[arg(long, value_name = "R", value_parser = values::rate)]
    from_rate: Option<f64>,
    /// Highest rate to try, in requests a second
    #[arg(long, value_name = "R", default_value = "1000000", value_parser = values::rate)]
    max_rate: f64,
    /// Measure only the rates that the search needs, without further ones for the curve; not with
    /// --profile
    #[arg(long, conflicts_with = "profile")]
    no_curve: bool,
    /// Most requests in flight at once
    #[arg(long, value_name = "N", default_value = "256")]
    connections: NonZeroUsize,
    /// Number of sending threads [default: a quarter of the processors]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Time after which a request without a response has failed, such as 500ms or 3s [default: 20
    /// times the objective, at least 3s]
    #[arg(long, value_parser = values::some_duration)]
    timeout: Option<Duration>,

    /// JSON file with the body of an inference request, to send instead of random inputs
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rows", "shape"])]
    input: Option<PathBuf>,
    /// Rows of each request: the size of the inputs' first dimension, where it is variable
    #[arg(long, value_name = "N", default_value = "1")]
    rows: NonZeroUsize,
    /// Whole shape of one input with several variable dimensions; may be repeated
    #[arg(long, value_name = "NAME:1,2,3", value_parser = values::shape)]
    shape: Vec<(String, Vec<i64>)>,
    /// Seed of the random inputs and of the send times
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// File to write the capacity profile to, for `skysail-load plan`
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Format of the report
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Searches, prints the curve and writes the profile.
pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let capacity = runtime.block_on(flags.find())?;
    flags.output.print(&capacity)?;
    // The profile is written last, so that a bad path does not lose minutes of work.
    if let Some(path) = &flags.profile {
        capacity.profile.write(path)?;
    }
    Ok(())
}

impl Flags {
    async fn find(&self) -> Result<Capacity> {
        let target = self.target();
        let timeout = self.objective_ms.saturating_mul(TIMEOUT_OBJECTIVES).max(TIMEOUT_MIN);
        let timeout = self.timeout.unwrap_or(timeout);
        let first = timeout.max(Duration::from_secs(10));
        let prepared = prepare(target.clone(), &self.source(), first).await?;
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = self.threads.map_or(processors / THREADS_SHARE, NonZeroUsize::get);
        let connections = self.connections.get();
        let conditions = Conditions {
            prepared: &prepared,
            target: &target,
            connections,
            threads: threads.clamp(1, connections.min(processors)),
            warm_up: (self.window / 5).min(Duration::from_secs(1)),
            timeout,
            objective: self.objective_ms,
        };
        Ok(find(&conditions, &self.options(), show_progress()).await?)
    }

    fn target(&self) -> Target {
        let mut target = Target::new(self.url.clone(), self.protocol, &self.model);
        target.version.clone_from(&self.version);
        target
    }

    fn source(&self) -> Source {
        match &self.input {
            Some(path) => Source::File(path.clone()),
            None => Source::Random(Random {
                rows: self.rows.get(),
                shapes: self.shape.clone(),
                seed: self.seed,
            }),
        }
    }

    fn options(&self) -> Options {
        Options {
            objective: Objective {
                ms: self.objective_ms.as_secs_f64() * 1e3,
                percentile: self.percentile,
                confidence: self.confidence,
            },
            precision: self.precision / 100.0,
            window: self.window,
            windows_max: self.windows.get(),
            from_per_s: self.from_rate,
            most_per_s: self.max_rate,
            curve: !self.no_curve,
            seed: self.seed,
        }
    }
}

/// Prints a line for each window, if standard error is a terminal.
fn show_progress() -> impl FnMut(Progress<'_>) {
    let watched = io::stderr().is_terminal();
    move |progress| {
        if !watched {
            return;
        }
        let line = match progress {
            Progress::Started { per_s, duration } => {
                format!("{per_s:.1} requests/s for {:.0} s", duration.as_secs_f64())
            }
            Progress::Evaluated(point) => {
                let share = point.bounds.map_or(f64::NAN, |bounds| bounds.share * 100.0);
                format!("  {share:.2} % in time: {}", point.verdict.name())
            }
        };
        // Errors are ignored: the search goes on without a terminal.
        let _ = writeln!(io::stderr(), "{line}");
    }
}
