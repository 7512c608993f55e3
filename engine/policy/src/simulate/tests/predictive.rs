//! The default policy at every load.

use super::super::*;
use super::machines::{Bench, all};
use crate::batch::Policy;

/// Good requests a second, as a part of those that came and could be answered.
fn goodput(bench: &Bench, outcome: &Outcome) -> f64 {
    let arrived_per_s = 1e6 * outcome.total.arrived as f64 / outcome.duration_us as f64;
    outcome.goodput_per_s() / arrived_per_s.min(bench.capacity_per_s())
}

/// Plays a bench at a load and prints the result. Returns the goodput, and the 99th percentile of
/// latency as a share of the objective.
fn play(bench: &Bench, load: f64) -> (f64, f64) {
    let outcome = simulate(&bench.scenario(load, Policy::default()), 1);
    let total = &outcome.total;
    let part = |quantile| total.latency_us(quantile) as f64 / bench.objective_us() as f64;
    let goodput = goodput(bench, &outcome);
    println!(
        "{:12} load {load:.1}: goodput {goodput:.3}, p50 {:.2}, p99 {:.2}, batch {:4.1}, rejected \
         {}, expired {}, late {}",
        bench.name,
        part(0.5),
        part(0.99),
        outcome.mean_batch_rows(),
        total.rejected_overloaded,
        total.expired,
        total.answered - total.good,
    );
    (goodput, part(0.99))
}

#[test]
fn answers_in_time_up_to_nine_tenths_of_the_capacity() {
    for bench in all() {
        for load in [0.1, 0.3, 0.5, 0.7, 0.9] {
            let (goodput, p99) = play(&bench, load);
            assert!(p99 <= 1.05, "{} at {load}: {p99}", bench.name);
            let wanted = if load < 0.7 { 0.999 } else { bench.good_when_busy };
            assert!(goodput >= wanted, "{} at {load}: {goodput}", bench.name);
        }
    }
}

#[test]
fn goodput_stays_high_under_overload() {
    for bench in all() {
        for load in [2.0, 5.0] {
            let (goodput, p99) = play(&bench, load);
            assert!(goodput >= bench.good_in_overload, "{} at {load}: {goodput}", bench.name);
            let has_hiccups = bench.machine.hiccups.is_some();
            assert!(p99 <= 1.2 || has_hiccups, "{} at {load}: {p99}", bench.name);
        }
    }
}

#[test]
fn expired_requests_are_answered_within_the_objective() {
    for bench in all() {
        let outcome = simulate(&bench.scenario(2.0, Policy::default()), 1);
        let told_us = outcome.total.expired_after_us(0.99);
        assert!(told_us <= bench.objective_us() + 10_000, "{}: {told_us}", bench.name);
    }
}
