//! Machines of different characters, each with an objective that suits it.

use super::super::*;
use crate::batch::{Limits, Policy};

/// A machine and what it is asked to keep.
pub(super) struct Bench {
    pub(super) name: &'static str,
    pub(super) machine: Machine,
    pub(super) limits: Limits,
    /// Least goodput of `predictive` at 0.7 and 0.9 of the capacity, as a part of what comes.
    pub(super) good_when_busy: f64,
    /// The same at twice and five times the capacity, as a part of that.
    pub(super) good_in_overload: f64,
    /// The same as a part of what the best size and delay set by hand give.
    pub(super) against_fixed: f64,
}

impl Bench {
    /// Requests of one row that it can answer in a second.
    pub(super) fn capacity_per_s(&self) -> f64 {
        let run_us_max = self.limits.run_us_max().unwrap_or(f64::INFINITY);
        let per_s = self.machine.rows_per_s(self.limits.rows_max, run_us_max);
        let hiccup = self.machine.hiccups.map_or(0.0, |h| h.share * (h.times - 1.0));
        per_s * self.limits.replicas as f64 / (1.0 + hiccup)
    }

    pub(super) fn objective_us(&self) -> u64 {
        self.limits.objective_us.map_or(u64::MAX, |us| us as u64)
    }

    /// Requests that come at so many times its capacity.
    pub(super) fn scenario(&self, load: f64, policy: Policy) -> Scenario {
        let per_s = load * self.capacity_per_s();
        Scenario {
            policy,
            limits: self.limits,
            machine: self.machine.clone(),
            traffic: Traffic::Open(Arrivals::Poisson { per_s }),
            duration_us: 6_000_000,
            ..Scenario::default()
        }
    }
}

fn bench(
    name: &'static str,
    machine: Machine,
    (rows_max, objective_ms, replicas): (usize, f64, usize),
    [good_when_busy, good_in_overload, against_fixed]: [f64; 3],
) -> Bench {
    let limits = Limits { rows_max, objective_us: Some(1e3 * objective_ms), replicas };
    Bench { name, machine, limits, good_when_busy, good_in_overload, against_fixed }
}

fn noisy(noise: Noise, machine: Machine) -> Machine {
    Machine { noise, ..machine }
}

/// Machines of many kinds. Some have a fixed cost, a cost by row, noise with a long tail or
/// hiccups. One is a device that is full at 32 rows, and one has two replicas.
pub(super) fn all() -> Vec<Bench> {
    let light = || Noise::Gamma { shape: 100.0 };
    let heavy = Noise::Lognormal { sigma: 0.3 };
    let hiccups = Some(Hiccups { share: 0.005, times: 5.0 });
    let points = vec![(1, 4e3), (8, 4.4e3), (32, 6e3), (64, 12e3), (128, 24e3)];
    let curve = Machine { cost: Cost::Curve(points), ..Machine::line(0.0, 0.0) };
    let middle = || Machine::line(5_000.0, 500.0);
    vec![
        bench(
            "fixed cost",
            noisy(light(), Machine::line(20_000.0, 200.0)),
            (64, 100.0, 1),
            [0.99, 0.95, 0.97],
        ),
        bench(
            "per row",
            noisy(light(), Machine::line(200.0, 1_000.0)),
            (64, 50.0, 1),
            [0.99, 0.94, 0.95],
        ),
        bench("exact", middle(), (64, 80.0, 1), [0.99, 0.98, 0.95]),
        bench("noisy", noisy(heavy, middle()), (64, 80.0, 1), [0.93, 0.84, 0.92]),
        bench(
            "hiccups",
            Machine { hiccups, ..noisy(light(), middle()) },
            (64, 80.0, 1),
            [0.96, 0.87, 0.93],
        ),
        bench("curve", noisy(light(), curve), (128, 50.0, 1), [0.99, 0.98, 0.97]),
        bench("two replicas", noisy(light(), middle()), (64, 50.0, 2), [0.94, 0.87, 0.95]),
        bench(
            "tight",
            noisy(light(), Machine::line(5_000.0, 200.0)),
            (64, 20.0, 1),
            [0.92, 0.80, 0.88],
        ),
    ]
}
