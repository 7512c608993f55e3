//! The queue of one version of a model and its replicas, under one lock. The scheduler
//! (`skysail_policy::scheduler`) makes the decisions; here are the clock, the executors and the
//! threads that run its batches.

use crate::error::Error;
use crate::model::Model;
use crate::replica::thread_pool::ThreadPoolHandle;
use crate::replica::{ClassId, Replica, ReplicaId, ReplicaState, Running, Slots};
use crate::validate::{BatchKey, unique_batch_key};
use intake::Intake;
use parking_lot::{Condvar, Mutex};
use skysail_policy::cause::{BlockingBatch, Run};
use skysail_policy::inline_run::RunOn;
use skysail_policy::priority::{Demand, Priority, StartBy};
use skysail_policy::queue_policy::QueuePolicies;
use skysail_policy::ready_queue::QueuedRequest;
use skysail_policy::scheduler::{
    Batch, MakePolicy, Progress, Rejection, RunEnd, RunId, RunSample, Scheduler, Start,
};
use std::sync::{OnceLock, Weak};
use std::time::{Duration, Instant};

mod entry;
mod intake;
#[cfg(test)]
mod tests;
mod threads;

pub(crate) use entry::{Deadline, Entry, WaitLimit};

/// A batch with the replica that runs it.
pub(crate) struct Job {
    pub(crate) entries: Vec<Entry>,
    pub(crate) replica: Running,
    /// Rows of the last run that succeeded, else 0.
    pub(crate) rows: usize,
    /// Run time of that run.
    pub(crate) run_us: f64,
    /// Set when the replica failed; the entries that are left go to another one.
    pub(crate) failure: Option<Failure>,
    run: RunId,
    predicted_us: Option<f64>,
    /// True if the replica has not run this size before.
    cold: bool,
}

/// A failure of a replica.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) retry_in: Option<Duration>,
}

impl Job {
    /// Describes its last run that succeeded, of so many members.
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

/// Requests that wait for the replicas of one version.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Tells threads that wait for a time that there may be a job before.
    work: Condvar,
    /// Tells that a thread has left, or that nothing waits any more.
    ended: Condvar,
    /// Source of threads, once the model serves.
    pool: OnceLock<(ThreadPoolHandle, Weak<Model>)>,
    model: String,
    requests_max: usize,
    policies: QueuePolicies,
    epoch: Instant,
}

struct State {
    scheduler: Scheduler<Box<Entry>, BatchKey>,
    slots: Slots,
    intake: Intake,
    /// Threads that run batches of this queue, or are called to.
    threads: usize,
    /// Threads among these that wait for a time.
    waiting_threads: usize,
}

/// Requests that left the queue without being in a batch.
struct Removed {
    requests: Vec<QueuedRequest<Box<Entry>>>,
    /// False if they left as the last replica did.
    has_replicas: bool,
}

impl Queue {
    /// Makes a queue without replicas.
    pub(crate) fn new(
        model: &str,
        make_policy: MakePolicy,
        requests_max: usize,
        policies: QueuePolicies,
    ) -> Self {
        let scheduler = Scheduler::new(make_policy, requests_max).with_policies(policies.clone());
        Self {
            state: Mutex::new(State::new(scheduler)),
            work: Condvar::new(),
            ended: Condvar::new(),
            pool: OnceLock::new(),
            model: model.into(),
            requests_max,
            policies,
            epoch: Instant::now(),
        }
    }

    /// Adds a replica, which takes batches at once.
    pub(crate) fn join(&self, replica: Replica) -> ReplicaId {
        let mut state = self.state.lock();
        let id = state.scheduler.join(replica.traits, true);
        state.slots.add(id, replica);
        self.call_thread(&mut state);
        id
    }

    /// Lets a replica leave once its batches in flight have ended. Requests that wait are answered
    /// with an error when it is the last.
    pub(crate) fn drain(&self, id: ReplicaId) {
        let mut state = self.state.lock();
        let is_gone = state.scheduler.drain(id) == ReplicaState::Gone;
        let runner = if is_gone { state.slots.remove(id) } else { None };
        let removed = state.take_removed();
        drop(state);
        // Freeing an executor takes long: not under the lock.
        drop(runner);
        self.answer_removed(removed);
    }

    fn demand(&self, entry: &Entry) -> Demand {
        Demand {
            rows: entry.request.rows,
            queued_us: self.micros(entry.queued),
            deadline_us: entry.deadline.map(|deadline| self.micros(deadline.at)),
            start_by: entry
                .wait_limit
                .map(|limit| StartBy { at_us: self.micros(limit.at), action: limit.action }),
            priority: entry.priority,
        }
    }

    /// Queues a request. Returns the batch that it waits for, if no replica is free.
    ///
    /// # Errors
    /// When the queue is full or closed, no response in time is possible, or no replica is left.
    pub(crate) fn push(&self, mut entry: Entry) -> Result<Option<BlockingBatch>, Error> {
        let (deadline, demand) = (entry.deadline, self.demand(&entry));
        let batch_key = entry.request.batch_key.clone();
        let mut state = self.state.lock();
        if let Intake::Closed { reason } = state.intake {
            return Err(self.closed(reason));
        }
        let behind = state.scheduler.behind(demand.queued_us);
        (entry.behind, entry.ahead) = (behind, state.scheduler.len());
        let entry = Box::new(entry);
        let pushed = state.scheduler.push(entry, demand, batch_key, demand.queued_us, is_cancelled);
        let removed = state.take_removed();
        drop(state);
        self.answer_removed(removed);
        let rejected = |rejection| self.rejected(rejection, deadline, demand.priority);
        pushed.map(|()| behind).map_err(rejected)
    }

    fn rejected(
        &self,
        rejection: Rejection,
        deadline: Option<Deadline>,
        priority: Priority,
    ) -> Error {
        let model = self.model.clone();
        match rejection {
            Rejection::Full => {
                let of_level = self.policies.requests_max(priority).unwrap_or(usize::MAX);
                Error::QueueFull { model, limit: self.requests_max.min(of_level) }
            }
            Rejection::Overloaded { retry_in_us } => {
                let deadline_us = deadline.map_or(0, |deadline| deadline.allowed_us);
                let retry_after_ms = (retry_in_us / 1e3).ceil().max(1.0) as u64;
                Error::Overloaded { model, deadline_us, retry_after_ms }
            }
            Rejection::NoReplica => Error::Unavailable {
                model,
                message: "it has no replica".into(),
                retry_after_ms: None,
            },
        }
    }

    /// Returns a job for the thread of a caller, if it is short; else wakes a replica's thread. That
    /// one also waits until an ejected replica is tried again.
    pub(crate) fn start_here(&self) -> Option<Job> {
        let mut state = self.state.lock();
        if !state.scheduler.has_work() {
            return None;
        }
        let job = match state.scheduler.next_run_on() {
            RunOn::Caller => state.start(self.now_us()).ok(),
            RunOn::ReplicaThread => None,
        };
        let removed = state.take_removed();
        if job.is_none() {
            self.call_thread(&mut state);
        }
        drop(state);
        self.answer_removed(removed);
        job
    }

    /// Gives the replica of a job back, with what its run taught. Entries that are left in the job
    /// are queued again: for another replica if this one failed, else each to run alone.
    pub(crate) fn finish(&self, job: Job) {
        let Job { entries, replica, rows, run_us, failure, run, .. } = job;
        let end = match &failure {
            Some(Failure { retry_in, .. }) => {
                RunEnd::ReplicaFailed { retry_in_us: retry_in.map(micros) }
            }
            None if rows > 0 => RunEnd::Succeeded(RunSample { rows, run_us }),
            None => RunEnd::Failed,
        };
        let id = replica.id;
        let mut state = self.state.lock();
        let mut freed = state.slots.give_back(replica);
        state.scheduler.finish(run, end, self.now_us());
        if state.scheduler.replicas().state(id) == ReplicaState::Gone {
            freed = freed.or(state.slots.remove(id));
        }
        let mut lost = Vec::new();
        let is_requeued = !entries.is_empty();
        for mut entry in entries {
            entry.set_running(false);
            match failure {
                Some(_) => entry.attempts += 1,
                None => entry.request.batch_key = unique_batch_key(),
            }
            let (demand, key) = (self.demand(&entry), entry.request.batch_key.clone());
            let attempts = entry.attempts;
            lost.extend(state.scheduler.requeue(Box::new(entry), demand, key, attempts).err());
        }
        let removed = state.take_removed();
        if is_requeued {
            self.call_thread(&mut state);
        }
        self.tell_if_ended(&state);
        drop(state);
        drop(freed);
        self.answer_removed(removed);
        let Failure { message, retry_in } = failure.unwrap_or_default();
        let retry_after_ms = retry_in.map(|time| micros(time).div_ceil(1000));
        for entry in lost {
            let (model, message) = (self.model.clone(), message.clone());
            entry.reply.send(Err(Error::Unavailable { model, message, retry_after_ms }));
        }
    }

    /// True if a request waits that a replica could run, or for an ejected replica.
    pub(crate) fn has_work(&self) -> bool {
        self.state.lock().scheduler.has_work()
    }

    /// Answers what has waited too long, also while no replica is free.
    pub(crate) fn expire(&self) {
        let mut state = self.state.lock();
        state.scheduler.expire(self.now_us());
        let removed = state.take_removed();
        if !removed.requests.is_empty() {
            // A thread may wait for the sake of what has left.
            self.work.notify_all();
        }
        self.tell_if_ended(&state);
        drop(state);
        self.answer_removed(removed);
    }

    /// Teaches the run time of a batch that all replicas of a class have run.
    pub(crate) fn observe(&self, class: ClassId, rows: usize, run_us: f64) {
        let mut state = self.state.lock();
        state.scheduler.observe(class, rows, run_us);
        state.slots.note_run(class, rows);
    }

    /// Identities and states of its replicas.
    pub(crate) fn replicas(&self) -> Vec<(ReplicaId, ReplicaState)> {
        let state = self.state.lock();
        state.scheduler.replicas().iter().map(|replica| (replica.id, replica.state)).collect()
    }

    /// Progress of the queue, for the watchdog.
    pub(crate) fn progress(&self) -> Progress {
        self.state.lock().scheduler.progress()
    }

    /// Number of batches that run now.
    pub(crate) fn busy(&self) -> usize {
        self.state.lock().scheduler.busy()
    }

    /// Number of requests that wait.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().scheduler.len()
    }

    /// Answers requests that left the queue without being in a batch. A caller that left gets
    /// nothing.
    fn answer_removed(&self, removed: Removed) {
        let now = Instant::now();
        for QueuedRequest { item: entry, .. } in removed.requests {
            let (model, priority) = (self.model.clone(), entry.priority);
            let error = match (entry.passed_timeout_us(now), entry.deadline) {
                _ if !removed.has_replicas => self.rejected(Rejection::NoReplica, None, priority),
                (Some(timeout_us), _) => Error::TimedOut { timeout_us },
                // A higher priority took its place in a full queue.
                (None, None) => self.rejected(Rejection::Full, None, priority),
                // It was admitted, so the queue is one objective long at most.
                (None, Some(Deadline { allowed_us, .. })) => Error::Dropped {
                    model,
                    deadline_us: allowed_us,
                    retry_after_ms: allowed_us.div_ceil(1000).max(1),
                },
            };
            entry.reply.send(Err(error));
        }
    }

    fn now_us(&self) -> u64 {
        self.micros(Instant::now())
    }

    fn micros(&self, time: Instant) -> u64 {
        micros(time.saturating_duration_since(self.epoch))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl State {
    fn new(scheduler: Scheduler<Box<Entry>, BatchKey>) -> Self {
        Self {
            scheduler,
            slots: Slots::default(),
            intake: Intake::Open,
            threads: 0,
            waiting_threads: 0,
        }
    }

    /// Takes the requests that left the queue without being in a batch.
    fn take_removed(&mut self) -> Removed {
        let requests = self.scheduler.take_removed();
        let has_replicas = requests.is_empty() || self.scheduler.replicas().live().next().is_some();
        Removed { requests, has_replicas }
    }

    /// Returns the next job, or the time until which there is none.
    fn start(&mut self, now_us: u64) -> Result<Job, Option<u64>> {
        let may_wait = self.intake == Intake::Open;
        match self.scheduler.start(now_us, may_wait, is_cancelled) {
            Start::Run(batch) => self.job(batch, now_us).ok_or(None),
            Start::Wait { until_us } => Err(Some(until_us)),
            Start::Nothing => Err(None),
        }
    }

    fn job(&mut self, batch: Batch<Box<Entry>>, now_us: u64) -> Option<Job> {
        let Batch { members, run, replica, rows, predicted_us } = batch;
        // A batch key of one request alone would never be seen twice.
        let first = members.first().map(|first| &first.item.request);
        let key = first.filter(|request| request.given.is_empty()).map(|r| r.batch_key.as_slice());
        let taken = self.slots.take(replica, rows, key.unwrap_or_default());
        debug_assert!(taken.is_some(), "the scheduler counts the batches of each replica");
        let Some((replica, cold)) = taken else {
            self.scheduler.finish(run, RunEnd::Failed, now_us);
            return None;
        };
        let entry = |QueuedRequest { item, demand, .. }: QueuedRequest<Box<Entry>>| {
            let mut entry = *item;
            entry.set_running(true);
            if let Some(behind) = &mut entry.behind {
                self.scheduler.settle(behind, demand.queued_us, now_us);
            }
            entry
        };
        let entries = members.into_iter().map(entry).collect();
        let (rows, run_us, failure) = (0, 0.0, None);
        Some(Job { entries, replica, rows, run_us, failure, run, predicted_us, cold })
    }
}

/// True if the caller has left.
#[expect(clippy::borrowed_box, reason = "what the scheduler holds")]
fn is_cancelled(entry: &Box<Entry>) -> bool {
    entry.reply.is_closed()
}
