//! Runs a job: its batch goes across the seam, and its members get their responses.

use crate::batch::{self, Batch, Run};
use crate::cancel::CallerSet;
use crate::error::Error;
use crate::executor::{BatchInputs, Completion, ExecuteError, Execution, Executor, Stop};
use crate::model::Model;
use crate::queue::{Entry, Failure, Job};
use crate::replica::Runner;
use crate::request::Stages;
use skysail_policy::inline_run::RunOn;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod elsewhere;
#[cfg(test)]
mod tests;

/// Runs a job and gives its replica back, also after a panic: that costs only the members of this
/// batch their responses. A job that runs elsewhere is started, and finishes by itself.
pub(crate) fn run_and_finish(model: &Arc<Model>, mut job: Job, run_on: RunOn) {
    if let Runner::Async(executor) = &job.replica.runner {
        let executor = Arc::clone(executor);
        return elsewhere::start(model, job, &*executor);
    }
    let ran = catch_unwind(AssertUnwindSafe(|| run_job(model, &mut job, run_on)));
    if let Err(panic) = ran {
        log_panic(model, "a run", &*panic);
    }
    model.queue().finish(job);
}

/// Runs a job and answers its members.
///
/// When a batch fails, each member runs once more alone: one caller's bad input is not the
/// others' failure. When the replica fails, the members stay in the job for another one. A run on
/// the replica's own thread is stopped when all its callers have left; one on a caller's thread is
/// too short for that.
pub(crate) fn run_job(model: &Model, job: &mut Job, run_on: RunOn) {
    let mut entries = std::mem::take(&mut job.entries);
    if entries.len() > 1 {
        match run_together(model, job, &mut entries, run_on) {
            Ok(run) => return reply(model, job, entries, run),
            Err(Ended::Replica(failure)) => return leave(job, failure, entries),
            Err(Ended::Answer(_)) => {}
        }
    }
    // Callers that have left want no run alone; after a run that was stopped, that is all.
    entries.retain(|entry| !entry.reply.is_closed());
    let mut rest = entries.into_iter();
    while let Some(entry) = rest.next() {
        if let Some((failure, entry)) = run_alone(model, job, entry, run_on) {
            return leave(job, failure, std::iter::once(entry).chain(rest).collect());
        }
    }
}

/// Leaves entries to another replica.
fn leave(job: &mut Job, failure: Failure, entries: Vec<Entry>) {
    (job.failure, job.entries) = (Some(failure), entries);
}

/// Answers the members. The time of that keeps the replica from the next batch, as the run does.
fn reply(model: &Model, job: &mut Job, entries: Vec<Entry>, run: Run) {
    let begun = Instant::now();
    batch::reply(model, entries, run);
    job.run_us += begun.elapsed().as_secs_f64() * 1e6;
}

/// Runs one entry and answers it; gives it back when the replica fails.
fn run_alone(
    model: &Model,
    job: &mut Job,
    entry: Entry,
    run_on: RunOn,
) -> Option<(Failure, Entry)> {
    let mut alone = [entry];
    match run_together(model, job, &mut alone, run_on) {
        Ok(run) => reply(model, job, alone.into(), run),
        Err(Ended::Replica(failure)) => {
            let [entry] = alone;
            return Some((failure, entry));
        }
        Err(Ended::Answer(error)) => {
            let [entry] = alone;
            // The caller may have left in the meantime: then nobody wants the error.
            entry.reply.send(Err(error));
        }
    }
    None
}

/// End of a run without outputs.
enum Ended {
    /// By the fault of the request or the model, which is the answer.
    Answer(Error),
    /// By the fault of the replica.
    Replica(Failure),
}

fn run_together(
    model: &Model,
    job: &mut Job,
    entries: &mut [Entry],
    run_on: RunOn,
) -> Result<Run, Ended> {
    let batched = Instant::now();
    let never = Stop::default();
    let callers = (run_on == RunOn::ReplicaThread)
        .then(|| CallerSet::watch(entries.iter_mut().map(|entry| entry.reply.channel())));
    let stop = callers.as_ref().map_or(&never, |callers| &**callers.stop());
    let batch = Batch::new(entries, model.signature(), model.batching());
    let Runner::Direct(executor) = &mut job.replica.runner else {
        return Err(Ended::Answer(Error::Internal("a run elsewhere has no thread".into())));
    };
    let execution = execute(model, &mut **executor, &batch, stop)?;
    split(model, job, &batch, &execution, batched)
}

/// Gives each member its outputs, and notes the time of the run.
fn split(
    model: &Model,
    job: &mut Job,
    batch: &Batch<'_>,
    execution: &Execution,
    batched: Instant,
) -> Result<Run, Ended> {
    let ran = Instant::now();
    let outputs = batch.split(&execution.outputs).map_err(|error| ended(model, error))?;
    job.rows = batch.rows();
    let split = Instant::now();
    job.run_us = (execution.executed - batched + (split - ran)).as_secs_f64() * 1e6;
    let ran_us = micros(execution.executed.saturating_duration_since(batched));
    let stages = Stages {
        queued: batched,
        batched,
        gathered: execution.gathered,
        executed: execution.executed,
        split,
        run: Some(job.run_of(batch.members(), ran_us)),
        behind: None,
        ahead: 0,
        cache: None,
    };
    Ok(Run { outputs, stages })
}

/// Calls the executor. A panic in it ends this run and nothing else: the replica goes on.
fn execute(
    model: &Model,
    executor: &mut dyn Executor,
    batch: &Batch<'_>,
    stop: &Stop,
) -> Result<Execution, Ended> {
    let (inputs, given) = (batch.inputs(), batch.given());
    match catch_unwind(AssertUnwindSafe(|| executor.execute_given(&inputs, given, stop))) {
        Ok(ran) => ran.map_err(|error| ended(model, error)),
        Err(panic) => {
            log_panic(model, "the executor", &*panic);
            let problem = format!("model '{}' broke off; the server's log says why", model.name());
            Err(Ended::Answer(Error::Internal(problem)))
        }
    }
}

/// The answer to a failed run, by whose fault it was.
fn ended(model: &Model, error: ExecuteError) -> Ended {
    if matches!(error, ExecuteError::Stopped) {
        model.statistics().record_cancelled();
    }
    let (model, message) = (model.name().to_string(), error.to_string());
    match error {
        ExecuteError::Replica { message, retry_in } => {
            Ended::Replica(Failure { message, retry_in })
        }
        ExecuteError::Model(_) => Ended::Answer(Error::ModelFailed { model, message }),
        ExecuteError::Request(_) | ExecuteError::Stopped => {
            Ended::Answer(Error::Execute { model, message })
        }
    }
}

fn log_panic(model: &Model, subject: &str, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let (name, version, text) = (model.name(), model.version(), text.unwrap_or("no message"));
    tracing::error!("{subject} of model '{name}' version {version} panicked: {text}");
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
