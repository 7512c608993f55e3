//! One queue and its replicas as a machine of states: requests come in or are rejected, batches
//! start, runs end. The live engine drives it under a lock with real executors, the simulator
//! with simulated ones; neither has a decision of its own.

use crate::admission::{Admission, Ahead, admit, remaining_us};
use crate::admission_margin::AdmissionMargin;
use crate::batch::{BatchPolicy, Decision, FinishedRun, QueueView};
use crate::inline_run::{RunOn, run_on};
use crate::priority::Demand;
use crate::ready_queue::{Head, QueuedRequest, ReadyQueue};
use crate::run_time::RunTime;
use progress::CompletedRuns;
use std::hash::Hash;

mod progress;

pub use progress::Progress;

/// What there is to do.
#[derive(Debug)]
pub enum Start<T> {
    /// This, now, on an idle replica.
    Run(Batch<T>),
    /// Nothing before this time.
    Wait {
        /// When to ask again, if nothing happens before.
        until_us: u64,
    },
    /// Nothing, until something is pushed or finished.
    Nothing,
}

/// A batch that starts.
#[derive(Debug)]
pub struct Batch<T> {
    /// Its members, the most urgent first; at least one.
    pub members: Vec<QueuedRequest<T>>,
    /// To be given back when it is over.
    pub run: RunId,
    /// Rows of all members.
    pub rows: usize,
    /// How long it should run, once anything is known of that.
    pub predicted_us: Option<f64>,
}

/// A run that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunId(u64);

impl RunId {
    /// Its number: runs are counted from 0 on.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A run that has succeeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunSample {
    /// Rows of its batch.
    pub rows: usize,
    /// How long it took.
    pub run_us: f64,
}

/// Why a request is not taken in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rejection {
    /// As many wait as may.
    Full,
    /// Its answer would come too late.
    Overloaded {
        /// When it may be worth trying again.
        retry_in_us: f64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Running {
    id: RunId,
    rows: usize,
    started_us: u64,
    predicted_us: f64,
    deadline_us: Option<u64>,
}

/// Requests waiting for the replicas of one version; `L` tells apart those that can not share a
/// run.
pub struct Scheduler<T, L> {
    waiting: ReadyQueue<T, L>,
    policy: Box<dyn BatchPolicy>,
    run_time: RunTime,
    idle: usize,
    running: Vec<Running>,
    next_run: u64,
    finished: u64,
    completed: CompletedRuns,
    requests_max: usize,
    /// Refused since a full queue was last looked through for those who left.
    rejected: usize,
    dropped: Vec<QueuedRequest<T>>,
    admission_margin: AdmissionMargin,
    /// While a policy waits: when the first that it has waited for was queued.
    waits_since_us: Option<u64>,
}

impl<T, L: Clone + Eq + Hash> Scheduler<T, L> {
    /// One with so many idle replicas, that holds at most `requests_max` requests.
    pub fn new(policy: Box<dyn BatchPolicy>, replicas: usize, requests_max: usize) -> Self {
        Self {
            waiting: ReadyQueue::default(),
            policy,
            run_time: RunTime::default(),
            idle: replicas,
            running: Vec::with_capacity(replicas),
            next_run: 0,
            finished: 0,
            completed: CompletedRuns::default(),
            requests_max,
            rejected: 0,
            dropped: Vec::new(),
            admission_margin: AdmissionMargin::default(),
            waits_since_us: None,
        }
    }

    /// Takes a request in, and drops the most urgent as far as they are late: with every replica
    /// busy, nobody else would tell them. `is_cancelled` says who is not interested in an answer any
    /// more, and so makes room in a full queue.
    ///
    /// # Errors
    /// When there is no room, or no hope to be in time.
    pub fn push(
        &mut self,
        item: T,
        demand: Demand,
        batch_key: L,
        now_us: u64,
        is_cancelled: impl Fn(&T) -> bool,
    ) -> Result<(), Rejection> {
        let before = self.dropped.len();
        while let Some(waiter) = self.waiting.pop_head_if(|head| head.demand.is_late(now_us)) {
            self.dropped.push(waiter);
        }
        self.learn_removed(before, &is_cancelled);
        match admit(&demand, &self.ahead(&demand, now_us), &self.run_time, now_us) {
            Admission::Reject { retry_in_us } => Err(Rejection::Overloaded { retry_in_us }),
            Admission::Admit if self.has_room(&demand, is_cancelled) => {
                self.waiting.push(item, demand, batch_key);
                Ok(())
            }
            Admission::Admit => Err(Rejection::Full),
        }
    }

    /// Whether one more may wait, if need be instead of somebody who left or who is of a lower
    /// priority.
    fn has_room(&mut self, demand: &Demand, is_cancelled: impl Fn(&T) -> bool) -> bool {
        if self.waiting.len() < self.requests_max || self.make_room(is_cancelled) {
            return true;
        }
        let last = self.waiting.pop_last_below(demand.priority);
        let has_room = last.is_some();
        self.dropped.extend(last);
        has_room
    }

    /// The next batch for an idle replica. Those who left and those who can not be met any more
    /// do not get into one; see [`Scheduler::take_removed`]. When `may_wait` is false, a policy
    /// that would wait is overruled.
    pub fn start(
        &mut self,
        now_us: u64,
        may_wait: bool,
        is_cancelled: impl Fn(&T) -> bool,
    ) -> Start<T> {
        let before = self.dropped.len();
        let start = self.next_batch(now_us, may_wait, &is_cancelled);
        self.learn_removed(before, &is_cancelled);
        start
    }

    fn next_batch(
        &mut self,
        now_us: u64,
        may_wait: bool,
        is_cancelled: &impl Fn(&T) -> bool,
    ) -> Start<T> {
        let is_out =
            |waiter: &QueuedRequest<T>| waiter.demand.is_late(now_us) || is_cancelled(&waiter.item);
        loop {
            while let Some(waiter) = self.waiting.pop_head_if(is_out) {
                self.dropped.push(waiter);
            }
            let Some(head) = self.waiting.head().filter(|_| self.idle > 0) else {
                self.waits_since_us = None;
                return Start::Nothing;
            };
            let view = self.view(&head);
            let rows_max = match self.policy.decide(&view, &self.run_time, now_us) {
                Decision::Run { rows_max } => rows_max,
                Decision::Wait { until_us } if may_wait && until_us > now_us => {
                    self.waits_since_us = Some(view.queued_us);
                    let until_us = self.not_after_a_deadline(until_us);
                    if until_us > now_us {
                        return Start::Wait { until_us };
                    }
                    // Somebody behind the head is late already.
                    self.expire(now_us);
                    continue;
                }
                Decision::Wait { .. } => head.rows,
                Decision::Expire { deadlines_before_us } => {
                    if self.expire_before(deadlines_before_us) {
                        continue;
                    }
                    self.policy.rows_max()
                }
            };
            // Those behind the most urgent may have even less time, as they wait by priority.
            let run_us = self.run_time.predict_us(rows_max.min(view.rows_waiting)).unwrap_or(0.0);
            let finish_us = now_us.saturating_add(run_us as u64);
            let is_out = |waiter: &QueuedRequest<T>| {
                waiter.demand.is_late(finish_us) || is_cancelled(&waiter.item)
            };
            let members = self.waiting.take_batch(rows_max, is_out, &mut self.dropped);
            if let Some(Running { id, rows, .. }) = self.begin(&members, now_us) {
                let predicted_us = self.run_time.predict_us(rows);
                return Start::Run(Batch { members, run: id, rows, predicted_us });
            }
        }
    }

    /// Takes a replica back, with what its run taught.
    pub fn finish(&mut self, run: RunId, ran: Option<RunSample>, now_us: u64) {
        let Some(at) = self.running.iter().position(|running| running.id == run) else { return };
        let running = self.running.swap_remove(at);
        self.idle += 1;
        self.finished += 1;
        self.completed.put(run, now_us);
        let Some(RunSample { rows, run_us }) = ran else { return };
        self.run_time.observe(rows, run_us);
        let missed = running.deadline_us.map(|deadline_us| now_us > deadline_us);
        let rows_waiting = self.head_rows();
        let run = FinishedRun { rows, run_us, missed, rows_waiting };
        self.policy.finished(&run, &self.run_time, now_us);
    }

    /// Drops everyone whose deadline has passed, wherever they stand. Looks at all of them.
    pub fn expire(&mut self, now_us: u64) {
        self.dropped.extend(self.waiting.remove_all(|waiter| waiter.demand.is_late(now_us)));
    }

    /// Those who left the queue without being in a batch, since this was last asked.
    pub fn take_removed(&mut self) -> Vec<QueuedRequest<T>> {
        std::mem::take(&mut self.dropped)
    }

    /// Teaches how long a batch runs.
    pub fn observe(&mut self, rows: usize, run_us: f64) {
        self.run_time.observe(rows, run_us);
    }

    /// How long batches run.
    pub fn run_time(&self) -> &RunTime {
        &self.run_time
    }

    /// Rows of the batches that a long queue is made into.
    pub fn batch_rows_max(&self) -> usize {
        self.policy.rows_max()
    }

    /// Requests that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Replicas that are free.
    pub fn idle(&self) -> usize {
        self.idle
    }

    /// Where the next batch should run.
    pub fn next_run_on(&self) -> RunOn {
        let rows_max = self.policy.rows_max().max(1);
        let rows = self.head_rows().min(rows_max);
        // A model that runs requests one by one has no batches to fill.
        run_on(self.run_time.predict_us(rows), rows_max > 1 && rows == rows_max)
    }

    /// Rows that could be in the next batch.
    pub fn head_rows(&self) -> usize {
        self.waiting.head().map_or(0, |head| head.rows)
    }

    fn ahead(&self, demand: &Demand, now_us: u64) -> Ahead {
        Ahead {
            rows: self.waiting.rows_before(demand),
            batch_rows_max: self.policy.rows_max(),
            replicas: self.idle + self.running.len(),
            free_in_us: self.free_in_us(now_us),
            sigmas: self.policy.sigmas(),
            margin: self.admission_margin.share(),
        }
    }

    fn free_in_us(&self, now_us: u64) -> Option<f64> {
        if self.idle > 0 {
            return (!self.waiting.is_empty()).then_some(0.0);
        }
        let remaining = |running: &Running| {
            let elapsed_us = now_us.saturating_sub(running.started_us) as f64;
            remaining_us(running.predicted_us, elapsed_us)
        };
        Some(self.running.iter().map(remaining).fold(f64::INFINITY, f64::min))
    }

    /// Drops those who left from a full queue; false when it stays full. Looking through it is
    /// shared among many refusals, so that each costs the same however long the queue is.
    fn make_room(&mut self, is_cancelled: impl Fn(&T) -> bool) -> bool {
        if self.rejected.is_multiple_of((self.requests_max / 8).max(1)) {
            self.dropped.extend(self.waiting.remove_all(|waiter| is_cancelled(&waiter.item)));
        }
        let has_room = self.waiting.len() < self.requests_max;
        self.rejected = if has_room { 0 } else { self.rejected + 1 };
        has_room
    }

    /// Learns from those dropped last whose callers still wait and whose time would have done for
    /// a run.
    fn learn_removed(&mut self, before: usize, is_cancelled: &impl Fn(&T) -> bool) {
        if self.dropped.len() == before {
            return;
        }
        let run_us = self.run_time.predict_us(self.policy.rows_max()).unwrap_or(0.0);
        let is_given_up = |waiter: &&QueuedRequest<T>| {
            let allowed_us =
                waiter.demand.deadline_us.map(|us| us.saturating_sub(waiter.demand.queued_us));
            allowed_us.is_some_and(|us| us as f64 > run_us) && !is_cancelled(&waiter.item)
        };
        self.admission_margin.on_expired(self.dropped[before..].iter().filter(is_given_up).count());
    }

    /// Drops the most urgent as far as their deadlines are before a time, but for the last of all:
    /// somebody has to run to show how long that takes. False when there is nobody to drop.
    fn expire_before(&mut self, deadlines_before_us: u64) -> bool {
        let before = self.dropped.len();
        while self.waiting.len() > 1 {
            let is_hopeless = |waiter: &QueuedRequest<T>| {
                waiter.demand.deadline_us.is_some_and(|us| us < deadlines_before_us)
            };
            let Some(waiter) = self.waiting.pop_head_if(is_hopeless) else { break };
            self.dropped.push(waiter);
        }
        self.dropped.len() > before
    }

    fn not_after_a_deadline(&self, until_us: u64) -> u64 {
        let earliest = self.waiting.earliest_deadline_us();
        earliest.map_or(until_us, |deadline_us| until_us.min(deadline_us.saturating_add(1)))
    }

    fn begin(&mut self, members: &[QueuedRequest<T>], now_us: u64) -> Option<Running> {
        let first = members.first()?;
        let rows = members.iter().map(|waiter| waiter.demand.rows).sum();
        let id = RunId(self.next_run);
        self.next_run += 1;
        self.idle -= 1;
        self.waits_since_us = None;
        self.admission_margin.on_run(members.len());
        let running = Running {
            id,
            rows,
            started_us: now_us,
            predicted_us: self.run_time.predict_us(rows).unwrap_or(0.0),
            deadline_us: first.demand.deadline_us,
        };
        self.running.push(running);
        Some(running)
    }

    /// What the policy may know. A wait does not begin anew when somebody more urgent comes.
    fn view(&self, head: &Head) -> QueueView {
        let queued_us = head.demand.queued_us;
        QueueView {
            rows_waiting: head.rows.max(1),
            queued_us: self.waits_since_us.map_or(queued_us, |us| us.min(queued_us)),
            deadline_us: head.demand.deadline_us,
        }
    }
}

#[cfg(test)]
mod tests;
