//! Tables.
use super::machines::{Bench, all};
use super::super::*;
use crate::batch::Limits;

#[test]
fn explore_bursts() {
    for bench in all() {
        for (name, policy) in [("predictive", Policy::Predictive), ("fixed", Policy::Fixed { delay_max_us: 0, preferred_rows: vec![] }), ("aimd", Policy::Aimd), ("quantile", Policy::Quantile)] {
            for base in [0.15, 0.3] {
            let mut scenario = bench.scenario(1.0, policy.clone());
            scenario.traffic = Traffic::Open(Arrivals::Bursts { per_s: base * bench.capacity_per_s(), times: 10.0, on_us: 200_000, period_us: 2_000_000 });
            scenario.duration_us = 12_000_000;
            let outcome = simulate(&scenario, 1);
            // Bursts: 1.8..2.0; count misses (answered late) and not-good outside of burst + objective.
            let total = &outcome.total;
            let mut shed = 0; let mut late = 0;
            for (i, interval) in outcome.intervals.iter().enumerate() { if i % 20 < 15 && i % 20 >= 3 { shed += interval.arrived as i64 - interval.good as i64; } late += interval.answered - interval.good; }
            println!("{:12} {name:10} base {base} good {:.3} late {late} calm deficit {shed} p99 {:.2} batches {:.1} refused {} dropped {}", bench.name, total.good_share(), total.latency_us(0.99) as f64 / bench.objective_us() as f64, outcome.mean_batch_rows(), total.refused_overloaded, total.dropped);
            }
        }
    }
}

#[test]
fn explore_pace() {
    for bench in all() {
        for (load, times) in [(0.6, 3.0), (0.9, 3.0), (0.3, 3.0), (0.6, 10.0)] {
            let mut scenario = bench.scenario(load, Policy::Predictive);
            scenario.duration_us = 15_000_000;
            scenario.machine.paces = vec![Pace { from_us: 5_000_000, to_us: 10_000_000, times }];
            let o = simulate(&scenario, 1);
            let slow = Bench { machine: Machine { cost: Cost::Curve((1..=128).map(|r| (r, times * bench.machine.mean_us(r))).collect()), ..bench.machine.clone() }, ..bench };
            let offered = load * bench.capacity_per_s();
            let g = |a: u64, b: u64| o.goodput_between_per_s(a * 100_000, b * 100_000) / offered;
            println!("{:12} load {load} x{times} before {:.2} first .5s {:.2} during {:.2} (slow capacity/offered {:.2}) after: .1-.5 {:.2} .5-1 {:.2} 1-5 {:.2}  late {}", bench.name, g(20, 50), g(50,55), g(55, 100), slow.capacity_per_s() / offered, g(101, 105), g(105, 110), g(110, 149), o.total.answered - o.total.good);
        }
    }
}

#[test]
fn explore_wrong() {
    for bench in all() {
        for times in [0.01, 0.1, 10.0, 100.0] {
        for load in [0.5, 2.0] {
            let mut scenario = bench.scenario(load, Policy::Predictive);
            scenario.known = Known::Tried { times };
            scenario.duration_us = 8_000_000;
            let o = simulate(&scenario, 1);
            let offered = load.min(1.0) * bench.capacity_per_s();
            let g = |a: u64, b: u64| o.goodput_between_per_s(a * 100_000, b * 100_000) / offered;
            let zero = o.intervals.iter().take(80).filter(|i| i.answered == 0).count();
            println!("{:12} wrong x{times} load {load}: 0-1 {:.2} 1-2 {:.2} 2-4 {:.2} 4-8 {:.2} silent intervals {zero}", bench.name, g(0, 10), g(10, 20), g(20, 40), g(40, 79));
        }}
    }
}

#[test]
fn explore_settle() {
    for bench in all() {
        for policy in [Policy::Aimd, Policy::Quantile, Policy::Predictive] {
        for load in [0.5, 0.9, 2.0] {
            let mut scenario = bench.scenario(load, policy.clone());
            scenario.duration_us = 20_000_000;
            let o = simulate(&scenario, 1);
            let offered = load.min(1.0) * bench.capacity_per_s();
            let g = |a: u64, b: u64| o.goodput_between_per_s(a * 100_000, b * 100_000) / offered;
            let large = o.batches.iter().rev().take(1).next();
            println!("{:12} {policy:?} load {load}: 0-2 {:.2} 2-5 {:.2} 5-10 {:.2} 10-20 {:.2} late {} mean batch {:.1} largest {large:?}", bench.name, g(0, 20), g(20, 50), g(50, 100), g(100, 199), o.total.answered - o.total.good, o.mean_batch_rows());
        }}
    }
}

#[test]
fn explore_priorities() {
    for policy in [Policy::Predictive, Policy::Aimd, Policy::Quantile, Policy::Fixed { delay_max_us: 0, preferred_rows: vec![] }] {
      for load in [0.5, 2.0, 5.0] {
        for low in [Deadline::Objective, Deadline::None] {
        for requests_max in [4096, 100] {
        let scenario = Scenario {
            policy: policy.clone(),
            limits: Limits { rows_max: 64, objective_us: Some(80_000.0), replicas: 1 },
            machine: Machine { noise: Noise::Gamma { shape: 100.0 }, ..Machine::line(5_000.0, 500.0) },
            traffic: Traffic::Open(Arrivals::Poisson { per_s: 1730.0 * load }),
            kinds: vec![
                Kind { weight: 1.0, priority: 1, ..Kind::default() },
                Kind { weight: 4.0, priority: 9, deadline: low, ..Kind::default() },
            ],
            requests_max,
            duration_us: 15_000_000,
            ..Scenario::default()
        };
        let o = simulate(&scenario, 1);
        let k = |i: usize| { let t = &o.kinds[i]; format!("arr {} good {:.3} full {} over {} drop {} late {} p99 {}ms max {}ms", t.arrived, t.good_share(), t.refused_full, t.refused_overloaded, t.dropped, t.answered - t.good, t.latency_us(0.99) / 1000, t.latency_us(1.0) / 1000) };
        println!("{policy:?} load {load} low {low:?} bound {requests_max}\n   high {}\n   low  {} wait max {}", k(0), k(1), o.waiting_max);
        }}
      }
    }
}
