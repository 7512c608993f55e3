//! The bounded queue of one version of one model, and its idle replicas. One lock owns both, so
//! that "a replica is idle and something waits" is never true for longer than a decision.

use crate::admit::Admitted;
use crate::config::QueueLimits;
use crate::error::Error;
use crate::executor::Executor;
use crate::request::Response;
use parking_lot::{Condvar, Mutex};
use skysail_policy::batch::{BatchPolicy, Decision, FinishedRun, QueueView};
use skysail_policy::place::{Place, place};
use skysail_policy::run_time::RunTime;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

#[cfg(test)]
mod tests;

/// A request that waits.
pub(crate) struct Entry {
    pub(crate) request: Admitted,
    pub(crate) queued: Instant,
    /// Its own limit, or the model's.
    pub(crate) timeout_us: Option<u64>,
    pub(crate) reply: oneshot::Sender<Result<Response, Error>>,
}

/// A batch with the replica that runs it.
pub(crate) struct Job {
    pub(crate) entries: Vec<Entry>,
    pub(crate) executor: Box<dyn Executor>,
    /// Rows of the last run, 0 when none succeeded.
    pub(crate) rows: usize,
    /// How long that took.
    pub(crate) run_us: f64,
}

/// What there is to do.
pub(crate) enum Start {
    /// This, now, by whoever asked.
    Run(Job),
    /// Nothing before this time.
    Wait(Instant),
    /// Nothing, until something is pushed or finished.
    Nothing,
}

/// Requests waiting for the replicas of one version.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Signals threads of replicas: there may be a job.
    work: Condvar,
    limits: QueueLimits,
    batches: bool,
    epoch: Instant,
}

struct State {
    waiting: VecDeque<Entry>,
    idle: Vec<Box<dyn Executor>>,
    policy: Box<dyn BatchPolicy>,
    run_time: RunTime,
    open: bool,
    /// Entries refused since a full queue was last looked through for those who left.
    refused: usize,
}

impl Queue {
    pub(crate) fn new(
        executors: Vec<Box<dyn Executor>>,
        policy: Box<dyn BatchPolicy>,
        limits: QueueLimits,
        batches: bool,
    ) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            idle: executors,
            policy,
            run_time: RunTime::default(),
            open: true,
            refused: 0,
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            limits,
            batches,
            epoch: Instant::now(),
        }
    }

    /// Takes an entry in, or gives back why not.
    pub(crate) fn push(&self, mut entry: Entry, model: &str) -> Result<(), Error> {
        entry.timeout_us = entry.timeout_us.or(self.limits.timeout_us);
        let mut state = self.state.lock();
        if !state.open {
            let reason = "it is being unloaded".into();
            return Err(Error::ModelNotReady { model: model.into(), reason });
        }
        let limit = self.limits.requests_max;
        if state.waiting.len() >= limit && !state.make_room(limit) {
            return Err(Error::QueueFull { model: model.into(), limit });
        }
        state.waiting.push_back(entry);
        Ok(())
    }

    /// A job for the caller's own thread, if it is short; else a replica's thread is told.
    pub(crate) fn start_here(&self) -> Option<Job> {
        let mut state = self.state.lock();
        state.drop_expired();
        if state.waiting.is_empty() || state.idle.is_empty() {
            return None;
        }
        let job = match self.place(&state) {
            Place::Here => self.start(&mut state),
            Place::ReplicaThread => Start::Nothing,
        };
        drop(state);
        match job {
            Start::Run(job) => Some(job),
            Start::Wait(_) | Start::Nothing => {
                self.work.notify_one();
                None
            }
        }
    }

    /// Gives the replica of a job back, with what its run taught.
    pub(crate) fn finish(&self, job: Job) {
        let mut state = self.state.lock();
        if job.rows > 0 {
            state.run_time.observe(job.rows, job.run_us);
            let rows_waiting = state.head_rows(usize::MAX);
            let run = FinishedRun { rows: job.rows, run_us: job.run_us, rows_waiting };
            state.policy.finished(&run, self.micros(Instant::now()));
        }
        state.idle.push(job.executor);
        if !state.open {
            // Threads may wait for the last entries, and somebody else has run them.
            self.work.notify_all();
        }
    }

    /// Whether something waits that a replica could run.
    pub(crate) fn has_work(&self) -> bool {
        let state = self.state.lock();
        !state.waiting.is_empty() && !state.idle.is_empty()
    }

    /// Wakes a replica's thread.
    pub(crate) fn wake_thread(&self) {
        self.work.notify_one();
    }

    /// Waits for the next job; `None` when the queue is closed and empty.
    pub(crate) fn next_job(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            match self.start(&mut state) {
                Start::Run(job) => {
                    // What is left may be another thread's, and nobody told that one of it.
                    if !state.waiting.is_empty() && !state.idle.is_empty() {
                        self.work.notify_one();
                    }
                    return Some(job);
                }
                _ if !state.open && state.waiting.is_empty() => return None,
                Start::Wait(until) => drop(self.work.wait_until(&mut state, until)),
                Start::Nothing => self.work.wait(&mut state),
            }
        }
    }

    /// Answers what has waited too long, also while no replica is free.
    pub(crate) fn answer_late(&self) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let waiting = std::mem::take(&mut state.waiting).into_iter();
        let (late, waiting): (VecDeque<_>, _) = waiting.partition(|entry| entry.is_late(now));
        state.waiting = waiting;
        if !state.open {
            // Threads may wait for the last entries, which have left now.
            self.work.notify_all();
        }
        drop(state);
        late.into_iter().for_each(|entry| entry.expire(now));
    }

    /// Teaches the queue how long a batch runs.
    pub(crate) fn observe(&self, rows: usize, run_us: f64) {
        self.state.lock().run_time.observe(rows, run_us);
    }

    /// Requests that wait.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Takes nothing in any more, and ends the replicas' threads once nothing waits.
    pub(crate) fn close(&self) {
        self.state.lock().open = false;
        self.work.notify_all();
    }

    fn place(&self, state: &State) -> Place {
        let rows = if self.batches { state.head_rows(usize::MAX) } else { 1 };
        place(state.run_time.predict_us(rows))
    }

    fn start(&self, state: &mut State) -> Start {
        state.drop_expired();
        let Some(oldest) = state.waiting.front() else { return Start::Nothing };
        if state.idle.is_empty() {
            return Start::Nothing;
        }
        if !self.batches {
            return state.take(1);
        }
        let oldest_queued_us = self.micros(oldest.queued);
        let view = QueueView { rows_waiting: state.head_rows(usize::MAX).max(1), oldest_queued_us };
        match state.policy.decide(&view, self.micros(Instant::now())) {
            Decision::Run { rows_max } => state.take(rows_max),
            Decision::Wait { until_us } if state.open => {
                let until = self.epoch + Duration::from_micros(until_us);
                Start::Wait(state.next_timeout().map_or(until, |timeout| timeout.min(until)))
            }
            Decision::Wait { .. } => state.take(view.rows_waiting),
        }
    }

    fn micros(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }
}

impl State {
    /// Drops those who left from a full queue; false when it stays full. Looking through it is
    /// shared among many refusals, so that each costs the same however long the queue is.
    fn make_room(&mut self, limit: usize) -> bool {
        let is_turn = self.refused.is_multiple_of((limit / 8).max(1));
        if is_turn {
            self.waiting.retain(|entry| !entry.reply.is_closed());
        }
        let has_room = self.waiting.len() < limit;
        self.refused = if has_room { 0 } else { self.refused + 1 };
        has_room
    }

    /// Drops what nobody waits for any more, and answers what has waited too long.
    fn drop_expired(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.waiting.front() {
            if !entry.reply.is_closed() && !entry.is_late(now) {
                break;
            }
            if let Some(entry) = self.waiting.pop_front() {
                entry.expire(now);
            }
        }
    }

    /// Answers all that have waited too long, wherever they stand, and says when the next will
    /// have.
    fn next_timeout(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.waiting.iter().any(|entry| entry.is_late(now)) {
            let (late, others): (VecDeque<_>, _) =
                self.waiting.drain(..).partition(|entry| entry.is_late(now));
            self.waiting = others;
            late.into_iter().for_each(|entry| entry.expire(now));
        }
        self.waiting.iter().filter_map(Entry::timeout).min()
    }

    /// Rows of the entries that could run with the oldest, at most about `rows_max`.
    fn head_rows(&self, rows_max: usize) -> usize {
        let Some(head) = self.waiting.front() else { return 0 };
        let mut rows = 0;
        for entry in self.waiting.iter().take(LOOK_AHEAD).filter(|e| e.fits_with(head)) {
            rows += entry.request.rows;
            if rows >= rows_max {
                break;
            }
        }
        rows
    }

    /// Takes the oldest entry and those that fit with it, up to `rows_max` rows.
    fn take(&mut self, rows_max: usize) -> Start {
        let now = Instant::now();
        let Some(first) = self.waiting.pop_front() else { return Start::Nothing };
        let Some(executor) = self.idle.pop() else {
            self.waiting.push_front(first);
            return Start::Nothing;
        };
        let mut rows = first.request.rows;
        let mut entries = vec![first];
        let mut others = Vec::new();
        while rows < rows_max && others.len() < LOOK_AHEAD {
            let Some(entry) = self.waiting.pop_front() else { break };
            if entry.reply.is_closed() || entry.is_late(now) {
                entry.expire(now);
            } else if entry.fits_with(&entries[0]) && rows + entry.request.rows <= rows_max {
                rows += entry.request.rows;
                entries.push(entry);
            } else {
                others.push(entry);
            }
        }
        others.into_iter().rev().for_each(|entry| self.waiting.push_front(entry));
        Start::Run(Job { entries, executor, rows: 0, run_us: 0.0 })
    }
}

/// How many entries are looked at for one batch, so that a decision costs the same however long
/// the queue is.
const LOOK_AHEAD: usize = 1024;

impl Entry {
    /// Whether the two can share a run: all dimensions but the first are the same.
    fn fits_with(&self, other: &Self) -> bool {
        let pairs = self.request.inputs.iter().zip(&other.request.inputs);
        pairs.into_iter().all(|(a, b)| a.shape.get(1..) == b.shape.get(1..))
    }

    fn is_late(&self, now: Instant) -> bool {
        self.timeout_us.is_some_and(|us| now.duration_since(self.queued).as_micros() > us.into())
    }

    /// When it will have waited too long.
    fn timeout(&self) -> Option<Instant> {
        let us = self.timeout_us?.saturating_add(1);
        self.queued.checked_add(Duration::from_micros(us))
    }

    fn expire(self, now: Instant) {
        if self.is_late(now) {
            let timeout_us = self.timeout_us.unwrap_or_default();
            // When the caller left too, nobody wants to know.
            drop(self.reply.send(Err(Error::TimedOut { timeout_us })));
        }
    }
}
