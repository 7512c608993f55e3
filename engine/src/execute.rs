//! Runs a job: its batch goes across the seam, and its members get their answers.

use crate::batch::{self, Batch, Run};
use crate::cancel::CallerSet;
use crate::error::Error;
use crate::executor::{ExecuteError, Execution, Stop};
use crate::model::Model;
use crate::queue::{Entry, Job};
use crate::request::Stages;
use skysail_policy::inline_run::RunOn;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Runs a job and gives its replica back, whatever happens: a panic costs the members of this batch
/// their answers and nobody else.
pub(crate) fn run_and_finish(model: &Model, mut job: Job, run_on: RunOn) {
    let ran = catch_unwind(AssertUnwindSafe(|| run_job(model, &mut job, run_on)));
    if let Err(panic) = ran {
        let (name, version, words) = (model.name(), model.version(), words(&*panic));
        tracing::error!("a run of model '{name}' version {version} panicked: {words}");
    }
    model.queue().finish(job);
}

/// Runs a job and answers its members.
///
/// When a batch fails, each member runs once more alone: one caller's bad input is not the
/// others' failure. A run on the replica's own thread is stopped when all its callers have left;
/// one on a caller's thread is too short for that.
pub(crate) fn run_job(model: &Model, job: &mut Job, run_on: RunOn) {
    let mut entries = std::mem::take(&mut job.entries);
    if entries.len() > 1
        && let Ok(run) = run_together(model, job, &mut entries, run_on)
    {
        return reply(model, job, entries, run);
    }
    // Whoever has left wants no run alone; after a run that was stopped, that is everyone.
    entries.retain(|entry| !entry.reply.is_closed());
    entries.into_iter().for_each(|entry| run_alone(model, job, entry, run_on));
}

/// Answers the members. What that takes keeps the replica from the next batch just as the run did.
fn reply(model: &Model, job: &mut Job, entries: Vec<Entry>, run: Run) {
    let begun = Instant::now();
    batch::reply(model, entries, run);
    job.run_us += begun.elapsed().as_secs_f64() * 1e6;
}

fn run_alone(model: &Model, job: &mut Job, entry: Entry, run_on: RunOn) {
    let mut alone = [entry];
    match run_together(model, job, &mut alone, run_on) {
        Ok(run) => reply(model, job, alone.into(), run),
        Err(error) => {
            let [entry] = alone;
            // The caller may have left in the meantime: then nobody wants the error.
            drop(entry.reply.send(Err(error)));
        }
    }
}

fn run_together(
    model: &Model,
    job: &mut Job,
    entries: &mut [Entry],
    run_on: RunOn,
) -> Result<Run, Error> {
    let batched = Instant::now();
    let never = Stop::default();
    let callers = (run_on == RunOn::ReplicaThread)
        .then(|| CallerSet::watch(entries.iter_mut().map(|entry| &mut entry.reply)));
    let stop = callers.as_ref().map_or(&never, |callers| callers.stop());
    let batch = Batch::new(entries, model.signature());
    let execution = execute(model, job, &batch, stop)?;
    let ran = Instant::now();
    let outputs = batch.split(&execution.outputs).map_err(|error| failed(model, &error))?;
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
        run: Some(job.run_of(entries.len(), ran_us)),
        behind: None,
        ahead: 0,
        cache: None,
    };
    Ok(Run { outputs, stages })
}

/// Calls the executor. A panic in it ends this run and nothing else: the replica goes on.
fn execute(
    model: &Model,
    job: &mut Job,
    batch: &Batch<'_>,
    stop: &Stop,
) -> Result<Execution, Error> {
    let (inputs, given) = (batch.inputs(), batch.given());
    let executor = &mut job.replica.executor;
    match catch_unwind(AssertUnwindSafe(|| executor.execute_given(&inputs, given, stop))) {
        Ok(ran) => ran.map_err(|error| {
            if matches!(error, ExecuteError::Stopped) {
                model.statistics().record_stopped();
            }
            failed(model, &error)
        }),
        Err(panic) => {
            let (name, version, words) = (model.name(), model.version(), words(&*panic));
            tracing::error!("the executor of model '{name}' version {version} panicked: {words}");
            Err(Error::Internal(format!("model '{name}' broke off; the server's log says why")))
        }
    }
}

fn failed(model: &Model, error: &ExecuteError) -> Error {
    Error::Execute { model: model.name().to_string(), message: error.to_string() }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
