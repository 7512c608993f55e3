//! The simulation itself: events, the scheduler, and runs that are over after a drawn time.

use super::event::{Event, Events, Queue, Watch};
use super::outcome::Outcome;
use super::outside::{Front, Rate};
use super::random::Random;
use super::request::{Request, Requests};
use super::scenario::{Scenario, Traffic};
use crate::scheduler::{Batch, Ran, Start};
use crate::urgency::Terms;
use crate::waiting::Waiter;
use std::collections::VecDeque;

/// How long a caller of a closed loop that was refused waits at least before it asks again.
const RETRY_US_MIN: f64 = 1_000.0;

/// Plays a scenario until every request is answered.
pub fn simulate(scenario: &Scenario, seed: u64) -> Outcome {
    run(scenario, seed, &mut ())
}

/// The same, before the eyes of somebody.
pub(super) fn run(scenario: &Scenario, seed: u64, watch: &mut impl Watch) -> Outcome {
    let mut simulation = Simulation::new(scenario, seed, watch);
    simulation.open();
    while let Some(now_us) = simulation.events.next_us() {
        while let Some(event) = simulation.events.pop(now_us) {
            simulation.handle(event, now_us);
        }
        simulation.start_all(now_us);
        simulation.watch.quiet(now_us, &simulation.queue);
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
    entering: VecDeque<(Request, Terms)>,
    rate: Rate,
    /// Apart from each other, so that another policy meets the same requests.
    of_machine: Random,
    of_callers: Random,
    of_outside: Random,
    events: Events,
    is_open: bool,
    wakes_us: Option<u64>,
    will_expire: bool,
    outcome: Outcome,
    watch: &'a mut W,
}

impl<'a, W: Watch> Simulation<'a, W> {
    fn new(scenario: &'a Scenario, seed: u64, watch: &'a mut W) -> Self {
        let replicas = scenario.limits.replicas.max(1);
        let policy = scenario.policy.build(scenario.limits);
        let mut queue = Queue::new(policy, replicas, scenario.requests_max);
        let mut of_machine = Random::new(seed, 1);
        for (rows, run_us) in scenario.tries(&mut of_machine) {
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
            of_machine,
            of_callers: Random::new(seed, 3),
            of_outside: Random::new(seed, 4),
            front: Front::default(),
            entering: VecDeque::new(),
            rate: Rate::new(scenario.outside.over_us),
            events: Events::default(),
            is_open: true,
            wakes_us: None,
            will_expire: false,
            watch,
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
                if let Some((request, terms)) = self.entering.pop_front() {
                    self.enter(request, Terms { queued_us: now_us, ..terms }, now_us);
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
        let think_us = self.of_callers.exponential(think_us).max(least_us);
        let at_us = now_us.saturating_add(think_us as u64);
        if at_us < self.scenario.duration_us {
            self.events.plan(at_us, Event::Ask { caller });
        }
    }

    fn arrive(&mut self, caller: Option<usize>, now_us: u64) {
        let (request, terms) = self.requests.draw(caller, now_us);
        self.rate.came(now_us);
        let front_us = self.scenario.outside.front_us;
        if front_us > 0.0 {
            self.entering.push_back((request, terms));
            self.events.plan(self.front.take(now_us, front_us).max(now_us), Event::Enter);
        } else {
            self.enter(request, terms, now_us);
        }
    }

    fn enter(&mut self, request: Request, terms: Terms, now_us: u64) {
        let has_left = |request: &Request| request.has_left(now_us);
        let pushed = self.queue.push(request, terms, request.lane, now_us, has_left);
        let refused = pushed.err();
        if let Some(caller) = request.caller {
            self.callers[caller] = Some(request.token);
            match (refused, request.leaves_us) {
                (Some(_), _) => self.release(caller, request.token, now_us, RETRY_US_MIN),
                (None, Some(leaves_us)) => {
                    self.events.plan(leaves_us, Event::Leave { caller, token: request.token });
                }
                (None, None) => {}
            }
        }
        self.outcome.came(&request, refused, now_us);
        self.outcome.waiting_max = self.outcome.waiting_max.max(self.queue.len());
        self.answer_dropped(now_us);
        self.watch.came(now_us, &self.queue, &Waiter { item: request, terms }, refused);
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
        let mut dropped = self.queue.take_dropped();
        // Lanes are looked through in no order that could be repeated.
        dropped.sort_unstable_by_key(|waiter| waiter.item.token);
        for waiter in dropped {
            self.outcome.dropped(&waiter.item, now_us);
            self.watch.dropped(now_us, &waiter);
            if let Some(caller) = waiter.item.caller {
                self.release(caller, waiter.item.token, now_us, RETRY_US_MIN);
            }
        }
    }

    fn start_all(&mut self, now_us: u64) {
        loop {
            let started =
                self.queue.start(now_us, self.is_open, |request| request.has_left(now_us));
            self.answer_dropped(now_us);
            match started {
                Start::Run(batch) => self.begin(batch, now_us),
                Start::Wait { until_us } => {
                    self.watch.waits(now_us, &self.queue, until_us);
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
        self.watch.started(now_us, &self.queue, &batch.members);
        let rows = batch.members.iter().map(|waiter| waiter.terms.rows).sum();
        let alone_us = self.scenario.machine.run_us(rows, now_us, &mut self.of_machine);
        let run_us = alone_us * self.scenario.outside.run_times(self.rate.per_s());
        let has_failed = self.of_machine.chance(self.scenario.machine.failing_share);
        let Some(replica) = self.replicas.iter().position(Option::is_none) else { return };
        self.replicas[replica] = Some(Running { batch, rows, run_us, has_failed });
        let busy_us = (run_us.round() as u64).max(1);
        self.outcome.started(rows, busy_us);
        self.events.plan(now_us.saturating_add(busy_us), Event::Finish { replica });
    }

    fn finish(&mut self, replica: usize, now_us: u64) {
        let Some(running) = self.replicas[replica].take() else { return };
        let Running { batch, rows, run_us, has_failed } = running;
        let ran = (!has_failed).then_some(Ran { rows, run_us });
        self.queue.finish(batch.run, ran, now_us);
        self.watch.finished(now_us, &batch.members);
        for Waiter { item: request, terms } in &batch.members {
            let answered_us = self.answered_us(now_us);
            self.outcome.finished(request, terms, has_failed, answered_us);
            if let Some(caller) = request.caller {
                self.release(caller, request.token, answered_us, 0.0);
            }
        }
    }

    /// When a caller has the answer of a run that is over now. What was outside before it counts
    /// here too: for those who come independently of each other it makes no difference.
    fn answered_us(&mut self, now_us: u64) -> u64 {
        let around_us = self.scenario.outside.around_us(self.rate.per_s(), &mut self.of_outside);
        now_us.saturating_add(around_us as u64)
    }
}
