//! Clipper's two policies find their size and keep it.

use super::super::*;
use super::machines::all;
use crate::batch::{Limits, Policy, PolicyName};

#[test]
fn batches_settle_where_a_run_takes_half_of_the_objective() {
    // 40 ms are left for a run: 35 rows.
    let machine =
        Machine { noise: Noise::Gamma { shape: 400.0 }, ..Machine::line(5_000.0, 1_000.0) };
    for policy in [PolicyName::Aimd, PolicyName::Quantile].map(Policy::from) {
        let scenario = Scenario {
            policy: policy.clone(),
            limits: Limits { rows_max: 256, objective_us: Some(80_000.0), replicas: 1 },
            machine: machine.clone(),
            traffic: Traffic::Closed { callers: 300, think_us: 100.0 },
            kinds: vec![Kind { deadline: Deadline::None, ..Kind::default() }],
            duration_us: 120_000_000,
            ..Scenario::default()
        };
        let outcome = simulate(&scenario, 1);
        let largest = outcome.batches.keys().next_back().copied().unwrap_or(0);
        println!("{policy:?}: {:.1} rows, at most {largest}", outcome.mean_batch_rows());
        assert!((24.0..38.0).contains(&outcome.mean_batch_rows()), "{policy:?}");
        assert!(largest <= 60, "{policy:?}: {largest}");
    }
}

#[test]
fn clippers_policies_keep_up_with_a_machine() {
    for bench in all().iter().filter(|bench| bench.name != "tight") {
        for policy in [PolicyName::Aimd, PolicyName::Quantile].map(Policy::from) {
            let mut scenario = bench.scenario(0.8, policy.clone());
            scenario.duration_us = 10_000_000;
            let outcome = simulate(&scenario, 1);
            let per_s = outcome.goodput_between_per_s(5_000_000, 9_900_000);
            let part = per_s / (0.8 * bench.capacity_per_s());
            println!("{:12} {policy:?}: {part:.2}", bench.name);
            assert!(part >= 0.93, "{} {policy:?}: {part}", bench.name);
        }
    }
}
