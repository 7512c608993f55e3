//! The probe's child process, which loads and runs a file for the first time. It reports each step
//! before it takes it, so the server knows which step ended it.

use super::protocol::{Extent, Job, LINE_BYTES_MAX, Report};
use super::zero_dims;
use crate::config::{BATCH_ROWS_MAX, Choice, CompressedConfig, ModelConfig, ReplicaConfig};
use crate::load::{is_package, row_comparison, synthetic, trial_run};
use crate::package::{self, Executable};
use crate::payload::Payload;
use crate::run_clock::RunClock;
use crate::runtime;
use crate::session::{OrtExecutor, SessionError, SessionMaker, Source};
use crate::thread_priority::{self, Role, Spawner};
use crate::zero_elements::ZeroDims;
use ort::environment::Environment;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit,
};
use skysail_onnxruntime::LoadError;
use std::collections::BTreeSet;
use std::io::{self, BufRead, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Score for the kernel's out-of-memory killer, which then ends this process before the server.
const OOM_SCORE: &str = "800";

/// Time of a job after which zero dimensions are left for another one.
const QUICK: Duration = Duration::from_millis(150);

/// Longest run of a row whose batches are compared. Longer runs are hardly worth sharing.
const COMPARED_ROW_MAX: Duration = Duration::from_secs(1);

/// Reason for which the child ends with a failure.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The child was not started by a server of this version.
    #[error("it is started by the server itself, with the number of cores and its process")]
    Arguments,
    /// ONNX Runtime is missing or unusable.
    #[error(transparent)]
    Runtime(#[from] LoadError),
    /// The server is gone, or speaks another protocol.
    #[error("it does not understand the server, or the server is gone: {0}")]
    Protocol(#[from] io::Error),
}

/// Runs the child: probes models until standard input ends. `arguments` are those that the engine
/// appends to the configured ones.
///
/// # Errors
/// The runtime is missing, or the server is gone.
pub fn probe_child(arguments: &[String]) -> Result<(), ChildError> {
    let [cores, parent] = arguments else { return Err(ChildError::Arguments) };
    let (Ok(cores), Ok(parent)) = (cores.parse::<usize>(), parent.parse::<i32>()) else {
        return Err(ChildError::Arguments);
    };
    if !isolate(parent)? {
        return Ok(());
    }
    let environment = runtime::load(cores.max(1))?;
    let spawner = Spawner::start()?;
    let child = Child { environment: &environment, spawner: &spawner, cores };
    child.serve(io::stdin().lock(), io::stdout().lock())
}

/// Makes this process die with its parent and yield to it. Returns false if the parent is gone.
fn isolate(parent: i32) -> io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    thread_priority::lower_priority(Role::Load);
    // A core dump of a model that ends the process is useless and may be large.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    // Some systems do not allow this; they then choose by themselves.
    drop(std::fs::write("/proc/self/oom_score_adj", OOM_SCORE));
    // The parent may have ended before the signal was set up.
    Ok(getppid().map(Pid::as_raw_nonzero).is_some_and(|now| now.get() == parent))
}

/// State of the child for all its jobs.
struct Child<'a> {
    environment: &'a Environment,
    spawner: &'a Spawner,
    cores: usize,
}

impl Child<'_> {
    fn serve(&self, mut jobs: impl BufRead, mut output: impl Write) -> Result<(), ChildError> {
        send(&mut output, &Report::Ready)?;
        let mut line = String::new();
        loop {
            line.clear();
            if jobs.by_ref().take(LINE_BYTES_MAX as u64).read_line(&mut line)? == 0 {
                return Ok(());
            }
            let job: Job = serde_json::from_str(&line).map_err(io::Error::from)?;
            // The bindings to ONNX Runtime panic on a few kinds of graphs that they do not know.
            let result = catch_unwind(AssertUnwindSafe(|| self.probe(&job, &mut output)));
            let last = match result {
                Ok(Ok(())) => Report::Done,
                Ok(Err(JobError::Protocol(error))) => return Err(error.into()),
                Ok(Err(JobError::Rejected { always })) => Report::Rejected { always },
                Err(_) => Report::Rejected { always: false },
            };
            send(&mut output, &last)?;
        }
    }

    fn probe(&self, job: &Job, output: &mut impl Write) -> Result<(), JobError> {
        send(output, &Report::Loading)?;
        let started = Instant::now();
        let replicas = ReplicaConfig::from(job.settings);
        let executable = self.executable(job)?;
        let source = match &executable {
            None => Source::File,
            Some(Executable { model, operators, .. }) => {
                Source::Memory { model, operators: operators.as_ref() }
            }
        };
        let (environment, spawner, path) = (self.environment, self.spawner, &*job.file);
        let (config, libraries) = (&replicas, &*job.libraries);
        let maker = SessionMaker { environment, spawner, path, source, config, libraries };
        let first_threads = replicas.first_threads();
        let mut first = OrtExecutor::first(maker.session(first_threads)?)?;
        send(output, &Report::RunningRow)?;
        let clock = if first_threads == 1 { RunClock::CallerCpu } else { RunClock::Wall };
        let row = synthetic::row(first.signature(), 1);
        let before = clock.now();
        let runs = row.and_then(|row| trial_run::run(&mut first, &[&row])).is_ok();
        let row_time = clock.now().saturating_sub(before);
        if runs {
            let us = u64::try_from(row_time.as_micros()).unwrap_or(u64::MAX);
            send(output, &Report::RowTime { us })?;
        }
        send(output, &Report::RanRow)?;
        if job.extent == Extent::Quick {
            self.compare_rows(&mut first, runs && row_time <= COMPARED_ROW_MAX, output)?;
        }
        let limit = (job.extent == Extent::Quick).then(|| started + QUICK);
        let mut trials = ZeroDimTrials { runs, limit, output };
        let mut candidates = zero_dims::candidates(&first.signature().inputs);
        candidates.retain(|dims| !job.crashed.contains(dims));
        let Some(mut survived) = trials.run(&mut first, &candidates)? else { return Ok(()) };
        drop(first);
        // Kernels divide work differently with several threads.
        if self.cores > 1 && replicas.threads.is_none() && !survived.is_empty() {
            if trials.is_late() {
                return Ok(trials.leave()?);
            }
            send(trials.output, &Report::MultiThreaded)?;
            let mut shared = OrtExecutor::first(maker.session(self.cores)?)?;
            match trials.run(&mut shared, &survived)? {
                Some(still) => survived = still,
                None => return Ok(()),
            }
        }
        survived.into_iter().try_for_each(|dims| Ok(send(output, &Report::Survived(dims))?))
    }

    fn compare_rows(
        &self,
        first: &mut OrtExecutor,
        compares: bool,
        output: &mut impl Write,
    ) -> io::Result<()> {
        let signature = first.signature().clone();
        let has_rows = compares && row_comparison::has_rows(&signature);
        let compared = has_rows.then(|| row_comparison::run(first, &signature, BATCH_ROWS_MAX));
        send(output, &Report::ComparedRows(compared))
    }

    /// A package with all layers run by the runtime. The other layers run on our own kernels, which
    /// need no probe.
    fn executable(&self, job: &Job) -> Result<Option<Executable>, JobError> {
        if !is_package(&job.file) {
            return Ok(None);
        }
        let compressed = CompressedConfig { execution: Choice::Dense, ..Default::default() };
        let config = ModelConfig { compressed, ..ModelConfig::default() };
        let prepared = package::prepare(&job.file, &config, self.environment);
        let executable = prepared.and_then(|prepared| prepared.executable(0));
        executable.map(Some).map_err(|_| JobError::Rejected { always: false })
    }
}

/// Reason for which a job ends early.
enum JobError {
    Rejected { always: bool },
    Protocol(io::Error),
}

impl From<SessionError> for JobError {
    fn from(error: SessionError) -> Self {
        // Other reasons may be temporary, such as too little memory.
        let always =
            matches!(error, SessionError::NotATensor { .. } | SessionError::Element { .. });
        Self::Rejected { always }
    }
}

impl From<io::Error> for JobError {
    fn from(error: io::Error) -> Self {
        Self::Protocol(error)
    }
}

/// Trials of zero dimensions.
struct ZeroDimTrials<'a, W: Write> {
    /// True if the model takes the same inputs otherwise.
    runs: bool,
    /// Time after which the rest is left for another job.
    limit: Option<Instant>,
    output: &'a mut W,
}

impl<W: Write> ZeroDimTrials<'_, W> {
    fn is_late(&self) -> bool {
        self.limit.is_some_and(|limit| limit < Instant::now())
    }

    fn leave(&mut self) -> io::Result<()> {
        send(self.output, &Report::LeftZeroDims)
    }

    /// Tries dimensions, and returns those that are safe; `None` if they are left.
    ///
    /// A failed run is safe if the model runs otherwise. Else the runtime may reject the synthetic
    /// inputs before it reaches the kernel that would crash.
    fn run(
        &mut self,
        executor: &mut OrtExecutor,
        candidates: &BTreeSet<ZeroDims>,
    ) -> io::Result<Option<BTreeSet<ZeroDims>>> {
        let mut survived = BTreeSet::new();
        for dims in candidates {
            if self.is_late() {
                self.leave()?;
                return Ok(None);
            }
            let Ok(mut row) = synthetic::row(executor.signature(), 1) else { break };
            for &(index, dim) in dims {
                if let Some((shape, data)) = row.get_mut(index) {
                    shape[dim] = 0;
                    *data = Payload::default();
                }
            }
            send(self.output, &Report::TryingZero(dims.clone()))?;
            if trial_run::run(executor, &[&row]).is_ok() || self.runs {
                survived.insert(dims.clone());
            }
        }
        Ok(Some(survived))
    }
}

fn send(output: &mut impl Write, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}
