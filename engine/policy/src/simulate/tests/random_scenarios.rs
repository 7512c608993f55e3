//! Scenarios of every sort, drawn from a seed, with every event checked.

use super::super::invariants::checked;
use super::super::random::Random;
use super::super::*;
use crate::batch::{Limits, Policy, PolicyName};
use crate::queue_policy::{QueuePolicies, QueuePolicy, TimeoutAction};

/// Scenarios for each policy.
const COUNT: u64 = 600;

/// Requests of each, more or less.
const REQUESTS: f64 = 300.0;

fn machine(random: &mut Random) -> Machine {
    let fixed_us = random.between(0, 5_000) as f64;
    let row_us = random.exponential(200.0);
    let cost = match random.chance(0.2) {
        true => Cost::Curve(vec![(1, fixed_us + 10.0), (8, fixed_us + 50.0), (32, 8_000.0)]),
        false => Cost::Line { fixed_us, row_us },
    };
    let noise = match random.between(0, 2) {
        0 => Noise::None,
        1 => Noise::Lognormal { sigma: random.unit() },
        _ => Noise::Gamma { shape: 1.0 + random.exponential(5.0) },
    };
    let hiccups = random.chance(0.3).then_some(Hiccups { share: 0.02, times: 30.0 });
    let pace = Pace { from_us: 50_000, to_us: 200_000, times: 0.2 + random.exponential(2.0) };
    let paces = if random.chance(0.3) { vec![pace] } else { Vec::new() };
    let failing_share = if random.chance(0.2) { 0.1 } else { 0.0 };
    Machine { cost, noise, hiccups, paces, failing_share }
}

fn overhead(random: &mut Random, per_s: f64) -> Overhead {
    let level = |per_s, random: &mut Random| Level {
        per_s,
        run_times: 0.5 + random.unit(),
        around_us: vec![0.0, random.exponential(300.0), random.exponential(3_000.0) + 3_000.0],
    };
    let levels = vec![level(per_s / 2.0, random), level(per_s, random)];
    let front_us = if random.chance(0.5) { 0.0 } else { random.exponential(0.3e6 / per_s) };
    let objective_us = random.chance(0.5).then(|| 1.0 + random.exponential(60_000.0));
    Overhead { front_us, levels, over_us: random.between(0, 300_000) as f64, objective_us }
}

fn kind(random: &mut Random) -> Kind {
    let least = if random.chance(0.7) { 1 } else { random.between(1, 6) as usize };
    let most = least + if random.chance(0.7) { 0 } else { random.between(1, 90) as usize };
    let deadline = match random.between(0, 3) {
        0 => Deadline::None,
        1 => Deadline::Between { least_us: 0, most_us: random.between(1, 3_000_000) },
        _ => Deadline::Objective,
    };
    let cancelling = Cancelling { share: random.unit(), after_us: random.exponential(20_000.0) };
    Kind {
        weight: random.unit(),
        rows: (least, most),
        batch_keys: if random.chance(0.6) { 1 } else { random.between(2, 9) as u32 },
        deadline,
        priority: random.between(0, 10),
        cancelling: random.chance(0.3).then_some(cancelling),
        wait: random.chance(0.4).then(|| wait(random)),
    }
}

fn wait(random: &mut Random) -> WaitLimit {
    let least_us = random.between(0, 5_000);
    let action = if random.chance(0.5) { TimeoutAction::Delay } else { TimeoutAction::Reject };
    WaitLimit { least_us, most_us: least_us + random.between(0, 200_000), action }
}

/// Priority levels of which some have limits of their own.
fn policies(random: &mut Random) -> QueuePolicies {
    if random.chance(0.5) {
        return QueuePolicies::default();
    }
    let mut policy = || QueuePolicy {
        requests_max: random.chance(0.5).then(|| random.between(0, 40) as usize),
        ..QueuePolicy::default()
    };
    let (default, by_level) = (policy(), [(2, policy()), (3, policy())].into());
    let lowest = random.between(1, 30);
    QueuePolicies::with_levels(lowest, random.between(1, lowest), default, by_level)
}

fn traffic(random: &mut Random, per_s: f64, duration_us: u64) -> Traffic {
    let period_us = duration_us / 3 + 1;
    Traffic::Open(match random.between(0, 5) {
        0 => {
            let think_us = random.exponential(10_000.0);
            return Traffic::Closed { callers: random.between(1, 40) as usize, think_us };
        }
        1 => Arrivals::Bursts { per_s: per_s / 2.0, times: 10.0, on_us: period_us / 10, period_us },
        2 => Arrivals::Diurnal { per_s, swing: random.unit(), day_us: period_us },
        3 => {
            // Many at the same time.
            let mut times: Vec<u64> = (0..REQUESTS as u64)
                .map(|_| random.between(0, duration_us / 1_000) * 1_000)
                .collect();
            times.sort_unstable();
            Arrivals::Recorded(times)
        }
        _ => Arrivals::Poisson { per_s },
    })
}

/// Replicas of up to three classes, some of which join late, fail or leave.
fn replicas(random: &mut Random, duration_us: u64) -> Vec<SimulatedReplica> {
    let count = random.between(1, 5);
    let mut replica = |_| {
        let class = random.between(0, 2) as u16;
        let (mut failures_us, mut at_us) = (Vec::new(), 0);
        for _ in 0..random.between(0, 2) {
            let from_us = at_us + random.between(1, duration_us.max(1));
            at_us = from_us + random.between(1, 300_000);
            failures_us.push((from_us, at_us));
        }
        let joins_us = if random.chance(0.6) { 0 } else { random.between(0, duration_us / 2) };
        SimulatedReplica {
            class,
            machine: random.chance(0.7).then(|| machine(random)),
            in_flight_max: random.between(0, 4) as usize,
            joins_us,
            starting_us: if random.chance(0.7) { 0 } else { random.between(1, 50_000) },
            failures_us: if random.chance(0.5) { failures_us } else { Vec::new() },
            leaves_us: random.chance(0.3).then(|| joins_us + random.between(0, duration_us)),
        }
    };
    (0..count).map(&mut replica).collect()
}

fn scenario(policy: Policy, seed: u64) -> Scenario {
    let random = &mut Random::new(seed, 9);
    let limits = Limits {
        rows_max: random.between(1, 70) as usize,
        objective_us: random.chance(0.8).then(|| 1_000.0 + random.exponential(40_000.0)),
        replicas: random.between(1, 4) as usize,
    };
    let machine = machine(random);
    let capacity_per_s =
        machine.rows_per_s(limits.rows_max, f64::INFINITY) * limits.replicas as f64;
    // From a tenth of what is possible to five times as much.
    let per_s = capacity_per_s * 0.1 * 50_f64.powf(random.unit());
    let duration_us = (REQUESTS * 1e6 / per_s) as u64 + 1;
    Scenario {
        policy,
        limits,
        requests_max: if random.chance(0.5) { 4_096 } else { random.between(0, 60) as usize },
        policies: policies(random),
        machine,
        replicas: Vec::new(),
        overhead: if random.chance(0.3) { overhead(random, per_s) } else { Overhead::default() },
        known: match random.between(0, 2) {
            0 => Known::Nothing,
            1 => Known::Calibrated { factor: 10_f64.powf(4.0 * random.unit() - 2.0) },
            _ => Known::Calibrated { factor: 1.0 },
        },
        traffic: traffic(random, per_s, duration_us),
        kinds: (0..random.between(0, 4)).map(|_| kind(random)).collect(),
        expire_every_us: random.chance(0.5).then(|| random.between(0, 20_000)),
        duration_us: if random.chance(0.05) { 0 } else { duration_us.min(5_000_000) },
    }
}

/// Plays scenarios and gives how many requests they had.
fn play(policy: impl Fn(&mut Random) -> Policy) -> u64 {
    let play = |seed| {
        let scenario = scenario(policy(&mut Random::new(seed, 8)), seed);
        let outcome = checked(&scenario, seed);
        if seed % 16 == 0 {
            assert_eq!(outcome, simulate(&scenario, seed), "seed {seed} is not repeatable");
        }
        outcome.total.arrived
    };
    (0..COUNT).map(play).sum()
}

fn fixed(random: &mut Random) -> Policy {
    let max_delay_us = if random.chance(0.3) { 0 } else { random.between(1, 20_000) };
    let sizes = random.between(0, 3);
    let preferred_sizes = (0..sizes).map(|_| random.between(0, 70) as usize).collect();
    Policy { preferred_sizes, ..Policy::fixed(max_delay_us) }
}

fn max_delay(random: &mut Random) -> Policy {
    let name = PolicyName::ALL[random.between(0, 3) as usize];
    Policy { max_delay_us: random.between(0, 10_000), ..name.into() }
}

#[test]
fn replicas_that_differ_join_fail_and_leave_keep_every_rule() {
    let play = |seed| {
        let random = &mut Random::new(seed, 7);
        let policy = match random.between(0, 4) {
            0 => fixed(random),
            1 => max_delay(random),
            2 => PolicyName::Aimd.into(),
            _ => Policy::default(),
        };
        let scenario = scenario(policy, seed);
        let replicas = replicas(random, scenario.duration_us);
        let scenario = Scenario { replicas, ..scenario };
        let outcome = checked(&scenario, seed);
        if seed % 16 == 0 {
            assert_eq!(outcome, simulate(&scenario, seed), "seed {seed} is not repeatable");
        }
        outcome.total.arrived
    };
    assert!((0..3 * COUNT).map(play).sum::<u64>() > 100 * COUNT);
}

#[test]
fn predictive_keeps_every_rule() {
    assert!(play(|_| PolicyName::Predictive.into()) > 100 * COUNT);
}

#[test]
fn aimd_keeps_every_rule() {
    assert!(play(|_| PolicyName::Aimd.into()) > 100 * COUNT);
}

#[test]
fn quantile_keeps_every_rule() {
    assert!(play(|_| PolicyName::Quantile.into()) > 100 * COUNT);
}

#[test]
fn fixed_keeps_every_rule() {
    assert!(play(fixed) > 100 * COUNT);
}

#[test]
fn delayed_keeps_every_rule() {
    assert!(play(max_delay) > 100 * COUNT);
}
