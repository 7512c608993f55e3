//! The child in which a file meets ONNX Runtime for the first time. It says what it is about to do
//! before it does it, so that whoever reads that knows what has ended it.

use super::places::places;
use super::talk::{Job, LINE_BYTES_MAX, Report};
use crate::config::{BATCH_ROWS_MAX, Choice, CompressedConfig, ModelConfig, ReplicaConfig};
use crate::empty::Places;
use crate::package::{self, Executable};
use crate::payload::Payload;
use crate::repository::load::is_package;
use crate::repository::{row_trial, warm_up};
use crate::runtime;
use crate::session::{OrtExecutor, SessionError, SessionMaker, Source};
use crate::threads::{self, Duty, Spawner};
use ort::environment::Environment;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit,
};
use skysail_onnxruntime::LoadError;
use std::collections::BTreeSet;
use std::io::{self, BufRead, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How gladly the system takes this process when memory is short: before the server.
const OOM_SCORE: &str = "800";

/// Why the child ends with a failure.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It was not started by a server of this version.
    #[error("it is started by the server itself, with the number of cores and its process")]
    Arguments,
    /// ONNX Runtime is missing or unusable.
    #[error(transparent)]
    Runtime(#[from] LoadError),
    /// The server is gone, or talks otherwise.
    #[error("it does not understand the server, or the server is gone: {0}")]
    Talk(#[from] io::Error),
}

/// Tries models until the standard input ends; `arguments` are what the engine adds to those of
/// the settings.
///
/// # Errors
/// When there is no runtime, or nobody who listens.
pub fn probe_child(arguments: &[String]) -> Result<(), ChildError> {
    let [cores, parent] = arguments else { return Err(ChildError::Arguments) };
    let (Ok(cores), Ok(parent)) = (cores.parse::<usize>(), parent.parse::<i32>()) else {
        return Err(ChildError::Arguments);
    };
    if !shelter(parent)? {
        return Ok(());
    }
    let environment = runtime::load(cores.max(1))?;
    let spawner = Spawner::start()?;
    let child = Child { environment: &environment, spawner: &spawner, cores };
    child.serve(io::stdin().lock(), io::stdout().lock())
}

/// Makes the process one that dies with its parent and takes nothing from it; whether the parent
/// is still there.
fn shelter(parent: i32) -> io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    threads::lower_priority(Duty::Load);
    // What a model leaves behind when it ends the process helps nobody and may be large.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    // Where that is not allowed, the system chooses by itself.
    drop(std::fs::write("/proc/self/oom_score_adj", OOM_SCORE));
    // The parent may have ended before its death could be told.
    Ok(getppid().map(Pid::as_raw_nonzero).is_some_and(|now| now.get() == parent))
}

/// What it tries models with.
struct Child<'a> {
    environment: &'a Environment,
    spawner: &'a Spawner,
    cores: usize,
}

impl Child<'_> {
    fn serve(&self, mut jobs: impl BufRead, mut output: impl Write) -> Result<(), ChildError> {
        say(&mut output, &Report::Ready)?;
        let mut line = String::new();
        loop {
            line.clear();
            if jobs.by_ref().take(LINE_BYTES_MAX as u64).read_line(&mut line)? == 0 {
                return Ok(());
            }
            let job: Job = serde_json::from_str(&line).map_err(io::Error::from)?;
            // The bindings to ONNX Runtime panic on a few kinds of graphs that they do not know.
            let met = catch_unwind(AssertUnwindSafe(|| self.meet(&job, &mut output)));
            let last = match met {
                Ok(Ok(())) => Report::Done,
                Ok(Err(Stop::Talk(error))) => return Err(error.into()),
                Ok(Err(Stop::Refused { always })) => Report::Refused { always },
                Err(_) => Report::Refused { always: false },
            };
            say(&mut output, &last)?;
        }
    }

    fn meet(&self, job: &Job, output: &mut impl Write) -> Result<(), Stop> {
        say(output, &Report::Loads)?;
        let replicas = ReplicaConfig::from(job.settings);
        let executable = self.executable(job)?;
        let source = match &executable {
            None => Source::File,
            Some(Executable { model, operators, .. }) => {
                Source::Memory { model, operators: operators.as_ref() }
            }
        };
        let (environment, spawner, path) = (self.environment, self.spawner, &*job.file);
        let maker = SessionMaker { environment, spawner, path, source, config: &replicas };
        let first_threads = replicas.first_threads();
        let mut first = OrtExecutor::first(maker.session(first_threads)?)?;
        say(output, &Report::Runs)?;
        let row = warm_up::made_up_row(first.signature(), 1);
        let runs = row.and_then(|row| warm_up::run(&mut first, &[&row])).is_ok();
        say(output, &Report::Ran)?;
        let signature = first.signature().clone();
        let has_rows = runs && row_trial::has_rows(&signature);
        let compared = has_rows.then(|| row_trial::run(&mut first, &signature, BATCH_ROWS_MAX));
        say(output, &Report::Compared(compared))?;
        let mut wanted = places(&first.signature().inputs);
        wanted.retain(|places| !job.ended.contains(places));
        let mut lived = try_all(&mut first, &wanted, runs, output)?;
        drop(first);
        // Kernels share work out among threads otherwise than they do it alone.
        if self.cores > 1 && replicas.threads.is_none() && !lived.is_empty() {
            say(output, &Report::Shares)?;
            let mut shared = OrtExecutor::first(maker.session(self.cores)?)?;
            lived = try_all(&mut shared, &lived, runs, output)?;
        }
        lived.into_iter().try_for_each(|places| Ok(say(output, &Report::Lived(places))?))
    }

    /// A package, all of whose layers the runtime runs: those that it does not are our own.
    fn executable(&self, job: &Job) -> Result<Option<Executable>, Stop> {
        if !is_package(&job.file) {
            return Ok(None);
        }
        let compressed = CompressedConfig { execution: Choice::Dense, ..Default::default() };
        let config = ModelConfig { compressed, ..ModelConfig::default() };
        let prepared = package::prepare(&job.file, &config, self.environment);
        let executable = prepared.and_then(|prepared| prepared.executable(0));
        executable.map(Some).map_err(|_| Stop::Refused { always: false })
    }
}

/// Why a job ends early.
enum Stop {
    Refused { always: bool },
    Talk(io::Error),
}

impl From<SessionError> for Stop {
    fn from(error: SessionError) -> Self {
        // Other reasons may be those of a moment, such as too little memory.
        let always =
            matches!(error, SessionError::NotATensor { .. } | SessionError::Element { .. });
        Self::Refused { always }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Talk(error)
    }
}

/// Tries which dimensions may be zero, and gives those that tell something. What the runtime
/// refuses is safe, if `runs` says that it takes the same inputs otherwise; else it may be the
/// made-up inputs that it refuses, before it comes to the kernel that does not live through it.
fn try_all(
    executor: &mut OrtExecutor,
    wanted: &BTreeSet<Places>,
    runs: bool,
    output: &mut impl Write,
) -> io::Result<BTreeSet<Places>> {
    let mut lived = BTreeSet::new();
    for places in wanted {
        let Ok(mut row) = warm_up::made_up_row(executor.signature(), 1) else { break };
        for &(index, dim) in places {
            if let Some((shape, data)) = row.get_mut(index) {
                shape[dim] = 0;
                *data = Payload::default();
            }
        }
        say(output, &Report::Tries(places.clone()))?;
        if warm_up::run(executor, &[&row]).is_ok() || runs {
            lived.insert(places.clone());
        }
    }
    Ok(lived)
}

fn say(output: &mut impl Write, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}
