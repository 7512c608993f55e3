//! A job that runs elsewhere: started here, and finished by its completion.

use super::{BatchInputs, Completion, Ended, ended, leave, log_panic, reply, split};
use crate::batch::Batch;
use crate::cancel::CallerSet;
use crate::executor::{AsyncExecutor, ExecuteError, Execution};
use crate::model::Model;
use crate::queue::{Entry, Job};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Starts a job. Its members are answered when it ends, on the thread that ends it.
pub(super) fn start(model: &Arc<Model>, mut job: Job, executor: &dyn AsyncExecutor) {
    let batched = Instant::now();
    let mut entries = std::mem::take(&mut job.entries);
    let callers = CallerSet::watch(entries.iter_mut().map(|entry| entry.reply.channel()));
    let stop = Arc::clone(callers.stop());
    let inputs = {
        let batch = Batch::new(&entries, model.signature(), model.batching());
        BatchInputs::new(&batch.inputs(), batch.given())
    };
    let ends = Arc::clone(model);
    let completion = Completion::new(move |result| {
        // The set watches the callers for as long as the run goes on.
        drop(callers);
        finish(&ends, job, entries, result, batched);
    });
    // A completion that a panic drops tells of a failed replica.
    let started = catch_unwind(AssertUnwindSafe(|| executor.start(inputs, stop, completion)));
    if let Err(panic) = started {
        log_panic(model, "the start of a run", &*panic);
    }
}

/// Answers the members of a job that has ended, and gives its replica back. When a batch fails,
/// its members go back to the queue, to run once more alone.
fn finish(
    model: &Arc<Model>,
    mut job: Job,
    mut entries: Vec<Entry>,
    result: Result<Execution, ExecuteError>,
    batched: Instant,
) {
    let run = result.map_err(|error| ended(model, error)).and_then(|execution| {
        let batch = Batch::new(&entries, model.signature(), model.batching());
        split(model, &mut job, &batch, &execution, batched)
    });
    match run {
        Ok(run) => reply(model, &mut job, entries, run),
        Err(Ended::Replica(failure)) => leave(&mut job, failure, entries),
        Err(Ended::Answer(error)) => match entries.pop() {
            Some(only) if entries.is_empty() => only.reply.send(Err(error)),
            last => {
                entries.extend(last);
                entries.retain(|entry| !entry.reply.is_closed());
                job.entries = entries;
            }
        },
    }
    model.queue().finish(job);
    if model.queue().has_work() {
        model.queue().wake_thread();
    }
}
