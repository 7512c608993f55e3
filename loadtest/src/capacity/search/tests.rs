//! Searches on servers of known capacity: one in simulated time, others by a formula.

use super::*;
use skysail_policy::batch::{Limits, Policy};
use skysail_policy::simulate::{Arrivals, INTERVAL_US, Machine, Scenario, Traffic, simulate};

fn goal() -> Goal {
    Goal {
        share: 0.99,
        confidence: 0.95,
        precision: 0.05,
        windows_max: 4,
        least_per_s: 1.0,
        most_per_s: 1e6,
    }
}

/// Drives a search to its end; `window` gives the blocks of the n-th window at a rate.
fn search(goal: Goal, from: f64, mut window: impl FnMut(f64, u64) -> Vec<Block>) -> (Next, Search) {
    let mut search = Search::new(goal, from);
    for number in 0..200 {
        match search.next() {
            Next::Measure { per_s } => search.record(per_s, &window(per_s, number)),
            end => return (end, search),
        }
    }
    panic!("it goes on for ever: {:?}", search.points());
}

/// Ten blocks in which this share of the requests is late, evenly.
fn late(per_s: f64, share: f64) -> Vec<Block> {
    let requests = per_s.max(100.0) as u64;
    vec![Block { requests, in_time: ((1.0 - share) * requests as f64) as u64 }; 10]
}

#[test]
fn a_sharp_edge_is_found_from_below_and_from_above() {
    for from in [1.0, 30.0, 700.0, 90_000.0] {
        let (end, search) =
            search(goal(), from, |per_s, _| late(per_s, if per_s > 1_234.0 { 0.3 } else { 0.0 }));
        let Next::Found { per_s } = end else { panic!("{end:?}") };
        assert!((1_234.0 / 1.05..=1_234.0).contains(&per_s), "{per_s}");
        assert!(search.points().len() < 22, "{}", search.points().len());
    }
}

/// Simulates a queue M/D/1: one replica that takes 1 ms for each request, and Poisson arrivals.
fn simulated(per_s: f64, seed: u64) -> Vec<Block> {
    let scenario = Scenario {
        policy: Policy::fixed(0),
        limits: Limits { rows_max: 1, objective_us: Some(5_000.0), replicas: 1 },
        requests_max: 1_000_000,
        machine: Machine::line(1_000.0, 0.0),
        traffic: Traffic::Open(Arrivals::Poisson { per_s }),
        expire_every_us: None,
        duration_us: 10_000_000,
        ..Scenario::default()
    };
    let intervals = simulate(&scenario, seed).intervals;
    let of_second = |seconds: &[skysail_policy::simulate::Interval]| Block {
        requests: seconds.iter().map(|interval| interval.arrived).sum(),
        in_time: seconds.iter().map(|interval| interval.good_arrived).sum(),
    };
    intervals.chunks((1_000_000 / INTERVAL_US) as usize).take(10).map(of_second).collect()
}

#[test]
fn the_capacity_of_a_simulated_queue_is_found() {
    // A long run gives the true capacity: the rate at which one request in a hundred is late.
    let share = |per_s: f64| {
        let blocks: Vec<Block> = (900..930).flat_map(|seed| simulated(per_s, seed)).collect();
        let requests: u64 = blocks.iter().map(|batch| batch.requests).sum();
        blocks.iter().map(|batch| batch.in_time).sum::<u64>() as f64 / requests as f64
    };
    let (mut low, mut high) = (100.0, 990.0);
    for _ in 0..8 {
        let middle = (low + high) / 2.0;
        if share(middle) >= 0.99 { low = middle } else { high = middle }
    }
    for first in [0, 1_000, 2_000] {
        let (end, _) = search(goal(), 50.0, |per_s, number| simulated(per_s, first + number));
        let Next::Found { per_s } = end else { panic!("{end:?}") };
        assert!((0.85 * low..=1.02 * low).contains(&per_s), "{per_s} of {low}");
    }
}

#[test]
fn an_objective_that_is_never_met_ends_at_the_lowest_rate() {
    let (end, search) = search(goal(), 64.0, |per_s, _| late(per_s, 0.2));
    assert_eq!(end, Next::NeverMet { per_s: 1.0 });
    assert!(search.points().iter().all(|point| point.verdict == Verdict::Misses));
}

#[test]
fn an_objective_that_is_always_met_ends_at_the_highest_rate() {
    let goal = Goal { most_per_s: 5_000.0, ..goal() };
    let (end, _) = search(goal, 64.0, |per_s, _| late(per_s, 0.0));
    assert_eq!(end, Next::MetAtMaximum { per_s: 5_000.0 });
}

/// Two windows are needed to meet the objective and one to miss it; an unclear rate is not met.
#[test]
fn an_unclear_rate_is_measured_as_often_as_allowed_and_is_not_met() {
    let (_, search) = search(goal(), 1_000.0, |per_s, _| match per_s {
        1_000.0 => late(per_s, 0.0),
        2_000.0 => late(per_s, 0.01),
        _ => late(per_s, 0.1),
    });
    let found: Vec<_> =
        search.points()[..3].iter().map(|point| (point.windows, point.verdict)).collect();
    assert_eq!(found, [(2, Verdict::Meets), (4, Verdict::Unclear), (1, Verdict::Misses)]);
}
