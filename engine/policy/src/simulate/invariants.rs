//! Invariants that hold after every event of every simulation.

use super::event::{Change, Observer, Queue};
use super::outcome::Outcome;
use super::request::Request;
use super::run::run;
use super::scenario::Scenario;
use crate::batch::PolicyName;
use crate::priority::Demand;
use crate::queue_policy::TimeoutAction;
use crate::ready_queue::QueuedRequest;
use crate::replica_set::ReplicaId;
use crate::scheduler::Rejection;
use crate::scheduler::{ATTEMPTS_MAX, Batch};
use replicas::Replicas;
use std::collections::{BTreeMap, BTreeSet, HashMap};

mod replicas;

/// Most requests that a batch may pass over because they do not fit.
const PASSED_OVER_MAX: usize = 16;

/// Plays a scenario and checks every event of it.
pub(super) fn checked(scenario: &Scenario, seed: u64) -> Outcome {
    let mut checker = Checker::new(scenario, seed);
    let outcome = run(scenario, seed, &mut checker);
    checker.check_end(&outcome);
    outcome
}

/// Request that was queued.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Taken {
    demand: Demand,
    batch_key: u32,
    /// Key in the order of the queue: delayed, virtual deadline, order of arrival.
    place: (bool, u64, u64),
    cancels_us: Option<u64>,
}

/// Request that runs.
#[derive(Clone, Copy, Debug)]
struct Running {
    demand: Demand,
    /// Number of its batch.
    batch: usize,
    started_us: u64,
}

/// Keeps books of its own, as simple as can be, and compares.
struct Checker<'a> {
    scenario: &'a Scenario,
    seed: u64,
    now_us: u64,
    /// By token: how often each has been answered; every request that came is in it.
    answers: Vec<u32>,
    waiting: BTreeMap<(bool, u64, u64), u64>,
    taken: HashMap<u64, Taken>,
    running: HashMap<u64, Running>,
    replicas: Replicas,
    /// Requests that were put into the queue.
    pushed: u64,
    /// Start of each batch.
    starts_us: Vec<u64>,
    longest_run_us: u64,
    /// The last answer of the policy at this time, if it was to wait.
    waits_until_us: Option<u64>,
    /// Time since which a request waits beside an idle replica.
    idle_since_us: Option<u64>,
}

impl<'a> Checker<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Self {
        Self {
            scenario,
            seed,
            now_us: 0,
            answers: Vec::new(),
            waiting: BTreeMap::new(),
            taken: HashMap::new(),
            running: HashMap::new(),
            replicas: Replicas::default(),
            pushed: 0,
            starts_us: Vec::new(),
            longest_run_us: 0,
            waits_until_us: None,
            idle_since_us: None,
        }
    }

    #[track_caller]
    fn ensure(&self, holds: bool, what: &str) {
        let Self { seed, now_us, scenario, .. } = self;
        assert!(holds, "{what}: seed {seed}, at {now_us} us of {scenario:?}");
    }

    /// Batches that all replicas together run side by side.
    fn slots(&self) -> usize {
        self.scenario.replicas().iter().map(|replica| replica.in_flight_max.max(1)).sum()
    }

    fn has_classes(&self) -> bool {
        let classes: BTreeSet<u16> = self.scenario.replicas.iter().map(|one| one.class).collect();
        classes.len() > 1
    }

    fn fails(&self) -> bool {
        self.scenario.replicas.iter().any(|replica| !replica.failures_us.is_empty())
    }

    /// Puts a request into the books of those who wait.
    fn enter(&mut self, request: &Request, demand: &Demand) {
        let place = (false, demand.due_us(), self.pushed);
        self.pushed += 1;
        let Request { batch_key, cancels_us, .. } = *request;
        self.waiting.insert(place, request.token);
        self.taken.insert(request.token, Taken { demand: *demand, batch_key, place, cancels_us });
    }

    /// Requests of the same priority that wait.
    fn waiting_of(&self, demand: &Demand) -> usize {
        self.taken.values().filter(|taken| taken.demand.priority == demand.priority).count()
    }

    /// Moves those behind all others whose time in the queue has passed, if they are to run then.
    fn delay(&mut self) {
        let is_delayed = |taken: &Taken| {
            let start_by = taken.demand.start_by;
            !taken.place.0
                && start_by.is_some_and(|start_by| {
                    start_by.action == TimeoutAction::Delay && start_by.at_us < self.now_us
                })
        };
        let delayed: Vec<u64> = self
            .taken
            .iter()
            .filter(|(_, taken)| is_delayed(taken))
            .map(|(&token, _)| token)
            .collect();
        for token in delayed {
            let Some(taken) = self.taken.get_mut(&token) else { continue };
            self.waiting.remove(&taken.place);
            taken.place.0 = true;
            self.waiting.insert(taken.place, token);
        }
    }

    fn go_to(&mut self, now_us: u64) {
        self.ensure(now_us >= self.now_us, "time goes forward");
        if now_us > self.now_us {
            self.waits_until_us = None;
        }
        self.now_us = now_us;
    }

    fn answer(&mut self, token: u64) {
        let answers = &mut self.answers[token as usize];
        *answers += 1;
        let is_first = *answers == 1;
        self.ensure(is_first, "a request is answered once");
    }

    fn check_refusal(&self, refusal: Rejection, demand: &Demand, queue: &Queue) {
        match refusal {
            Rejection::Full => {
                let level_max = self.scenario.policies.requests_max(demand.priority);
                let is_full = level_max.is_some_and(|max| self.waiting_of(demand) >= max);
                let is_full = is_full || queue.len() >= self.scenario.requests_max;
                self.ensure(is_full, "only a full queue is full");
            }
            Rejection::Overloaded { retry_in_us } => {
                self.ensure(
                    demand.deadline_us.is_some(),
                    "a request without a deadline is not rejected for it",
                );
                self.ensure(retry_in_us.is_finite() && retry_in_us > 0.0, "there is a later");
                let has_nothing_to_do = queue.is_empty() && queue.replicas().has_available();
                self.ensure(!has_nothing_to_do, "an idle replica takes every request");
            }
            Rejection::NoReplica => self.ensure(self.replicas.are_gone(), "no replica is left"),
        }
    }

    /// Takes one out of the books of those who wait, with what is written there.
    fn leave_queue(&mut self, queued: &QueuedRequest<Request>) -> Taken {
        let taken = self.taken.remove(&queued.item.token);
        self.ensure(taken.is_some(), "only a waiting request leaves the queue");
        let taken = taken.unwrap();
        self.waiting.remove(&taken.place);
        self.ensure(taken.demand == queued.demand, "a request keeps its demand");
        self.ensure(taken.batch_key == queued.item.batch_key, "a request keeps its batch_key");
        taken
    }

    /// Only what did not fit stays behind in front of the last member.
    fn check_passed_over(&self, batch: &[Taken]) {
        let Some(last) = batch.last() else { return };
        let before = self.waiting.range(..last.place).map(|(_, token)| self.taken[token]);
        let passed: Vec<Taken> = before.filter(|one| one.batch_key == last.batch_key).collect();
        self.ensure(passed.len() < PASSED_OVER_MAX, "few are passed over");
        self.ensure(passed.iter().all(|one| one.demand.rows > 1), "one row always fits");
    }

    /// A delayed request waits until its deadline at most. All those in front of the first member
    /// of a batch have been looked at, and are delayed.
    fn check_delayed(&self, first: &Taken) {
        let is_delayed = |one: &&Taken| {
            let (is_delayed, due_us, number) = one.place;
            is_delayed && (first.place.0 || (due_us, number) < (first.place.1, first.place.2))
        };
        let mut delayed = self.taken.values().filter(is_delayed);
        let is_in_time = |one: &Taken| one.demand.deadline_us.is_none_or(|us| us >= self.now_us);
        self.ensure(delayed.all(is_in_time), "a delayed request leaves at its deadline");
    }

    /// True if the deadline has passed, or the time in the queue of a request that does not run then.
    fn is_late(&self, demand: &Demand) -> bool {
        let has_waited = demand.start_by.is_some_and(|start_by| {
            start_by.action == TimeoutAction::Reject && start_by.at_us < self.now_us
        });
        has_waited || demand.deadline_us.is_some_and(|us| us < self.now_us)
    }

    /// After its virtual deadline only those overtake a request who were there before, and each
    /// batch takes one of them at least.
    fn check_patience(&self, taken: &Taken) {
        let first = self.starts_us.partition_point(|&us| us <= taken.demand.due_us());
        let overtaken = self.starts_us.len() - first;
        let attempts = if self.fails() { ATTEMPTS_MAX as usize } else { 1 };
        let before = self.scenario.requests_max + self.slots() * self.scenario.limits.rows_max;
        let before = if self.fails() { before } else { self.scenario.requests_max };
        self.ensure(overtaken <= attempts * before, "no request starves");
    }

    /// For how long a policy may leave a replica idle beside a queue.
    fn wait_us_max(&self) -> u64 {
        let policy = &self.scenario.policy;
        let own_us = match policy.name() {
            // Each run that ends meanwhile may prolong it by a part of itself.
            PolicyName::Predictive => (self.longest_run_us / 5 + 1) * self.slots() as u64,
            _ => 0,
        };
        own_us + policy.max_delay_us
    }

    fn check_end(&self, outcome: &Outcome) {
        self.ensure(self.answers.iter().all(|&answers| answers == 1), "each request is answered");
        self.ensure(self.waiting.is_empty() && self.running.is_empty(), "nothing is left");
        let total = &outcome.total;
        let rejected = total.rejected_full + total.rejected_overloaded + total.rejected_no_replica;
        let answered = total.answered + total.failed + total.left;
        self.ensure(total.arrived == self.answers.len() as u64, "all are counted");
        self.ensure(total.arrived == rejected + answered + total.expired, "all are counted once");
        self.ensure(total.good <= total.answered, "the good are answered");
        let again = if self.fails() { self.slots() * self.scenario.limits.rows_max } else { 0 };
        let requests_max = self.scenario.requests_max + again;
        self.ensure(outcome.waiting_max <= requests_max, "the queue is bounded");
        self.ensure(outcome.utilization() <= 1.0, "a replica runs no more than all the time");
        let kinds: u64 = outcome.kinds.iter().map(|kind| kind.arrived).sum();
        self.ensure(kinds == total.arrived, "kinds add up");
    }
}

impl Observer for Checker<'_> {
    fn arrived(
        &mut self,
        now_us: u64,
        queue: &Queue,
        queued: &QueuedRequest<Request>,
        rejected: Option<Rejection>,
    ) {
        self.go_to(now_us);
        let QueuedRequest { item: request, demand } = queued;
        self.ensure(request.token == self.answers.len() as u64, "tokens count up");
        self.answers.push(0);
        match rejected {
            None => self.enter(request, demand),
            Some(refusal) => {
                self.answer(request.token);
                self.check_refusal(refusal, demand, queue);
            }
        }
        self.ensure(queue.len() == self.waiting.len(), "no request is lost or made up");
        let again = if self.fails() { self.slots() * self.scenario.limits.rows_max } else { 0 };
        let requests_max = self.scenario.requests_max + again;
        self.ensure(queue.len() <= requests_max, "the queue is bounded");
        let level_max = self.scenario.policies.requests_max(demand.priority);
        let is_bounded = level_max.is_none_or(|max| self.waiting_of(demand) <= max + again);
        self.ensure(is_bounded, "a level is bounded");
    }

    fn removed(&mut self, now_us: u64, queued: &QueuedRequest<Request>) {
        self.go_to(now_us);
        let taken = self.leave_queue(queued);
        self.answer(queued.item.token);
        let is_late = self.is_late(&taken.demand);
        let is_cancelled = taken.cancels_us.is_some_and(|us| us <= self.now_us);
        // The run time is a prediction of the scheduler: any request with a deadline may expire.
        let may_give_up = taken.demand.deadline_us.is_some();
        let was_full = self.waiting.len() + 1 >= self.scenario.requests_max;
        let reason = is_late || is_cancelled || may_give_up || was_full || self.replicas.are_gone();
        self.ensure(reason, "no request is removed without a reason");
    }

    fn replica(&mut self, now_us: u64, id: ReplicaId, change: Change) {
        self.go_to(now_us);
        self.replicas.change(id, change);
    }

    fn started(&mut self, now_us: u64, queue: &Queue, batch: &Batch<Request>) {
        self.go_to(now_us);
        self.delay();
        let members = &batch.members[..];
        self.ensure(!members.is_empty(), "a batch has members");
        let is_allowed = self.replicas.starts(batch.replica, queue);
        self.ensure(is_allowed, "a ready replica with a free slot runs the batch");
        let head = self.waiting.first_key_value().map(|(_, &token)| token);
        self.ensure(head == Some(members[0].item.token), "the most urgent starts");
        let rows: usize = members.iter().map(|queued| queued.demand.rows).sum();
        let limit = self.scenario.limits.rows_max.max(1);
        // This one may try a larger batch than it thinks best.
        let rows_max = match self.scenario.policy.name() {
            PolicyName::Predictive => limit,
            _ => queue.batch_rows_max().min(limit),
        };
        self.ensure(rows <= rows_max || members.len() == 1, "a batch is within its limit");
        let taken: Vec<Taken> = members.iter().map(|queued| self.leave_queue(queued)).collect();
        self.ensure(taken.is_sorted_by(|a, b| a.place < b.place), "the most urgent are first");
        self.ensure(
            taken.iter().all(|one| one.batch_key == taken[0].batch_key),
            "a batch is of one batch_key",
        );
        self.check_passed_over(&taken);
        self.check_delayed(&taken[0]);
        for (queued, taken) in members.iter().zip(taken) {
            let is_late = self.is_late(&taken.demand);
            let is_cancelled = taken.cancels_us.is_some_and(|us| us <= self.now_us);
            self.ensure(!is_late && !is_cancelled, "no late or cancelled request runs");
            // Only those may starve whose model asks for it.
            if !taken.place.0 {
                self.check_patience(&taken);
            }
            let batch = self.starts_us.len();
            let running = Running { demand: taken.demand, batch, started_us: self.now_us };
            self.running.insert(queued.item.token, running);
        }
        self.starts_us.push(self.now_us);
        self.idle_since_us = None;
    }

    fn waits(&mut self, now_us: u64, queue: &Queue, until_us: u64) {
        self.go_to(now_us);
        self.ensure(until_us > self.now_us, "a wait ends later than it begins");
        self.ensure(!queue.is_empty(), "a policy waits for more than it has");
        let readmission_us = queue.replicas().readmission_us();
        if self.has_classes() && readmission_us == Some(until_us) {
            return;
        }
        if !queue.replicas().has_available() {
            let is_due = readmission_us == Some(until_us);
            return self.ensure(is_due, "else only an ejected replica is waited for");
        }
        self.ensure(self.now_us < self.scenario.duration_us, "a closed queue does not wait");
        let longest_us = self.wait_us_max();
        self.ensure(until_us <= self.now_us + longest_us, "a wait is short");
        self.waits_until_us = Some(until_us);
    }

    fn requeued(&mut self, now_us: u64, batch: &Batch<Request>, again: &[u64]) {
        self.go_to(now_us);
        for QueuedRequest { item: request, demand } in &batch.members {
            if again.contains(&request.token) {
                let has_run = self.running.remove(&request.token).is_some();
                self.ensure(has_run, "only a request of a batch is queued again");
                self.ensure(request.attempts + 1 < ATTEMPTS_MAX, "attempts are bounded");
                self.enter(request, demand);
            }
        }
    }

    fn finished(&mut self, now_us: u64, batch: &Batch<Request>, answered: &[u64]) {
        self.go_to(now_us);
        self.replicas.ends(batch.replica);
        let mut batches = Vec::new();
        for queued in batch.members.iter().filter(|one| answered.contains(&one.item.token)) {
            let running = self.running.remove(&queued.item.token);
            self.ensure(running.is_some(), "a request that is answered has run");
            let running = running.unwrap();
            self.ensure(running.demand == queued.demand, "replies do not cross");
            let is_long = running.started_us < self.now_us || self.fails();
            self.ensure(is_long, "a run takes time");
            self.longest_run_us = self.longest_run_us.max(self.now_us - running.started_us);
            self.answer(queued.item.token);
            batches.push(running.batch);
        }
        batches.dedup();
        self.ensure(batches.len() <= 1, "requests that run together are answered together");
    }

    /// A replica idles beside a queue only while a policy waits, and never for long.
    fn quiet(&mut self, now_us: u64, queue: &Queue) {
        self.go_to(now_us);
        self.ensure(queue.len() == self.waiting.len(), "no request is lost or made up");
        self.ensure(self.replicas.agree(queue), "no replica is lost or made up");
        if !queue.replicas().has_available() || queue.is_empty() {
            self.idle_since_us = None;
            return;
        }
        // A request may be left to a faster replica that is busy or ejected.
        let is_expected = queue.busy() > 0 || queue.replicas().readmission_us().is_some();
        if self.has_classes() && is_expected {
            self.idle_since_us = None;
            return;
        }
        self.ensure(self.waits_until_us.is_some(), "no replica idles beside work");
        let since_us = *self.idle_since_us.get_or_insert(self.now_us);
        let longest_us = self.wait_us_max();
        self.ensure(self.now_us - since_us <= longest_us, "waits do not add up");
    }
}
