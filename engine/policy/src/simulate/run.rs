//! The simulation itself: events, the scheduler, and runs that are over after a drawn time.

use super::event::{Change, Event, Events, Observer, Queue};
use super::outcome::Outcome;
use super::overhead::{Front, Rate, Reserve};
use super::random::Random;
use super::replica::SimulatedReplica;
use super::request::{Objective, Request, Requests};
use super::scenario::{Scenario, Traffic};
use crate::priority::Demand;
use crate::ready_queue::QueuedRequest;
use crate::replica_set::ReplicaId;
use crate::scheduler::{Batch, RunEnd, RunSample, Start};
use std::collections::{HashMap, VecDeque};

/// Least wait of a rejected caller of a closed loop before its next request.
const RETRY_US_MIN: f64 = 1_000.0;

/// Plays a scenario until every request is answered.
pub fn simulate(scenario: &Scenario, seed: u64) -> Outcome {
    run(scenario, seed, &mut ())
}

/// Plays a scenario and shows every event to an observer.
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
    replica: usize,
    started_us: u64,
    end: RunEnd,
}

/// A replica, and its identity once it has joined.
struct Replica {
    replica: SimulatedReplica,
    id: Option<ReplicaId>,
}

struct Simulation<'a, W> {
    scenario: &'a Scenario,
    queue: Queue,
    replicas: Vec<Replica>,
    /// By the number of the run.
    running: HashMap<u64, Running>,
    arrivals: Box<dyn Iterator<Item = u64> + 'a>,
    /// Request that each caller of a closed loop waits for.
    callers: Vec<Option<u64>>,
    requests: Requests,
    front: Front,
    /// Requests that have arrived and are not through the front yet.
    entering: VecDeque<(Request, Demand)>,
    rate: Rate,
    reserve: Option<Reserve>,
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
        let replicas = scenario.replicas();
        let slots = replicas.iter().map(|one| one.in_flight_max.max(1)).sum();
        let (policy, limits) = (scenario.policy.clone(), scenario.limits);
        let make_policy = Box::new(move || policy.build(limits));
        let queue = Queue::new(make_policy, scenario.requests_max);
        let queue = queue.with_policies(scenario.policies.clone());
        let replicas = replicas.into_iter().map(|replica| Replica { replica, id: None });
        let requests = Requests::new(scenario, Random::new(seed, 2));
        let (arrivals, callers): (Box<dyn Iterator<Item = u64>>, _) = match &scenario.traffic {
            Traffic::Open(arrivals) => (Box::new(arrivals.times(seed)), 0),
            Traffic::Closed { callers, .. } => (Box::new(std::iter::empty()), *callers),
        };
        Self {
            scenario,
            queue,
            replicas: replicas.collect(),
            running: HashMap::new(),
            arrivals,
            callers: vec![None; callers],
            outcome: Outcome::new(requests.kinds(), slots, scenario.duration_us),
            requests,
            machine_random: Random::new(seed, 1),
            caller_random: Random::new(seed, 3),
            overhead_random: Random::new(seed, 4),
            front: Front::default(),
            entering: VecDeque::new(),
            rate: Rate::new(scenario.overhead.over_us),
            reserve: scenario.overhead.objective_us.map(Reserve::new),
            events: Events::default(),
            is_open: true,
            wakes_us: None,
            will_expire: false,
            observer,
        }
    }

    fn open(&mut self) {
        self.open_replicas();
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
            Event::Finish { run } => self.finish(run, None, now_us),
            Event::Join { replica } => self.join(replica, now_us),
            Event::Ready { replica } => self.change(replica, Change::Ready, now_us),
            Event::Fail { replica } => self.fail(replica, now_us),
            Event::Drain { replica } => self.change(replica, Change::Drained, now_us),
            Event::Wake => self.wakes_us = self.wakes_us.filter(|&us| us > now_us),
            Event::Expire => {
                self.will_expire = false;
                self.queue.expire(now_us);
                self.answer_removed(now_us);
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

    fn objective(&self) -> Objective {
        if let Some(reserve) = &self.reserve {
            let (client_us, inside_us) = (reserve.objective_us(), reserve.inside_us());
            return Objective { client_us: Some(client_us), inside_us: Some(inside_us) };
        }
        let us = self.scenario.limits.objective_us.map(|us| us as u64);
        Objective { client_us: us, inside_us: us }
    }

    fn arrive(&mut self, caller: Option<usize>, now_us: u64) {
        let (request, demand) = self.requests.draw(caller, self.objective(), now_us);
        self.rate.arrived(now_us);
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
        let limit_us = request.due_us.map(|due_us| due_us - request.arrived_us);
        self.front.entered(limit_us, rejected.is_some());
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
        self.outcome.arrived(&request, rejected, now_us);
        self.outcome.waiting_max = self.outcome.waiting_max.max(self.queue.len());
        self.answer_removed(now_us);
        self.observer.arrived(
            now_us,
            &self.queue,
            &QueuedRequest { item: request, demand },
            rejected,
        );
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

    fn answer_removed(&mut self, now_us: u64) {
        let mut removed = self.queue.take_removed();
        // Batch keys are looked through in no order that could be repeated.
        removed.sort_unstable_by_key(|queued| queued.item.token);
        for queued in removed {
            self.outcome.expired(&queued.item, now_us);
            self.observer.removed(now_us, &queued);
            if let Some(caller) = queued.item.caller {
                self.release(caller, queued.item.token, now_us, RETRY_US_MIN);
            }
        }
    }

    /// Starts what can start. Like the live engine, it asks only while there is work.
    fn start_all(&mut self, now_us: u64) {
        while self.queue.has_work() {
            let started =
                self.queue.start(now_us, self.is_open, |request| request.is_cancelled(now_us));
            self.answer_removed(now_us);
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

    fn open_replicas(&mut self) {
        for replica in 0..self.replicas.len() {
            let SimulatedReplica { joins_us, failures_us, leaves_us, .. } =
                self.replicas[replica].replica.clone();
            match joins_us {
                0 => self.join(replica, 0),
                _ => self.events.plan(joins_us, Event::Join { replica }),
            }
            for (from_us, _) in failures_us {
                self.events.plan(from_us, Event::Fail { replica });
            }
            if let Some(leaves_us) = leaves_us {
                self.events.plan(leaves_us, Event::Drain { replica });
            }
        }
    }

    fn join(&mut self, index: usize, now_us: u64) {
        let Replica { replica, id } = &mut self.replicas[index];
        let is_ready = replica.starting_us == 0;
        let joined = self.queue.join(replica.traits(), is_ready);
        *id = Some(joined);
        let (replica, in_flight_max) = (replica.clone(), replica.in_flight_max.max(1));
        let first = self
            .replicas
            .iter()
            .position(|other| other.id.is_some() && other.replica.class == replica.class);
        if first == Some(index) {
            let machine = replica.machine.as_ref().unwrap_or(&self.scenario.machine);
            for (rows, run_us) in self.scenario.calibration_runs(machine, &mut self.machine_random)
            {
                self.queue.observe(replica.traits().class, rows, run_us);
            }
        }
        self.observer.replica(now_us, joined, Change::Joined { in_flight_max, is_ready });
        if !is_ready {
            let at_us = now_us.saturating_add(replica.starting_us);
            self.events.plan(at_us, Event::Ready { replica: index });
        }
    }

    fn change(&mut self, replica: usize, change: Change, now_us: u64) {
        let Some(id) = self.replicas[replica].id else { return };
        match change {
            Change::Ready => self.queue.set_ready(id),
            Change::Drained => drop(self.queue.drain(id)),
            Change::Joined { .. } | Change::Failed => {}
        }
        self.observer.replica(now_us, id, change);
        self.answer_removed(now_us);
    }

    /// A replica breaks down, with all that it runs.
    fn fail(&mut self, replica: usize, now_us: u64) {
        let on_it = self.running.iter().filter(|(_, running)| running.replica == replica);
        let mut runs: Vec<u64> = on_it.map(|(&run, _)| run).collect();
        runs.sort_unstable();
        for run in runs {
            self.finish(run, Some(RunEnd::ReplicaFailed { retry_in_us: None }), now_us);
        }
    }

    fn begin(&mut self, batch: Batch<Request>, now_us: u64) {
        self.observer.started(now_us, &self.queue, &batch);
        let at = self.replicas.iter().position(|one| one.id == Some(batch.replica));
        let Some(index) = at else { return };
        let replica = &self.replicas[index].replica;
        let machine = replica.machine.as_ref().unwrap_or(&self.scenario.machine);
        let rows = batch.rows;
        let alone_us = machine.run_us(rows, now_us, &mut self.machine_random);
        let run_us = alone_us * self.scenario.overhead.run_times(self.rate.per_s());
        let has_failed = self.machine_random.chance(machine.failing_share);
        let (run_us, end) = match (replica.refuses_in_us(now_us), has_failed) {
            (Some(rejected_us), _) => (rejected_us, RunEnd::ReplicaFailed { retry_in_us: None }),
            (None, true) => (run_us, RunEnd::Failed),
            (None, false) => (run_us, RunEnd::Succeeded(RunSample { rows, run_us })),
        };
        let busy_us = (run_us.round() as u64).max(1);
        self.outcome.started(rows);
        let run = batch.run.number();
        let running = Running { batch, replica: index, started_us: now_us, end };
        self.running.insert(run, running);
        self.events.plan(now_us.saturating_add(busy_us), Event::Finish { run });
    }

    /// Ends a run, as planned or in another way.
    fn finish(&mut self, run: u64, end: Option<RunEnd>, now_us: u64) {
        // One that was on a replica that failed has ended before.
        let Some(Running { batch, replica, started_us, end: planned }) = self.running.remove(&run)
        else {
            return;
        };
        let end = end.unwrap_or(planned);
        self.outcome.busy_us += now_us - started_us;
        self.queue.finish(batch.run, end, now_us);
        let mut answered = Vec::new();
        let mut again = Vec::new();
        for QueuedRequest { item: request, demand } in &batch.members {
            let retried = Request { attempts: request.attempts + 1, ..*request };
            let is_over = match end {
                RunEnd::ReplicaFailed { .. } => {
                    let key = request.batch_key;
                    self.queue.requeue(retried, *demand, key, retried.attempts).is_err()
                }
                _ => true,
            };
            if is_over {
                answered.push(*request);
            } else {
                again.push(request.token);
            }
        }
        if matches!(end, RunEnd::ReplicaFailed { .. }) {
            if let Some(id) = self.replicas[replica].id {
                self.observer.replica(now_us, id, Change::Failed);
            }
            self.observer.requeued(now_us, &batch, &again);
        }
        let tokens: Vec<u64> = answered.iter().map(|request| request.token).collect();
        self.observer.finished(now_us, &batch, &tokens);
        let has_failed = !matches!(end, RunEnd::Succeeded(_));
        for request in &answered {
            let answered_us = self.answered_us(now_us);
            self.outcome.finished(request, has_failed, answered_us);
            if let Some(caller) = request.caller {
                self.release(caller, request.token, answered_us, 0.0);
            }
        }
        self.answer_removed(now_us);
    }

    /// Returns the time when a client has its response of a run that ends now. Overhead before the
    /// run counts here too, which makes no difference to independent arrivals.
    fn answered_us(&mut self, now_us: u64) -> u64 {
        let around_us =
            self.scenario.overhead.around_us(self.rate.per_s(), &mut self.overhead_random);
        if let Some(reserve) = &mut self.reserve {
            reserve.learn(around_us);
        }
        now_us.saturating_add(around_us as u64)
    }
}
