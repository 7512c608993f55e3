//! Compares the simulator with results of queueing theory.

use super::super::*;
use crate::batch::{Limits, Policy};

fn no_delay() -> Policy {
    Policy::fixed(0)
}

/// Requests that wait for ever, in batches of up to so many rows.
fn patient(rows_max: usize, replicas: usize, machine: Machine, traffic: Traffic) -> Scenario {
    Scenario {
        policy: no_delay(),
        limits: Limits { rows_max, objective_us: None, replicas },
        requests_max: 1_000_000,
        machine,
        traffic,
        duration_us: 60_000_000,
        ..Scenario::default()
    }
}

fn mean(latencies_us: &[u64]) -> f64 {
    latencies_us.iter().sum::<u64>() as f64 / latencies_us.len() as f64
}

/// Pollaczek-Khinchine formula. The mean wait is `load / (1 - load)` times half of the mean run,
/// times one plus the squared coefficient of variation of the runs.
#[test]
fn one_replica_that_runs_them_one_by_one_waits_as_pollaczek_and_khinchine_say() {
    for (noise, variance) in [(Noise::None, 0.0), (Noise::Gamma { shape: 2.0 }, 0.5)] {
        let machine = Machine { noise, ..Machine::line(1_000.0, 0.0) };
        let traffic = Traffic::Open(Arrivals::Poisson { per_s: 800.0 });
        let outcome = simulate(&patient(1, 1, machine, traffic), 3);
        let expected_us = 1_000.0 + 0.8 / 0.2 * 500.0 * (1.0 + variance);
        let found_us = mean(&outcome.total.latencies_us);
        assert!((found_us / expected_us - 1.0).abs() < 0.07, "{found_us} {expected_us}");
        assert!((0.78..0.82).contains(&outcome.utilization()), "{}", outcome.utilization());
    }
}

/// With callers that think, throughput is callers over thinking and latency (Little's law).
#[test]
fn callers_that_think_come_as_often_as_little_says() {
    let traffic = Traffic::Closed { callers: 20, think_us: 10_000.0 };
    let outcome = simulate(&patient(8, 2, Machine::line(2_000.0, 300.0), traffic), 3);
    let per_s = outcome.total.answered as f64 / 60.0;
    let expected_per_s = 20.0 * 1e6 / (10_000.0 + mean(&outcome.total.latencies_us));
    assert!((per_s / expected_per_s - 1.0).abs() < 0.02, "{per_s} {expected_per_s}");
}

#[test]
fn callers_that_do_not_think_fill_every_batch() {
    let traffic = Traffic::Closed { callers: 16, think_us: 0.0 };
    let outcome = simulate(&patient(8, 1, Machine::line(1_000.0, 0.0), traffic), 3);
    let full = outcome.batches.get(&8).copied().unwrap_or(0);
    assert!((59_990..=60_001).contains(&full), "{full}");
    assert_eq!(outcome.total.latency_us(0.5), 2_000);
}

#[test]
fn cancelled_and_failed_requests_are_counted_apart() {
    let machine = Machine { failing_share: 0.25, ..Machine::line(1_000.0, 10.0) };
    let cancelling = Some(Cancelling { share: 0.5, after_us: 1.0 });
    let traffic = Traffic::Open(Arrivals::Poisson { per_s: 500.0 });
    let scenario = Scenario {
        kinds: vec![Kind { cancelling, ..Kind::default() }],
        ..patient(8, 1, machine, traffic)
    };
    let total = simulate(&scenario, 3).total;
    let share = |count: u64| count as f64 / total.arrived as f64;
    assert!((0.48..0.52).contains(&share(total.left)), "{total:?}");
    assert!((0.11..0.14).contains(&share(total.failed)), "{total:?}");
    assert_eq!(total.left + total.failed + total.answered, total.arrived);
}

#[test]
fn a_queue_that_closes_answers_all_without_a_wait() {
    let arrivals = Arrivals::Recorded(vec![0, 900_000, 1_000_000, 2_000_000]);
    let mut scenario = patient(8, 1, Machine::line(1_000.0, 0.0), Traffic::Open(arrivals));
    scenario.policy = Policy::fixed(500_000);
    scenario.duration_us = 1_000_000;
    let outcome = simulate(&scenario, 3);
    // The second would wait until 1.4 s; the third comes as the queue closes.
    assert_eq!((outcome.total.answered, outcome.end_us), (2, 1_001_000));
    assert_eq!(outcome.total.latencies_us, [101_000, 501_000]);
}

#[test]
fn the_same_seed_gives_the_same_outcome_and_another_does_not() {
    let scenario = Scenario { duration_us: 1_000_000, ..Scenario::default() };
    assert_eq!(simulate(&scenario, 1), simulate(&scenario, 1));
    assert_ne!(simulate(&scenario, 1), simulate(&scenario, 2));
}

#[test]
fn another_policy_meets_the_same_requests() {
    let arrived = |policy| {
        let traffic = Traffic::Open(Arrivals::Poisson { per_s: 20_000.0 });
        let scenario = Scenario { policy, traffic, duration_us: 1_000_000, ..Scenario::default() };
        let intervals = simulate(&scenario, 1).intervals;
        intervals.iter().map(|interval| interval.arrived).collect::<Vec<_>>()
    };
    let (predictive, fixed) = (arrived(Policy::default()), arrived(no_delay()));
    assert_eq!(predictive[..10], fixed[..10]);
}
