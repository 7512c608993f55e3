//! What the cache costs a request, measured; run with `--release -- --ignored --nocapture`.

use super::*;
use std::time::Instant;

const ROUNDS: usize = 60;
const REQUESTS: usize = 1000;

/// The quickest round's time of one request, in nanoseconds.
fn ns_per_request(model: &Arc<Model>, mut input: impl FnMut() -> Vec<f32>) -> f64 {
    let round = |_| {
        let requests: Vec<_> = (0..REQUESTS).map(|_| request(&input())).collect();
        let begun = Instant::now();
        for request in requests {
            drop(ask(model, request).unwrap());
        }
        begun.elapsed().as_secs_f64() * 1e9 / REQUESTS as f64
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

/// An executor that does next to nothing.
fn idle() -> Box<dyn Executor> {
    let output = outputs(vec![0; 40]);
    puppet(move |_| Ok(output.clone()))
}

#[test]
#[ignore = "measures; only an optimised build says anything"]
fn a_miss_costs_less_than_two_microseconds() {
    let with = cached(signature(0), idle());
    let without = model(signature(0), vec![idle()], settings(None));
    without.queue().observe(1, 1.0);
    let mut number = 0.0;
    let mut new = || {
        number += 1.0;
        vec![number; 784]
    };
    let miss = ns_per_request(&with, &mut new);
    let plain = ns_per_request(&without, &mut new);
    let hit = ns_per_request(&with, || vec![0.5; 784]);
    println!(
        "784 floats: {plain:.0} ns without a cache, {miss:.0} with a miss, {hit:.0} with a hit"
    );
    let (hits, misses) = counts(&with);
    println!("a miss costs {:.0} ns; {hits} hits, {misses} misses", miss - plain);
    assert!(miss - plain < 2000.0);
}
