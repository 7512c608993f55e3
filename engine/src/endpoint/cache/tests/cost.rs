//! Measures the cost of the cache for a request; run with `--release -- --ignored --nocapture`.

use super::memory::outputs;
use super::*;
use crate::replica::ClassId;
use std::time::Instant;

const ROUNDS: usize = 601;
const REQUESTS: usize = 100;

/// The time of one request in nanoseconds: of the quickest round, and of the median one.
fn ns_per_request(endpoint: &Arc<Endpoint>, mut input: impl FnMut() -> Vec<f32>) -> [f64; 2] {
    let round = |_| {
        let requests: Vec<_> = (0..REQUESTS).map(|_| request(&input())).collect();
        let begun = Instant::now();
        for request in requests {
            drop(ask(endpoint, request).unwrap());
        }
        begun.elapsed().as_secs_f64() * 1e9 / REQUESTS as f64
    };
    let mut rounds: Vec<f64> = (0..ROUNDS).map(round).collect();
    rounds.sort_by(f64::total_cmp);
    [rounds[0], rounds[ROUNDS / 2]]
}

/// An executor that does next to nothing.
fn idle() -> Box<dyn Executor> {
    let output = outputs(vec![0; 40]);
    puppet(move |_| Ok(output.clone()))
}

#[test]
#[ignore = "measures; only an optimised build says anything"]
fn a_miss_costs_less_than_two_microseconds() {
    let with = cached(signature(), idle());
    let without = endpoint(batches(0), vec![idle()], settings(None));
    without.model().queue().observe(ClassId::default(), 1, 1.0);
    let mut number = 0.0;
    let mut new = || {
        number += 1.0;
        vec![number; 784]
    };
    let misses = ns_per_request(&with, &mut new);
    let others = ns_per_request(&without, &mut new);
    let hits = ns_per_request(&with, || vec![0.5; 784]);
    println!("784 floats, quickest and median of {ROUNDS} rounds, ns a request:");
    println!("no cache {others:.0?}, miss {misses:.0?}, hit {hits:.0?}");
    let costs = [misses[0] - others[0], misses[1] - others[1]];
    println!("a miss costs {costs:.0?} more than no cache; hits and misses: {:?}", counts(&with));
    assert!(costs[0] < 2000.0);
}
