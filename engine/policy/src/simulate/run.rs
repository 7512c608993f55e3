//! The simulation itself: events, the scheduler, and runs that are over after a drawn time.

use super::event::{Event, Events, Observer, Queue};
use super::outcome::Outcome;
use super::overhead::{Front, Rate};
use super::random::Random;
use super::request::{Request, Requests};
use super::scenario::{Scenario, Traffic};
use crate::priority::Demand;
use crate::ready_queue::QueuedRequest;
use crate::scheduler::{Batch, RunSample, Start};
use std::collections::VecDeque;

/// How long a caller of a closed loop that was rejected waits at least before it asks again.
const RETRY_US_MIN: f64 = 1_000.0;

/// Plays a scenario until every request is answered.
pub fn simulate(scenario: &Scenario, seed: u64) -> Outcome {
    run(scenario, seed, &mut ())
}

/// The same, before the eyes of somebody.
pub(super) fn run(scenario: &Scenario, seed: u64, observer: &mut impl Observer) -> Outcome {
    let mut simulation = Simulation::new(scenario, seed, observer);
    simulation.open();
    while let Some(now_us) = simulation.events.next_us() {
        while let Some(event) = simulation.events.pop(now_us) {
            simulation.handle(event, now_us);
        }
        simulation.start_all(now_us);
        simulation.observer.quiet(now_us, &simulation.queue);
    }
    simulation.outcome.close()
}

/// A batch on a replica.
#[derive(Debug)]
struct Running {
    batch: Batch<Request>,
    rows: usize,
    run_us: f64,
    has_failed: bool,
}

struct Simulation<'a, W> {
    scenario: &'a Scenario,
    queue: Queue,
    replicas: Vec<Option<Running>>,
    arrivals: Box<dyn Iterator<Item = u64> + 'a>,
    /// What each caller of a closed loop waits for.
    callers: Vec<Option<u64>>,
    requests: Requests,
    front: Front,
    /// Who has come and is not through the front yet.
    entering: VecDeque<(Request, Demand)>,
    rate: Rate,
    /// Apart from each other, so that another policy meets the same requests.
    machine_random: Random,
    caller_random: Random,
    overhead_random: Random,
    events: Events,
    is_open: bool,
    wakes_us: Option<u64>,
    will_expire: bool,
    outcome: Outcome,
    observer: &'a mut W,
}

impl<'a, W: Observer> Simulation<'a, W> {
    fn new(scenario: &'a Scenario, seed: u64, observer: &'a mut W) -> Self {
        let replicas = scenario.limits.replicas.max(1);
        let policy = scenario.policy.build(scenario.limits);
        let mut queue = Queue::new(policy, replicas, scenario.requests_max);
        let mut machine_random = Random::new(seed, 1);
        for (rows, run_us) in scenario.calibration_runs(&mut machine_random) {
            queue.observe(rows, run_us);
        }
        let requests = Requests::new(scenario, Random::new(seed, 2));
        let (arrivals, callers): (Box<dyn Iterator<Item = u64>>, _) = match &scenario.traffic {
            Traffic::Open(arrivals) => (Box::new(arrivals.times(seed)), 0),
            Traffic::Closed { callers, .. } => (Box::new(std::iter::empty()), *callers),
        };
        Self {
            scenario,
            queue,
            replicas: (0..replicas).map(|_| None).collect(),
            arrivals,
            callers: vec![None; callers],
            outcome: Outcome::new(requests.kinds(), replicas, scenario.duration_us),
            requests,
            machine_random,
            caller_random: Random::new(seed, 3),
            overhead_random: Random::new(seed, 4),
            front: Front::default(),
            entering: VecDeque::new(),
            rate: Rate::new(scenario.overhead.over_us),
            events: Events::default(),
            is_open: true,
            wakes_us: None,
            will_expire: false,
            observer,
        }
    }

    fn open(&mut self) {
        self.events.plan(self.scenario.duration_us, Event::Close);
        self.plan_arrival(0);
        for caller in 0..self.callers.len() {
            self.plan_question(caller, 0, 0.0);
        }
    }

    fn handle(&mut self, event: Event, now_us: u64) {
        match event {
            Event::Arrive => {
                self.arrive(None, now_us);
                self.plan_arrival(now_us);
            }
            Event::Enter => {
                if let Some((request, demand)) = self.entering.pop_front() {
                    self.enter(request, Demand { queued_us: now_us, ..demand }, now_us);
                }
            }
            Event::Ask { caller } => self.arrive(Some(caller), now_us),
            Event::Leave { caller, token } => self.release(caller, token, now_us, 0.0),
            Event::Finish { replica } => self.finish(replica, now_us),
            Event::Wake => self.wakes_us = self.wakes_us.filter(|&us| us > now_us),
            Event::Expire => {
                self.will_expire = false;
                self.queue.expire(now_us);
                self.answer_dropped(now_us);
            }
            Event::Close => self.is_open = false,
        }
    }

    fn plan_arrival(&mut self, now_us: u64) {
        let next_us = self.arrivals.next().map(|us| us.max(now_us));
        if let Some(at_us) = next_us.filter(|&us| us < self.scenario.duration_us) {
            self.events.plan(at_us, Event::Arrive);
        }
    }

    /// Lets a caller think for at least so long.
    fn plan_question(&mut self, caller: usize, now_us: u64, least_us: f64) {
        let Traffic::Closed { think_us, .. } = self.scenario.traffic else { return };
        let think_us = self.caller_random.exponential(think_us).max(least_us);
        let at_us = now_us.saturating_add(think_us as u64);
        if at_us < self.scenario.duration_us {
            self.events.plan(at_us, Event::Ask { caller });
        }
    }

    fn arrive(&mut self, caller: Option<usize>, now_us: u64) {
        let (request, demand) = self.requests.draw(caller, now_us);
        self.rate.came(now_us);
        let front_us = self.scenario.overhead.front_us;
        if front_us > 0.0 {
            self.entering.push_back((request, demand));
            self.events.plan(self.front.take(now_us, front_us).max(now_us), Event::Enter);
        } else {
            self.enter(request, demand, now_us);
        }
    }

    fn enter(&mut self, request: Request, demand: Demand, now_us: u64) {
        let is_cancelled = |request: &Request| request.is_cancelled(now_us);
        let pushed = self.queue.push(request, demand, request.batch_key, now_us, is_cancelled);
        let rejected = pushed.err();
        if let Some(caller) = request.caller {
            self.callers[caller] = Some(request.token);
            match (rejected, request.cancels_us) {
                (Some(_), _) => self.release(caller, request.token, now_us, RETRY_US_MIN),
                (None, Some(cancels_us)) => {
                    self.events.plan(cancels_us, Event::Leave { caller, token: request.token });
                }
                (None, None) => {}
            }
        }
        self.outcome.came(&request, rejected, now_us);
        self.outcome.waiting_max = self.outcome.waiting_max.max(self.queue.len());
        self.answer_dropped(now_us);
        self.observer.came(now_us, &self.queue, &QueuedRequest { item: request, demand }, rejected);
        self.plan_expiry(now_us);
    }

    fn plan_expiry(&mut self, now_us: u64) {
        let Some(every_us) = self.scenario.expire_every_us else { return };
        if !self.will_expire && !self.queue.is_empty() {
            self.will_expire = true;
            self.events.plan(now_us.saturating_add(every_us.max(1)), Event::Expire);
        }
    }

    /// Lets a caller go on that waited for this request.
    fn release(&mut self, caller: usize, token: u64, now_us: u64, least_us: f64) {
        if self.callers[caller] == Some(token) {
            self.callers[caller] = None;
            self.plan_question(caller, now_us, least_us);
        }
    }

    fn answer_dropped(&mut self, now_us: u64) {
        let mut dropped = self.queue.take_removed();
        // Batch keys are looked through in no order that could be repeated.
        dropped.sort_unstable_by_key(|waiter| waiter.item.token);
        for waiter in dropped {
            self.outcome.expired(&waiter.item, now_us);
            self.observer.dropped(now_us, &waiter);
            if let Some(caller) = waiter.item.caller {
                self.release(caller, waiter.item.token, now_us, RETRY_US_MIN);
            }
        }
    }

    fn start_all(&mut self, now_us: u64) {
        loop {
            let started =
                self.queue.start(now_us, self.is_open, |request| request.is_cancelled(now_us));
            self.answer_dropped(now_us);
            match started {
                Start::Run(batch) => self.begin(batch, now_us),
                Start::Wait { until_us } => {
                    self.observer.waits(now_us, &self.queue, until_us);
                    self.plan_wake(until_us.max(now_us + 1));
                    break;
                }
                Start::Nothing => break,
            }
        }
        self.plan_expiry(now_us);
    }

    fn plan_wake(&mut self, until_us: u64) {
        if self.wakes_us.is_none_or(|us| until_us < us) {
            self.wakes_us = Some(until_us);
            self.events.plan(until_us, Event::Wake);
        }
    }

    fn begin(&mut self, batch: Batch<Request>, now_us: u64) {
        self.observer.started(now_us, &self.queue, &batch.members);
        let rows = batch.members.iter().map(|waiter| waiter.demand.rows).sum();
        let alone_us = self.scenario.machine.run_us(rows, now_us, &mut self.machine_random);
        let run_us = alone_us * self.scenario.overhead.run_times(self.rate.per_s());
        let has_failed = self.machine_random.chance(self.scenario.machine.failing_share);
        let Some(replica) = self.replicas.iter().position(Option::is_none) else { return };
        self.replicas[replica] = Some(Running { batch, rows, run_us, has_failed });
        let busy_us = (run_us.round() as u64).max(1);
        self.outcome.started(rows, busy_us);
        self.events.plan(now_us.saturating_add(busy_us), Event::Finish { replica });
    }

    fn finish(&mut self, replica: usize, now_us: u64) {
        let Some(running) = self.replicas[replica].take() else { return };
        let Running { batch, rows, run_us, has_failed } = running;
        let ran = (!has_failed).then_some(RunSample { rows, run_us });
        self.queue.finish(batch.run, ran, now_us);
        self.observer.finished(now_us, &batch.members);
        for QueuedRequest { item: request, demand } in &batch.members {
            let answered_us = self.answered_us(now_us);
            self.outcome.finished(request, demand, has_failed, answered_us);
            if let Some(caller) = request.caller {
                self.release(caller, request.token, answered_us, 0.0);
            }
        }
    }

    /// When a caller has the answer of a run that is over now. What was outside before it counts
    /// here too: for those who come independently of each other it makes no difference.
    fn answered_us(&mut self, now_us: u64) -> u64 {
        let around_us =
            self.scenario.overhead.around_us(self.rate.per_s(), &mut self.overhead_random);
        now_us.saturating_add(around_us as u64)
    }
}
