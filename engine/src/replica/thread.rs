//! The threads of a version: each waits for a job, runs or starts it, and answers.

use crate::execute::run_and_finish;
use crate::model::Model;
use crate::thread_priority::Spawner;
use skysail_policy::inline_run::RunOn;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Starts as many threads as the model has replicas that run on them, and one at least. They end
/// when the model's queue is closed and empty.
///
/// # Errors
/// When the system has no thread to give; the threads that it gave end at once.
pub(crate) fn spawn_threads(
    model: &Arc<Model>,
    spawner: &Spawner,
) -> io::Result<Vec<JoinHandle<()>>> {
    let spawn = |index| {
        let model = Arc::clone(model);
        spawner.spawn(format!("replica-{index}"), Box::new(move || run(&model)))
    };
    (0..model.queue().threads())
        .map(spawn)
        .collect::<io::Result<_>>()
        .inspect_err(|_| model.queue().close())
}

fn run(model: &Arc<Model>) {
    while let Some(job) = model.queue().next_job() {
        run_and_finish(model, job, RunOn::ReplicaThread);
    }
}
