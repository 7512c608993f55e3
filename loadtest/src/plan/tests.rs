//! Plans for a server whose queue is known: one replica that takes 1 ms for each request, and 100
//! us around it. Its latencies are those of a queue M/D/1.

use super::*;
use crate::profile::{FORMAT, Level, Machine, Spread};
use crate::quantiles::Quantiles;
use crate::server_settings::Settings;
use crate::server_statistics::BatchSize;
use skysail_policy::batch::{Limits, Policy};
use skysail_policy::simulate::{
    Arrivals, Machine as Simulated, Scenario, Traffic as SimulatedTraffic, simulate,
};

const RUN_US: f64 = 1_000.0;
const AROUND_US: f64 = 100.0;

/// Latencies at a load, by Lindley's equation: each wait is the previous one plus its run, less the
/// time between arrivals.
fn latencies_us(load: f64, seed: u64) -> Vec<f64> {
    let arrivals = Arrivals::Poisson { per_s: load * 1e6 / RUN_US };
    let (mut before_us, mut wait_us) = (0, 0.0_f64);
    let times = arrivals.times(seed).take(60_000);
    times
        .map(|at_us| {
            wait_us = (wait_us + RUN_US - (at_us - before_us) as f64).max(0.0);
            before_us = at_us;
            wait_us + RUN_US + AROUND_US
        })
        .collect()
}

fn level(load: f64) -> Level {
    let per_s = load * 1e6 / RUN_US;
    let requests = (per_s * 60.0) as u64;
    let run = BatchSize { rows: 1, runs: requests, run_us: RUN_US, ..BatchSize::default() };
    Level {
        per_s,
        seconds: 60.0,
        requests,
        answered: requests,
        in_time: requests,
        latency_us: Quantiles::from_values(latencies_us(load, 7)),
        batches: vec![run],
        ..Level::default()
    }
}

fn profile(loads: &[f64]) -> Profile {
    Profile {
        format: FORMAT.to_owned(),
        model: "m".to_owned(),
        version: None,
        url: "http://127.0.0.1:8000".to_owned(),
        protocol: "binary".to_owned(),
        rows_per_request: 1,
        machine: Machine::default(),
        server: Settings { batch_rows_max: Some(1), replicas: Some(1), ..Settings::default() },
        server_objective_ms: None,
        objective: objective(20.0),
        capacity_per_s: 850.0,
        levels: loads.iter().map(|&load| level(load)).collect(),
        spread: Spread::default(),
    }
}

fn objective(ms: f64) -> Objective {
    Objective { ms, percentile: 99.0, confidence: 95.0 }
}

fn request(per_s: f64, ms: f64) -> PlanRequest {
    PlanRequest {
        traffic: Traffic::Poisson { per_s },
        objective: objective(ms),
        seeds: 6,
        cost_per_hour: None,
    }
}

const LOADS: [f64; 5] = [0.1, 0.3, 0.5, 0.7, 0.85];

/// The formula of Pollaczek and Khinchine checks the data of the other tests.
#[test]
fn the_profile_agrees_with_theory() {
    let seen = level(0.8).latency_us;
    let mean: f64 = seen.evenly_spaced(5_000).sum::<f64>() / 5_000.0;
    let theory = RUN_US + AROUND_US + 0.8 / 0.2 * RUN_US / 2.0;
    assert!((mean / theory - 1.0).abs() < 0.08, "{mean} {theory}");
}

#[test]
fn latencies_between_the_rates_that_were_measured_are_predicted() {
    let profile = profile(&LOADS);
    for load in [0.2, 0.4, 0.6, 0.78] {
        let found = predict_servers(&profile, &request(load * 1_000.0, 20.0), 1).unwrap();
        let mut measured = latencies_us(load, 99);
        measured.sort_by(f64::total_cmp);
        let measured_ms = measured[measured.len() * 99 / 100] / 1e3;
        let off = (found.latency_ms / measured_ms - 1.0).abs();
        assert!(off < 0.1, "at {load}: {} and {measured_ms}", found.latency_ms);
        // The measurement has its own random error.
        let range = found.latency_ms_low / 1.05..found.latency_ms_high * 1.05;
        assert!(range.contains(&measured_ms), "{measured_ms} is not in {range:?}");
        assert!((found.utilization - load).abs() < 0.02, "{found:?}");
    }
}

/// Bursts are not in the profile; their effect follows from the scheduler and the run times.
#[test]
fn bursts_are_predicted_from_a_profile_without_any() {
    let bursts = Traffic::Bursts { per_s: 400.0, times: 4.0, on_us: 50_000, period_us: 500_000 };
    let asked = PlanRequest { traffic: bursts.clone(), ..request(0.0, 20.0) };
    let found = predict_servers(&profile(&LOADS), &asked, 1).unwrap();
    let real = Scenario {
        policy: Policy::fixed(0),
        limits: Limits { rows_max: 1, objective_us: None, replicas: 1 },
        machine: Simulated::line(RUN_US, 0.0),
        traffic: SimulatedTraffic::Open(bursts.of_server(1, 0)),
        duration_us: 100_000_000,
        ..Scenario::default()
    };
    let real_ms = (simulate(&real, 55).total.latency_us(0.99) as f64 + AROUND_US) / 1e3;
    assert!((found.latency_ms / real_ms - 1.0).abs() < 0.1, "{} {real_ms}", found.latency_ms);
    let even = predict_servers(&profile(&LOADS), &request(400.0, 20.0), 1).unwrap();
    assert!(found.latency_ms > 2.0 * even.latency_ms, "{found:?} {even:?}");
}

#[test]
fn the_planned_servers_agree_with_theory() {
    let plan = |per_s, ms| plan(&profile(&LOADS), &request(per_s, ms)).unwrap();
    let four = plan(2_700.0, 10.0);
    // With three servers each would be at 0.9, where p99 is 21 ms; at 0.675 it is 5.6 ms.
    assert_eq!(four.servers, 4, "{four:?}");
    assert!(four.prediction.meets_objective && !four.one_fewer.unwrap().meets_objective);
    assert!((4.0..30.0).contains(&four.headroom.unwrap()), "{four:?}");
    let tight = plan(2_700.0, 4.0);
    assert!(tight.servers > 4 && tight.prediction.latency_ms_high <= 4.0, "{tight:?}");
    assert_eq!(plan(100.0, 10.0).servers, 1);
}

/// Most of the simulations have no request.
#[test]
fn a_very_small_load_is_planned_with_one_server() {
    let plan = |traffic| {
        let asked = PlanRequest { traffic, ..request(0.0, 20.0) };
        plan(&profile(&LOADS), &asked).unwrap()
    };
    for found in [plan(Traffic::Poisson { per_s: 1e-3 }), plan(Traffic::Recorded(vec![0]))] {
        assert_eq!((found.servers, found.prediction.in_time), (1, 1.0), "{found:?}");
        let (latency_ms, least_ms) = (found.prediction.latency_ms, (RUN_US + AROUND_US) / 1e3);
        assert!((latency_ms / least_ms - 1.0).abs() < 0.1, "{found:?}");
    }
}

#[test]
fn a_million_requests_have_their_price() {
    let asked = PlanRequest { cost_per_hour: Some(3.6), ..request(500.0, 20.0) };
    let found = plan(&profile(&LOADS), &asked).unwrap();
    assert_eq!((found.servers, found.cost_per_million), (1, Some(2.0)));
    let text = found.to_string();
    for part in ["needs        1 server like", "headroom", "cost         2.0000 a million", "95 %"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn unreachable_objectives_and_incomplete_profiles_are_reported() {
    let message =
        |profile: &Profile, request: &PlanRequest| plan(profile, request).unwrap_err().to_string();
    let never = message(&profile(&LOADS), &request(500.0, 1.0));
    assert!(never.contains("cannot be met with any number of servers"), "{never}");
    let empty = PlanRequest { traffic: Traffic::Recorded(Vec::new()), ..request(1.0, 1.0) };
    assert_eq!(message(&profile(&LOADS), &empty), "there is no load to plan for");
    let mut uncounted = profile(&LOADS);
    uncounted.levels.iter_mut().for_each(|level| level.batches.clear());
    let uncounted = message(&uncounted, &request(100.0, 20.0));
    assert!(uncounted.contains("the server did not count its runs"), "{uncounted}");
    let mut lost = profile(&LOADS);
    lost.levels.iter_mut().for_each(|level| level.answered = 0);
    assert!(message(&lost, &request(100.0, 20.0)).contains("nearly every request"));
}
