//! `skysail-load capacity`: the highest rate at which a model keeps an objective.

use super::output::Output;
use super::{shares, values};
use anyhow::Result;
use clap::Args;
use skysail_loadtest::capacity::measure::Conditions;
use skysail_loadtest::capacity::{Capacity, Progress, Question, find};
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

/// Of the machine's processors, the part that sends unless told: most are left to the server.
const THREADS_SHARE: usize = 4;
/// A request without an answer has failed after so many times the objective, unless told...
const TIMEOUT_OBJECTIVES: u32 = 20;
/// ...and not before this.
const TIMEOUT_MIN: Duration = Duration::from_secs(3);

const EXAMPLES: &str = "\
Examples:
  How many requests a second does the server answer so that 99 % are there within 20 ms?
    skysail-load capacity --url http://127.0.0.1:8000 --model digits --objective-ms 20

  The same over gRPC, kept in a file for `skysail-load plan`:
    skysail-load capacity --url http://127.0.0.1:8001 --model digits --protocol grpc \\
      --objective-ms 20 --profile digits.json

  Quickly and roughly:
    skysail-load capacity --url http://127.0.0.1:8000 --model digits --objective-ms 20 \\
      --window 1s --windows 3 --precision 20 --no-curve

Requests come independently of each other (a Poisson process) and count from when they were meant
to go out; what the server refuses is not in time.

Exit codes: 0 done; 1 failed: no server, no such model, an objective that cannot be met, or the
load generator itself was the bottleneck; 2 bad usage.";

/// Finds the highest rate that keeps an objective.
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

    /// How soon an answer should be there
    #[arg(long, value_name = "MS", value_parser = values::objective_ms)]
    objective_ms: Duration,
    /// For how many of the requests, in hundredths
    #[arg(long, value_name = "P", default_value = "99", value_parser = shares::percentile)]
    percentile: f64,
    /// How sure it is to be that a rate keeps the objective, in hundredths
    #[arg(long, value_name = "C", default_value = "95", value_parser = shares::confidence)]
    confidence: f64,
    /// How far the answer may be below the truth, in hundredths
    #[arg(long, value_name = "P", default_value = "5", value_parser = shares::precision)]
    precision: f64,

    /// How long a rate is measured at a time; longer where few requests come
    #[arg(long, default_value = "5s", value_parser = values::some_duration)]
    window: Duration,
    /// How many times a rate is measured at most
    #[arg(long, value_name = "N", default_value = "4")]
    windows: NonZeroUsize,
    /// The rate to begin with [default: half of what one request at a time makes]
    #[arg(long, value_name = "R", value_parser = values::rate)]
    from_rate: Option<f64>,
    /// No higher rate is tried
    #[arg(long, value_name = "R", default_value = "1000000", value_parser = values::rate)]
    max_rate: f64,
    /// Only the rates that the search needs, no others for the curve
    #[arg(long, conflicts_with = "profile")]
    no_curve: bool,
    /// Requests under way at once, at most
    #[arg(long, value_name = "N", default_value = "256")]
    connections: NonZeroUsize,
    /// Threads that send [default: a quarter of the processors]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// When a request without an answer has failed [default: 20 times the objective,
    /// and 3s at least]
    #[arg(long, value_parser = values::some_duration)]
    timeout: Option<Duration>,

    /// A file with the JSON body of an inference request, instead of made-up inputs
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rows", "shape"])]
    input: Option<PathBuf>,
    /// The size of the inputs' first dimension where it may vary
    #[arg(long, value_name = "N", default_value = "1")]
    rows: NonZeroUsize,
    /// The whole shape of one input, where other dimensions may vary too; may be repeated
    #[arg(long, value_name = "NAME:1,2,3", value_parser = values::shape)]
    shape: Vec<(String, Vec<i64>)>,
    /// The same seed makes the same inputs and the same times
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Keeps what was found in this file, for `skysail-load plan`
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Searches, prints the curve and writes the profile.
pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let capacity = runtime.block_on(flags.find())?;
    flags.output.print(&capacity)?;
    // Last: a file that cannot be written does not lose what took minutes.
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
        Ok(find(&conditions, &self.question(), show_progress()).await?)
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

    fn question(&self) -> Question {
        Question {
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

/// A line for each window, for someone who watches.
fn show_progress() -> impl FnMut(Progress<'_>) {
    let watched = io::stderr().is_terminal();
    move |progress| {
        if !watched {
            return;
        }
        let line = match progress {
            Progress::Begins { per_s, duration } => {
                format!("{per_s:.1} requests/s for {:.0} s", duration.as_secs_f64())
            }
            Progress::Seen(point) => {
                let share = point.bounds.map_or(f64::NAN, |bounds| bounds.share * 100.0);
                format!("  {share:.2} % in time: {}", point.verdict.name())
            }
        };
        // The search goes on without its watcher.
        let _ = writeln!(io::stderr(), "{line}");
    }
}
