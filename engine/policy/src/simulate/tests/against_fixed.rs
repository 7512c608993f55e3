//! The default policy against the best of many sizes and delays set by hand, found for each
//! machine and load by trying.

use super::super::*;
use super::machines::{Bench, all};
use crate::batch::Policy;

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
fn no_size_or_delay_set_by_hand_is_much_better() {
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
