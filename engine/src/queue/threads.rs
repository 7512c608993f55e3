//! The threads of a queue: called from the pool when a replica could run a batch, and given back
//! when none could.

use super::{Job, Queue, State};
use crate::model::Model;
use crate::replica::thread_pool::ThreadPoolHandle;
use std::sync::Arc;
use std::time::Duration;

impl Queue {
    /// Lets threads of the pool run its batches.
    pub(crate) fn serve_with(&self, pool: ThreadPoolHandle, model: &Arc<Model>) {
        // A model is put into service once.
        drop(self.pool.set((pool, Arc::downgrade(model))));
        self.wake_thread();
    }

    /// Number of threads that run its batches now, or are called to.
    pub(crate) fn threads(&self) -> usize {
        self.state.lock().threads
    }

    /// Lets a thread look at the queue, unless each replica has one: those look again after a run.
    pub(super) fn call_thread(&self, state: &mut State) {
        if state.waiting_threads > 0 {
            self.work.notify_one();
            return;
        }
        // Batches that run elsewhere are started by one thread.
        if !state.scheduler.has_work() || state.threads >= state.slots.direct().max(1) {
            return;
        }
        let Some((pool, model)) = self.pool.get() else { return };
        let Some(model) = model.upgrade() else { return };
        state.threads += 1;
        pool.serve(model);
    }

    /// Lets a thread look at the queue.
    pub(crate) fn wake_thread(&self) {
        self.call_thread(&mut self.state.lock());
    }

    /// Returns the next job of a thread, after a wait if the policy asks for one. The thread leaves
    /// with `None`, when there is nothing that it could run.
    pub(crate) fn next_job(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            let started = state.start(self.now_us());
            let removed = state.take_removed();
            if !removed.requests.is_empty() {
                parking_lot::MutexGuard::unlocked(&mut state, || self.answer_removed(removed));
                if started.is_err() {
                    continue;
                }
            }
            match started {
                Ok(job) => {
                    // What is left may be another thread's, and nobody told that one of it.
                    self.call_thread(&mut state);
                    return Some(job);
                }
                Err(Some(until_us)) if !state.scheduler.is_empty() => {
                    let until = self.epoch + Duration::from_micros(until_us);
                    state.waiting_threads += 1;
                    self.work.wait_until(&mut state, until);
                    state.waiting_threads -= 1;
                }
                Err(_) => {
                    state.threads = state.threads.saturating_sub(1);
                    self.tell_if_ended(&state);
                    return None;
                }
            }
        }
    }

    /// Counts a thread out that does not come back for a job.
    pub(crate) fn leave(&self) {
        let mut state = self.state.lock();
        state.threads = state.threads.saturating_sub(1);
        self.call_thread(&mut state);
        self.tell_if_ended(&state);
    }

    pub(super) fn tell_if_ended(&self, state: &State) {
        if state.has_ended() {
            self.ended.notify_all();
        }
    }

    /// Waits until a closed queue is empty and no thread runs a batch of it.
    pub(crate) fn wait_until_ended(&self) {
        let mut state = self.state.lock();
        self.ended.wait_while(&mut state, |state| !state.has_ended());
    }
}

impl State {
    /// True if a closed queue is empty, and no thread runs a batch of it.
    pub(super) fn has_ended(&self) -> bool {
        self.intake.is_closed() && self.threads == 0 && self.scheduler.is_empty()
    }
}
