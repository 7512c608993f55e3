//! The queue of one version of one model, and its idle replicas, under one lock. What is decided
//! about them is the scheduler's (`skysail_policy::scheduler`); here are the clock, the executors
//! and the threads that wait.

use crate::error::Error;
use crate::executor::Executor;
use crate::request::Response;
use crate::validate::{BatchKey, ValidRequest};
use parking_lot::{Condvar, Mutex};
use sizes::Sizes;
use skysail_policy::batch::BatchPolicy;
use skysail_policy::cause::{BlockingBatch, Run};
use skysail_policy::inline_run::RunOn;
use skysail_policy::priority::{Demand, Priority};
use skysail_policy::ready_queue::QueuedRequest;
use skysail_policy::scheduler::{Batch, Progress, Rejection, RunId, RunSample, Scheduler, Start};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

mod sizes;
#[cfg(test)]
mod tests;

/// A request that waits.
pub(crate) struct Entry {
    pub(crate) request: ValidRequest,
    pub(crate) queued: Instant,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Deadline>,
    /// What ran when it was queued, if no replica was free.
    pub(crate) behind: Option<BlockingBatch>,
    /// Requests that waited when it was queued.
    pub(crate) ahead: usize,
    pub(crate) reply: oneshot::Sender<Result<Response, Error>>,
}

/// When a response is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// Time that was allowed in total.
    pub(crate) allowed_us: u64,
    /// True for a timeout of the request or of its queue, false for the latency objective.
    pub(crate) is_timeout: bool,
}

/// A batch with the replica that runs it.
pub(crate) struct Job {
    pub(crate) entries: Vec<Entry>,
    pub(crate) replica: Replica,
    /// Rows of the last run, 0 when none succeeded.
    pub(crate) rows: usize,
    /// How long that took.
    pub(crate) run_us: f64,
    run: RunId,
    predicted_us: Option<f64>,
    /// Whether its replica has not run this size before.
    cold: bool,
}

/// An executor, and the sizes that it has run.
pub(crate) struct Replica {
    pub(crate) executor: Box<dyn Executor>,
    sizes: Sizes,
}

impl Job {
    /// What is told of a run of so many of its members, of the last that succeeded.
    pub(crate) fn run_of(&self, members: usize, ran_us: u64) -> Run {
        Run {
            number: self.run.number(),
            rows: self.rows,
            members,
            predicted_us: self.predicted_us.map(|us| us as u64),
            ran_us,
            cold: self.cold,
        }
    }
}

/// Requests waiting for the replicas of one version.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Signals threads of replicas: there may be a job.
    work: Condvar,
    model: String,
    requests_max: usize,
    epoch: Instant,
}

struct State {
    scheduler: Scheduler<Box<Entry>, BatchKey>,
    /// As many as the scheduler counts.
    idle: Vec<Replica>,
    open: bool,
}

impl Queue {
    pub(crate) fn new(
        model: &str,
        executors: Vec<Box<dyn Executor>>,
        policy: Box<dyn BatchPolicy>,
        requests_max: usize,
    ) -> Self {
        let scheduler = Scheduler::new(policy, executors.len(), requests_max);
        let replica = |executor| Replica { executor, sizes: Sizes::default() };
        let idle = executors.into_iter().map(replica).collect();
        Self {
            state: Mutex::new(State { scheduler, idle, open: true }),
            work: Condvar::new(),
            model: model.into(),
            requests_max,
            epoch: Instant::now(),
        }
    }

    /// Takes an entry in and says behind what, or gives back why not.
    pub(crate) fn push(&self, mut entry: Entry) -> Result<Option<BlockingBatch>, Error> {
        let deadline = entry.deadline;
        let demand = Demand {
            rows: entry.request.rows,
            queued_us: self.micros(entry.queued),
            deadline_us: deadline.map(|deadline| self.micros(deadline.at)),
            priority: entry.priority,
        };
        let batch_key = entry.request.batch_key.clone();
        let mut state = self.state.lock();
        if !state.open {
            let reason = "it is being unloaded".into();
            return Err(Error::ModelNotReady { model: self.model.clone(), reason });
        }
        let behind = state.scheduler.behind(demand.queued_us);
        (entry.behind, entry.ahead) = (behind, state.scheduler.len());
        let entry = Box::new(entry);
        let pushed = state.scheduler.push(entry, demand, batch_key, demand.queued_us, is_left);
        let dropped = state.scheduler.take_removed();
        drop(state);
        self.answer_dropped(dropped);
        pushed.map(|()| behind).map_err(|refusal| self.rejected(refusal, deadline))
    }

    fn rejected(&self, rejection: Rejection, deadline: Option<Deadline>) -> Error {
        let model = self.model.clone();
        match rejection {
            Rejection::Full => Error::QueueFull { model, limit: self.requests_max },
            Rejection::Overloaded { retry_in_us } => {
                let deadline_us = deadline.map_or(0, |deadline| deadline.allowed_us);
                let retry_after_ms = (retry_in_us / 1e3).ceil().max(1.0) as u64;
                Error::Overloaded { model, deadline_us, retry_after_ms }
            }
        }
    }

    /// A job for the caller's own thread, if it is short; else a replica's thread is told.
    pub(crate) fn start_here(&self) -> Option<Job> {
        let mut state = self.state.lock();
        if state.scheduler.is_empty() || state.scheduler.idle() == 0 {
            return None;
        }
        let job = match state.scheduler.next_run_on() {
            RunOn::Caller => state.start(self.now_us()).ok(),
            RunOn::ReplicaThread => None,
        };
        let dropped = state.scheduler.take_removed();
        let is_left = job.is_none() && !state.scheduler.is_empty();
        drop(state);
        self.answer_dropped(dropped);
        if is_left {
            self.work.notify_one();
        }
        job
    }

    /// Gives the replica of a job back, with what its run taught.
    pub(crate) fn finish(&self, job: Job) {
        let Job { replica, rows, run_us, run, .. } = job;
        let ran = (rows > 0).then_some(RunSample { rows, run_us });
        let mut state = self.state.lock();
        state.idle.push(replica);
        state.scheduler.finish(run, ran, self.now_us());
        if !state.open {
            // Threads may wait for the last entries, and somebody else has run them.
            self.work.notify_all();
        }
    }

    /// Whether something waits that a replica could run.
    pub(crate) fn has_work(&self) -> bool {
        self.state.lock().has_work()
    }

    /// Wakes a replica's thread.
    pub(crate) fn wake_thread(&self) {
        self.work.notify_one();
    }

    /// Waits for the next job; `None` when the queue is closed and empty.
    pub(crate) fn next_job(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            let started = state.start(self.now_us());
            let dropped = state.scheduler.take_removed();
            if !dropped.is_empty() {
                parking_lot::MutexGuard::unlocked(&mut state, || self.answer_dropped(dropped));
                if started.is_err() {
                    continue;
                }
            }
            match started {
                Ok(job) => {
                    // What is left may be another thread's, and nobody told that one of it.
                    if state.has_work() {
                        self.work.notify_one();
                    }
                    return Some(job);
                }
                Err(_) if !state.open && state.scheduler.is_empty() => return None,
                Err(Some(until_us)) => {
                    let until = self.epoch + Duration::from_micros(until_us);
                    self.work.wait_until(&mut state, until);
                }
                Err(None) => self.work.wait(&mut state),
            }
        }
    }

    /// Answers what has waited too long, also while no replica is free.
    pub(crate) fn expire(&self) {
        let mut state = self.state.lock();
        state.scheduler.expire(self.now_us());
        let dropped = state.scheduler.take_removed();
        if !state.open {
            // Threads may wait for the last entries, which have left now.
            self.work.notify_all();
        }
        drop(state);
        self.answer_dropped(dropped);
    }

    /// Teaches the queue how long a batch runs, as its idle replicas have tried.
    pub(crate) fn observe(&self, rows: usize, run_us: f64) {
        let mut state = self.state.lock();
        state.scheduler.observe(rows, run_us);
        for replica in &mut state.idle {
            replica.sizes.insert(rows, &[]);
        }
    }

    /// How far it is, for whoever watches that it moves.
    pub(crate) fn progress(&self) -> Progress {
        self.state.lock().scheduler.progress()
    }

    /// Replicas that run now.
    pub(crate) fn busy(&self) -> usize {
        self.state.lock().scheduler.busy()
    }

    /// Requests that wait.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().scheduler.len()
    }

    /// Takes nothing in any more, and ends the replicas' threads once nothing waits.
    pub(crate) fn close(&self) {
        self.state.lock().open = false;
        self.work.notify_all();
    }

    /// Tells those who did not get into a batch why. When the caller left, nobody wants to know.
    fn answer_dropped(&self, dropped: Vec<QueuedRequest<Box<Entry>>>) {
        let now = Instant::now();
        for QueuedRequest { item: entry, .. } in dropped {
            let error = match entry.deadline {
                // A higher priority took its place in a full queue.
                None => self.rejected(Rejection::Full, None),
                Some(Deadline { is_timeout: true, allowed_us, at }) if now > at => {
                    Error::TimedOut { timeout_us: allowed_us }
                }
                // It was admitted, so the queue is one objective long at most.
                Some(Deadline { allowed_us, .. }) => Error::Dropped {
                    model: self.model.clone(),
                    deadline_us: allowed_us,
                    retry_after_ms: allowed_us.div_ceil(1000).max(1),
                },
            };
            drop(entry.reply.send(Err(error)));
        }
    }

    fn now_us(&self) -> u64 {
        self.micros(Instant::now())
    }

    fn micros(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }
}

impl State {
    fn has_work(&self) -> bool {
        !self.scheduler.is_empty() && self.scheduler.idle() > 0
    }

    /// The next job, or until when there is none.
    fn start(&mut self, now_us: u64) -> Result<Job, Option<u64>> {
        match self.scheduler.start(now_us, self.open, is_left) {
            Start::Run(batch) => self.job(batch, now_us).ok_or(None),
            Start::Wait { until_us } => Err(Some(until_us)),
            Start::Nothing => Err(None),
        }
    }
}

impl State {
    fn job(&mut self, batch: Batch<Box<Entry>>, now_us: u64) -> Option<Job> {
        let Batch { members, run, rows, predicted_us } = batch;
        let Some(mut replica) = self.idle.pop() else {
            self.scheduler.finish(run, None, now_us);
            return None;
        };
        // What has a batch key of its own would never be seen twice.
        let first = members.first().map(|first| &first.item.request);
        let batch_key =
            first.filter(|request| request.given.is_empty()).map(|r| r.batch_key.clone());
        let cold = replica.sizes.insert(rows, &batch_key.unwrap_or_default());
        let entry = |QueuedRequest { item, demand, .. }: QueuedRequest<Box<Entry>>| {
            let mut entry = *item;
            if let Some(behind) = &mut entry.behind {
                self.scheduler.settle(behind, demand.queued_us, now_us);
            }
            entry
        };
        let entries = members.into_iter().map(entry).collect();
        Some(Job { entries, replica, rows: 0, run_us: 0.0, run, predicted_us, cold })
    }
}

/// Whether its caller is gone.
#[expect(clippy::borrowed_box, reason = "what the scheduler holds")]
fn is_left(entry: &Box<Entry>) -> bool {
    entry.reply.is_closed()
}
