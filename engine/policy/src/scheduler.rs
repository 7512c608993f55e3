//! One queue and its replicas as a state machine: requests are admitted or rejected, batches
//! start, runs end, replicas join, fail and leave. The live engine drives it under a lock with
//! real executors, the simulator with simulated ones. Neither makes a decision of its own.

use crate::admission::Admission;
use crate::admission_margin::AdmissionMargin;
use crate::batch::{Decision, FinishedRun, QueueView};
use crate::inline_run::{RunOn, run_on};
use crate::priority::Demand;
use crate::queue_policy::QueuePolicies;
use crate::ready_queue::{Head, QueuedRequest, ReadyQueue};
use crate::replica_set::{ClassId, ReplicaId, ReplicaSet};
use crate::run_time::RunTime;
use classes::Classes;
use progress::CompletedRuns;
use std::hash::Hash;

mod classes;
mod forecast;
mod membership;
mod progress;
mod removal;
mod run;

pub use classes::MakePolicy;
pub use progress::Progress;
pub use run::{Batch, RunEnd, RunId, RunSample};

/// Replicas that may fail one request before it is answered with the failure.
pub const ATTEMPTS_MAX: u32 = 3;

/// Result of asking for the next batch.
#[derive(Debug)]
pub enum Start<T> {
    /// Run this batch now.
    Run(Batch<T>),
    /// Ask again at a time, or when something happens before.
    Wait {
        /// Time to ask again.
        until_us: u64,
    },
    /// Nothing to do until a request is pushed, a run ends or a replica becomes ready.
    Nothing,
}

/// Reason why a request is not queued.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rejection {
    /// The queue is full.
    Full,
    /// The response would be late.
    Overloaded {
        /// Time after which the same request would probably be admitted.
        retry_in_us: f64,
    },
    /// No replica takes batches, now or later.
    NoReplica,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    id: RunId,
    replica: ReplicaId,
    class: ClassId,
    rows: usize,
    started_us: u64,
    predicted_us: f64,
}

/// Consequence of a decision of the policy.
enum Next {
    /// Form a batch of at most so many rows.
    Run { rows_max: usize },
    /// Leave the replica idle until a time.
    Wait { until_us: u64 },
    /// Leave the queue to a replica that is busy now and will finish sooner.
    LeaveToAnother,
    /// Requests have left the queue: decide again.
    Again,
}

/// Requests that wait for the replicas of one version. Requests with equal keys `K` can share a
/// run.
pub struct Scheduler<T, K> {
    waiting: ReadyQueue<T, K>,
    replicas: ReplicaSet,
    classes: Classes,
    /// Batches that ready replicas run side by side.
    slots: usize,
    running: Vec<Running>,
    next_run: u64,
    finished: u64,
    completed: CompletedRuns,
    requests_max: usize,
    policies: QueuePolicies,
    /// Rejections since a full queue was last searched for cancelled requests.
    rejected: usize,
    removed: Vec<QueuedRequest<T>>,
    admission_margin: AdmissionMargin,
    /// While a policy waits: arrival of the first request that it waits for.
    waits_since_us: Option<u64>,
}

impl<T, K: Clone + Eq + Hash> Scheduler<T, K> {
    /// Makes a scheduler without replicas that holds at most `requests_max` requests. Each class
    /// of replicas has a policy of its own, made by `make_policy`.
    pub fn new(make_policy: MakePolicy, requests_max: usize) -> Self {
        Self {
            waiting: ReadyQueue::default(),
            replicas: ReplicaSet::default(),
            classes: Classes::new(make_policy),
            slots: 0,
            running: Vec::new(),
            next_run: 0,
            finished: 0,
            completed: CompletedRuns::default(),
            requests_max,
            policies: QueuePolicies::default(),
            rejected: 0,
            removed: Vec::new(),
            admission_margin: AdmissionMargin::default(),
            waits_since_us: None,
        }
    }

    /// Limits the requests of each priority level that may wait.
    pub fn with_policies(mut self, policies: QueuePolicies) -> Self {
        if policies.limits_levels() {
            self.waiting.count_levels();
        }
        self.policies = policies;
        self
    }

    /// Queues a request, and removes the most urgent ones and the delayed ones that are late: while
    /// every replica is busy, nothing else would. `is_cancelled` tells requests whose client has
    /// left; they make room in a full queue.
    ///
    /// # Errors
    /// When the queue is full, the response would be late, or there is no replica.
    pub fn push(
        &mut self,
        item: T,
        demand: Demand,
        key: K,
        now_us: u64,
        is_cancelled: impl Fn(&T) -> bool,
    ) -> Result<(), Rejection> {
        if self.replicas.live().next().is_none() {
            return Err(Rejection::NoReplica);
        }
        let before = self.removed.len();
        while let Some(late) = self.waiting.pop_head_if(|head| head.demand.is_late(now_us)) {
            self.removed.push(late);
        }
        self.remove_late_delayed(now_us);
        self.learn_removed(before, &is_cancelled);
        match self.admit(&demand, now_us) {
            Admission::Reject { retry_in_us } => Err(Rejection::Overloaded { retry_in_us }),
            Admission::Admit if self.has_room(&demand, is_cancelled) => {
                self.waiting.push(item, demand, key);
                Ok(())
            }
            Admission::Admit => Err(Rejection::Full),
        }
    }

    /// Queues a request again whose replica failed, for another one. It was admitted before, so
    /// a full queue takes it too; if it is late by now, it expires.
    ///
    /// # Errors
    /// Gives the item back after [`ATTEMPTS_MAX`] attempts, or when no replica takes batches.
    pub fn requeue(&mut self, item: T, demand: Demand, key: K, attempts: u32) -> Result<(), T> {
        if attempts >= ATTEMPTS_MAX || self.replicas.live().next().is_none() {
            return Err(item);
        }
        self.waiting.push(item, demand, key);
        Ok(())
    }

    /// Returns the next batch for a replica that can take one. Requests that are cancelled or
    /// cannot be answered in time are removed; see [`Scheduler::take_removed`]. If `may_wait` is
    /// false, a policy that would wait is overruled.
    pub fn start(
        &mut self,
        now_us: u64,
        may_wait: bool,
        is_cancelled: impl Fn(&T) -> bool,
    ) -> Start<T> {
        let before = self.removed.len();
        if self.replicas.readmit(now_us) {
            self.count_replicas();
        }
        self.remove_late_delayed(now_us);
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
        loop {
            let is_out =
                |one: &QueuedRequest<T>| one.demand.is_late(now_us) || is_cancelled(&one.item);
            while let Some(out) = self.waiting.pop_head_if(is_out) {
                self.removed.push(out);
            }
            if self.waiting.delay_head_if(|demand| demand.is_to_be_delayed(now_us)) {
                continue;
            }
            let head = self.waiting.head();
            let chosen = head.and_then(|head| Some((head, self.choose(&head)?)));
            let Some((head, (replica, class))) = chosen else {
                self.waits_since_us = None;
                return head.map_or(Start::Nothing, |_| self.wait_for_a_replica());
            };
            match self.decide(&head, class, now_us, may_wait) {
                Next::Run { rows_max } => {
                    let started =
                        self.form((replica, class), rows_max, head.rows, now_us, is_cancelled);
                    if let Some(batch) = started {
                        return Start::Run(batch);
                    }
                }
                Next::Wait { until_us } => return Start::Wait { until_us },
                Next::LeaveToAnother => return self.wait_for_a_replica(),
                Next::Again => {}
            }
        }
    }

    /// Waits for the end of a run, or until an ejected replica is tried again.
    fn wait_for_a_replica(&self) -> Start<T> {
        let readmission_us = self.replicas.readmission_us();
        readmission_us.map_or(Start::Nothing, |until_us| Start::Wait { until_us })
    }

    /// The replica that takes the next batch, and its class.
    fn choose(&self, head: &Head) -> Option<(ReplicaId, ClassId)> {
        let run_us = |class: ClassId| {
            let class = self.classes.get(class)?;
            class.run_time.predict_us(head.rows.min(class.policy.rows_max()).max(1))
        };
        let chosen = self.replicas.choose(run_us)?;
        Some((chosen.id, chosen.traits.class))
    }

    /// Asks the policy of a class, and applies its decision as far as that needs no batch.
    fn decide(&mut self, head: &Head, class: ClassId, now_us: u64, may_wait: bool) -> Next {
        let view = self.view(head);
        match self.classes.decide(class, &view, now_us) {
            Decision::Run { rows_max } => Next::Run { rows_max },
            Decision::Wait { until_us } if may_wait && until_us > now_us => {
                self.waits_since_us = Some(view.queued_us);
                // A wait takes half of the time in the queue at most.
                let half_us = self.waiting.earliest_half_wait_us();
                let until_us = half_us.map_or(until_us, |us| until_us.min(us));
                if until_us <= now_us {
                    return Next::Run { rows_max: head.rows };
                }
                let until_us = self.not_after_a_deadline(until_us);
                if until_us > now_us {
                    return Next::Wait { until_us };
                }
                // A request behind the head is late already.
                self.expire(now_us);
                Next::Again
            }
            Decision::Wait { .. } => Next::Run { rows_max: head.rows },
            Decision::Expire { deadlines_before_us } => {
                let elsewhere_us = self.finish_elsewhere_us(class, view.rows_waiting, now_us);
                if self.expire_before(deadlines_before_us.min(elsewhere_us)) {
                    return Next::Again;
                }
                let deadline_us = head.demand.deadline_us.unwrap_or(0);
                match elsewhere_us <= deadline_us {
                    true => Next::LeaveToAnother,
                    false => Next::Run { rows_max: self.classes.rows_max(class) },
                }
            }
        }
    }

    /// Forms a batch of the most urgent request and others that can share its run.
    fn form(
        &mut self,
        (replica, class): (ReplicaId, ClassId),
        rows_max: usize,
        rows_waiting: usize,
        now_us: u64,
        is_cancelled: &impl Fn(&T) -> bool,
    ) -> Option<Batch<T>> {
        // Requests behind the most urgent may have even less time, as the order is by priority.
        let rows = rows_max.min(rows_waiting.max(1));
        let run_us = self.classes.predict_us(class, rows).unwrap_or(0.0);
        let finish_us = now_us.saturating_add(run_us as u64);
        let is_out = |one: &QueuedRequest<T>| {
            let demand = &one.demand;
            demand.misses_deadline(finish_us) || demand.is_late(now_us) || is_cancelled(&one.item)
        };
        let is_delayed = |demand: &Demand| demand.is_to_be_delayed(now_us);
        let members = self.waiting.take_batch(rows_max, is_out, is_delayed, &mut self.removed);
        members.first()?;
        let rows = members.iter().map(|one| one.demand.rows).sum();
        let predicted_us = self.classes.predict_us(class, rows);
        let id = RunId(self.next_run);
        self.next_run += 1;
        self.replicas.begin(replica);
        self.waits_since_us = None;
        self.admission_margin.on_run(members.len());
        self.running.push(Running {
            id,
            replica,
            class,
            rows,
            started_us: now_us,
            predicted_us: predicted_us.unwrap_or(0.0),
        });
        Some(Batch { members, run: id, replica, rows, predicted_us })
    }

    /// Takes note of the end of a run, and learns its run time.
    pub fn finish(&mut self, run: RunId, end: RunEnd, now_us: u64) {
        let Some(at) = self.running.iter().position(|running| running.id == run) else { return };
        let Running { replica, class, .. } = self.running.swap_remove(at);
        self.finished += 1;
        self.completed.put(run, now_us);
        self.replicas.end(replica, matches!(end, RunEnd::Succeeded(_)));
        match end {
            RunEnd::Succeeded(RunSample { rows, run_us }) => {
                let rows_waiting = self.head_rows();
                let run = FinishedRun { rows, run_us, rows_waiting };
                self.classes.finished(class, &run, now_us);
            }
            RunEnd::Failed => {}
            RunEnd::ReplicaFailed { retry_in_us } => {
                self.replicas.eject(replica, retry_in_us, now_us);
                self.count_replicas();
            }
        }
    }

    /// Teaches the run time of a batch on replicas of a class.
    pub fn observe(&mut self, class: ClassId, rows: usize, run_us: f64) {
        self.classes.observe(class, rows, run_us);
    }

    /// Learned run times of a class.
    pub fn run_time(&self, class: ClassId) -> Option<&RunTime> {
        self.classes.get(class).map(|class| &class.run_time)
    }

    /// Rows of the largest batches that a long queue is made into.
    pub fn batch_rows_max(&self) -> usize {
        self.classes.iter().map(|class| class.policy.rows_max()).max().unwrap_or(1)
    }

    /// Number of requests that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True if no request waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The replicas.
    pub fn replicas(&self) -> &ReplicaSet {
        &self.replicas
    }

    /// True if a request waits, and [`Scheduler::start`] would run it or tell when to ask again. No
    /// end of a run comes to ask for a request whose replicas are all ejected.
    pub fn has_work(&self) -> bool {
        !self.waiting.is_empty() && self.replicas.has_available_or_ejected()
    }

    /// The thread on which the next batch should run.
    pub fn next_run_on(&self) -> RunOn {
        let Some(head) = self.waiting.head() else { return RunOn::ReplicaThread };
        let run_us = |class| self.classes.predict_us(class, head.rows);
        let Some(replica) = self.replicas.choose(run_us) else { return RunOn::ReplicaThread };
        if !replica.traits.runs_inline {
            return RunOn::ReplicaThread;
        }
        let class = replica.traits.class;
        let rows_max = self.classes.rows_max(class).max(1);
        let rows = head.rows.min(rows_max);
        // A model that runs requests one by one has no batches to fill.
        run_on(self.classes.predict_us(class, rows), rows_max > 1 && rows == rows_max)
    }

    /// Rows that could be in the next batch.
    pub fn head_rows(&self) -> usize {
        self.waiting.head().map_or(0, |head| head.rows)
    }

    fn not_after_a_deadline(&self, until_us: u64) -> u64 {
        let earliest = self.waiting.earliest_deadline_us();
        earliest.map_or(until_us, |deadline_us| until_us.min(deadline_us.saturating_add(1)))
    }

    /// The part of the queue that a policy sees. A wait goes on when a more urgent request
    /// arrives.
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
