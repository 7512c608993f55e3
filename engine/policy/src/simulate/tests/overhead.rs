//! Tests the time outside of the queue and the runs: the front, the way in and out, shared cores.

use super::super::*;
use crate::batch::{Limits, Policy};
use crate::response_reserve;

fn scenario(per_s: f64, run_us: f64, overhead: Overhead) -> Scenario {
    Scenario {
        policy: Policy::fixed(0),
        limits: Limits { rows_max: 1, objective_us: None, replicas: 1 },
        requests_max: 1_000_000,
        machine: Machine::line(run_us, 0.0),
        overhead,
        traffic: Traffic::Open(Arrivals::Poisson { per_s }),
        duration_us: 60_000_000,
        ..Scenario::default()
    }
}

fn mean_us(scenario: &Scenario) -> f64 {
    let latencies_us = simulate(scenario, 3).total.latencies_us;
    latencies_us.iter().sum::<u64>() as f64 / latencies_us.len() as f64
}

fn at_all_rates(run_times: f64, around_us: &[f64]) -> Overhead {
    let levels = vec![Level { per_s: 1.0, run_times, around_us: around_us.to_vec() }];
    Overhead { levels, over_us: 200_000.0, ..Overhead::default() }
}

/// Pollaczek and Khinchine for the front alone: it takes 800 us at a load of 0.8.
#[test]
fn a_request_that_arrives_while_the_front_is_busy_waits() {
    let overhead = Overhead { front_us: 800.0, ..Overhead::default() };
    let found_us = mean_us(&scenario(1_000.0, 1.0, overhead));
    let expected_us = 800.0 + 0.8 / 0.2 * 400.0 + 1.0;
    assert!((found_us / expected_us - 1.0).abs() < 0.07, "{found_us} {expected_us}");
}

#[test]
fn overhead_adds_to_each_latency_and_delays_no_other_request() {
    let alone = simulate(&scenario(500.0, 1_000.0, Overhead::default()), 3).total;
    let around = at_all_rates(1.0, &[300.0]);
    let found = simulate(&scenario(500.0, 1_000.0, around), 3).total;
    let longer = |(found, alone): (&u64, &u64)| *found == alone + 300;
    assert!(found.latencies_us.iter().zip(&alone.latencies_us).all(longer));
}

#[test]
fn runs_take_longer_where_the_cores_are_shared() {
    let found_us = mean_us(&scenario(10.0, 1_000.0, at_all_rates(1.5, &[])));
    assert!((1_500.0..1_530.0).contains(&found_us), "{found_us}");
}

/// Under twice the capacity, responses of up to 4 ms after their runs are in time. The front pauses
/// after it has rejected requests.
#[test]
fn the_reserve_and_the_pause_leave_responses_in_time_under_overload() {
    let objective_us = 20_000.0;
    let mut busy = scenario(16_000.0, 1_000.0, at_all_rates(1.0, &[100.0, 1_000.0, 4_000.0]));
    busy.policy = Policy::default();
    busy.limits = Limits {
        rows_max: 64,
        objective_us: Some(response_reserve::inside(objective_us)),
        replicas: 1,
    };
    busy.machine = Machine::line(1_000.0, 100.0);
    busy.duration_us = 10_000_000;
    busy.overhead.front_us = 5.0;
    let p99_us = |objective_us| {
        let mut busy = busy.clone();
        busy.overhead.objective_us = objective_us;
        let total = simulate(&busy, 3).total;
        assert!(total.rejected_overloaded > 10_000, "{}", total.rejected_overloaded);
        total.latency_us(0.99)
    };
    let (with_us, without_us) = (p99_us(Some(objective_us)), p99_us(None));
    assert!(with_us <= 20_000 && without_us > with_us, "{with_us} {without_us}");
}
