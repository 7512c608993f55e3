//! The default policy against the best of many sizes and delays set by hand, found for each
//! machine and load by trying.

use super::super::*;
use super::machines::{Bench, all};
use crate::batch::{Limits, Policy};

const ROWS: [usize; 6] = [4, 8, 16, 32, 64, 128];

fn best_fixed_per_s(bench: &Bench, load: f64) -> (f64, String) {
    let mut best = (0.0, String::new());
    for rows_max in ROWS.into_iter().filter(|&rows| rows <= bench.limits.rows_max) {
        for delay_max_us in [0, bench.objective_us() / 8] {
            let policy = Policy::fixed(delay_max_us);
            let mut scenario = bench.scenario(load, policy);
            scenario.limits.rows_max = rows_max;
            let per_s = simulate(&scenario, 1).goodput_per_s();
            if per_s > best.0 {
                best = (per_s, format!("{rows_max} rows, {delay_max_us} us"));
            }
        }
    }
    best
}

#[test]
fn no_fixed_size_or_delay_is_much_better() {
    for bench in all() {
        for load in [0.5, 0.9, 1.5] {
            let outcome = simulate(&bench.scenario(load, Policy::default()), 1);
            let (best_per_s, best) = best_fixed_per_s(&bench, load);
            let ratio = outcome.goodput_per_s() / best_per_s;
            println!(
                "{:12} load {load}: {:6.0}/s against {best_per_s:6.0}/s ({best}): {ratio:.3}",
                bench.name,
                outcome.goodput_per_s(),
            );
            assert!(ratio >= bench.against_fixed, "{} at {load}: {ratio}", bench.name);
        }
    }
}

/// Goodput and 99th percentile of a reference model: means over seeds.
fn play(model: &ReferenceModel, load: f64, policy: Policy, rows_max: usize) -> (f64, f64) {
    const SEEDS: u64 = 2;
    let per_s = load * model.capacity_per_s();
    let limits = Limits { rows_max, ..model.limits() };
    let requests = if load > 1.0 { 12_000.0 } else { 6_000.0 };
    let duration_us = (requests / per_s * 1e6).clamp(1e6, 40e6) as u64;
    let traffic = Traffic::Open(Arrivals::Poisson { per_s });
    let machine = model.machine();
    let scenario =
        Scenario { policy, limits, machine, traffic, duration_us, ..Scenario::default() };
    let outcomes = (0..SEEDS).map(|seed| simulate(&scenario, seed));
    outcomes.fold((0.0, 0.0), |(per_s, p99_us), outcome| {
        let latency_us = outcome.total.latency_us(0.99) as f64;
        (per_s + outcome.goodput_per_s() / SEEDS as f64, p99_us + latency_us / SEEDS as f64)
    })
}

/// The lightest two models answer more requests than a simulation of seconds can have.
#[test]
fn on_reference_models_no_setting_by_hand_within_the_objective_is_better() {
    for model in REFERENCE_MODELS.iter().filter(|model| model.capacity_per_s() < 200_000.0) {
        for load in [0.5, 0.9, 2.0] {
            let (per_s, p99_us) = play(model, load, Policy::default(), model.limits().rows_max);
            let mut best_per_s = 0.0_f64;
            for (rows, delay_us) in [(4, 0), (16, 0), (16, 2_000), (64, 0), (64, 500)] {
                let (found_per_s, p99_us) = play(model, load, Policy::fixed(delay_us), rows);
                if p99_us <= model.objective_us {
                    best_per_s = best_per_s.max(found_per_s);
                }
            }
            let (ratio, p99) = (per_s / best_per_s, p99_us / model.objective_us);
            println!("{:10} load {load}: {ratio:.3} of the best by hand, p99 {p99:.2}", model.name);
            assert!(ratio >= 0.98, "{} at {load}: {ratio}", model.name);
            assert!(p99 <= 1.0, "{} at {load}: p99 {p99}", model.name);
        }
    }
}
