//! The threads that run batches, shared by all versions.
//!
//! A version has a thread for each replica that runs, and none while its queue has nothing to run.
//! Idle threads form a stack: the last one to become idle is the first to run again, and those that
//! stay at the bottom end after a while.

use crate::execute::run_and_finish;
use crate::model::Model;
use crate::thread_priority::Spawner;
use parking_lot::{Condvar, Mutex};
use skysail_policy::inline_run::RunOn;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Time after which an idle thread ends.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// Owner of the threads. Dropping it ends those that are idle, and the others once they are.
pub(crate) struct ThreadPool(ThreadPoolHandle);

/// Calls threads of the pool.
#[derive(Clone)]
pub(crate) struct ThreadPoolHandle(Arc<Pool>);

struct Pool {
    state: Mutex<State>,
    spawner: Spawner,
}

#[derive(Default)]
struct State {
    /// Models that no thread serves yet.
    waiting: VecDeque<Arc<Model>>,
    /// Idle threads, the last one on top.
    idle: Vec<Arc<Seat>>,
    is_closed: bool,
}

/// Seat of an idle thread. Both locks are taken in the order of the pool, then the seat.
#[derive(Default)]
struct Seat {
    model: Mutex<Option<Arc<Model>>>,
    given: Condvar,
}

impl ThreadPool {
    /// Starts the pool with one thread, which stays: whatever happens later, batches run.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn start(spawner: Spawner) -> io::Result<Self> {
        let pool = Arc::new(Pool { state: Mutex::default(), spawner });
        let first = Arc::clone(&pool);
        pool.spawner.spawn("replica".into(), Box::new(move || first.run(true)))?;
        Ok(Self(ThreadPoolHandle(pool)))
    }

    pub(crate) fn handle(&self) -> ThreadPoolHandle {
        self.0.clone()
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        let mut state = self.0.0.state.lock();
        state.is_closed = true;
        for seat in state.idle.drain(..) {
            seat.given.notify_one();
        }
    }
}

impl ThreadPoolHandle {
    /// Lets a thread run the batches of a model until its queue has none. Does not wait.
    pub(crate) fn serve(&self, model: Arc<Model>) {
        let mut state = self.0.state.lock();
        if let Some(seat) = state.idle.pop() {
            *seat.model.lock() = Some(model);
            drop(state);
            seat.given.notify_one();
            return;
        }
        state.waiting.push_back(model);
        drop(state);
        let pool = Arc::clone(&self.0);
        // Without a new thread, the next one that is idle takes the model.
        self.0.spawner.request("replica".into(), Box::new(move || pool.run(false)));
    }
}

impl Pool {
    fn run(&self, stays: bool) {
        let seat = Arc::<Seat>::default();
        while let Some(model) = self.next(&seat, stays) {
            serve(&model);
        }
    }

    /// Waits for the next model; `None` if the thread is to end.
    fn next(&self, seat: &Arc<Seat>, stays: bool) -> Option<Arc<Model>> {
        let mut state = self.state.lock();
        if let Some(model) = state.waiting.pop_front() {
            return Some(model);
        }
        if state.is_closed {
            return None;
        }
        state.idle.push(Arc::clone(seat));
        drop(state);
        let ends = (!stays).then(|| Instant::now() + IDLE_MAX);
        seat.wait(ends).or_else(|| {
            // A model may have been given after the time was over.
            let mut state = self.state.lock();
            state.idle.retain(|other| !Arc::ptr_eq(other, seat));
            seat.model.lock().take()
        })
    }
}

impl Seat {
    /// Waits for a model until `ends`; `None` then, or when the pool is closed.
    fn wait(&self, ends: Option<Instant>) -> Option<Arc<Model>> {
        let mut model = self.model.lock();
        if model.is_none() {
            match ends {
                Some(ends) => drop(self.given.wait_until(&mut model, ends)),
                None => self.given.wait(&mut model),
            }
        }
        model.take()
    }
}

/// Runs the batches of a model until its queue has none.
fn serve(model: &Arc<Model>) {
    let served = catch_unwind(AssertUnwindSafe(|| {
        while let Some(job) = model.queue().next_job() {
            run_and_finish(model, job, RunOn::ReplicaThread);
        }
    }));
    if served.is_err() {
        tracing::error!("a thread that runs batches of model '{}' panicked", model.name());
        model.queue().leave();
    }
}
