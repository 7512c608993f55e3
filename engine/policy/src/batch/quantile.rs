//! Quantile regression of run times (Clipper, NSDI 2017, section 4.3.1).
//!
//! The 99th percentile of the run time is a line over the batch size. Batches have the size at
//! which it meets the limit. The line is fitted run by run, by steps down the subgradient of the
//! pinball loss (Koenker and Bassett, Econometrica 1978).

use super::{BatchPolicy, Decision, FinishedRun, Limits, QueueView};
use crate::run_time::RunTime;

/// The quantile.
const TAU: f64 = 0.99;

/// Runs before the line is trusted; until then the size grows by half with each full batch.
const RUNS_MIN: u32 = 20;

/// A step's size, as a part of the run times seen.
const STEP: f64 = 0.05;

/// Factor by which a batch may exceed the largest one seen.
const BEYOND: f64 = 1.25;

/// The policy `quantile`.
#[derive(Clone, Copy, Debug)]
pub struct Quantile {
    limits: Limits,
    rows: usize,
    runs: u32,
    /// The line at no rows, and what a row adds.
    fixed_us: f64,
    row_us: f64,
    /// Typical run, as the unit of a step; and typical size.
    scale_us: f64,
    scale_rows: f64,
    /// The largest batch seen; forgotten slowly.
    rows_seen: f64,
}

impl Quantile {
    /// Starts with batches of one row.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            rows: 1,
            runs: 0,
            fixed_us: 0.0,
            row_us: 0.0,
            scale_us: 0.0,
            scale_rows: 1.0,
            rows_seen: 1.0,
        }
    }

    /// Takes one step down the pinball loss of a run.
    fn fit(&mut self, rows: f64, run_us: f64) {
        if self.runs == 0 {
            (self.scale_us, self.fixed_us) = (run_us, run_us);
        }
        self.scale_us += 0.05 * (run_us - self.scale_us);
        self.scale_rows += 0.05 * (rows - self.scale_rows);
        let residual = run_us - (self.fixed_us + self.row_us * rows);
        // The gradient is that of the loss with sizes in their own unit, so that both demand move.
        let gradient = if residual > 0.0 { TAU } else { TAU - 1.0 };
        // A first approach by the residual itself is much faster than steps of one length.
        let pull = if residual > 0.0 { 0.25 * residual } else { 0.02 * residual };
        let step = gradient * STEP * self.scale_us + pull;
        let unit = rows / self.scale_rows.max(1.0);
        let share = unit / (1.0 + unit);
        self.fixed_us = (self.fixed_us + step * (1.0 - share)).max(0.0);
        self.row_us = (self.row_us + step * share / rows.max(1.0)).max(0.0);
    }

    fn rows_of_line(&self) -> f64 {
        let Some(run_us_max) = self.limits.run_us_max() else { return f64::INFINITY };
        match self.row_us {
            row_us if row_us > 0.0 => (run_us_max - self.fixed_us) / row_us,
            _ if self.fixed_us <= run_us_max => f64::INFINITY,
            _ => 1.0,
        }
    }
}

impl BatchPolicy for Quantile {
    fn decide(&mut self, _queue: &QueueView, _run_time: &RunTime, _now_us: u64) -> Decision {
        Decision::Run { rows_max: self.rows }
    }

    fn set_replicas(&mut self, replicas: usize) {
        self.limits.replicas = replicas;
    }

    fn finished(&mut self, run: &FinishedRun, _run_time: &RunTime, _now_us: u64) {
        let rows = run.rows.max(1) as f64;
        self.fit(rows, run.run_us);
        self.runs = self.runs.saturating_add(1);
        self.rows_seen = (self.rows_seen * 0.999).max(rows);
        let in_time = self.limits.run_us_max().is_none_or(|run_us_max| run.run_us <= run_us_max);
        let next = match self.runs {
            runs if runs >= RUNS_MIN => {
                self.rows_of_line().min((self.rows_seen * BEYOND).max(self.rows_seen + 1.0))
            }
            _ if in_time && run.rows >= self.rows => (self.rows as f64 * 1.5).ceil(),
            _ if in_time => self.rows as f64,
            _ => self.rows as f64 / 2.0,
        };
        self.rows = next.clamp(1.0, self.limits.rows_max.max(1) as f64) as usize;
    }

    fn rows_max(&self) -> usize {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs full batches on a machine where one run in fifty takes half as long again.
    fn settle(objective_us: f64, run_us: impl Fn(f64) -> f64) -> Quantile {
        let limits = Limits { rows_max: 512, objective_us: Some(objective_us), replicas: 1 };
        let mut policy = Quantile::new(limits);
        for run in 0..4_000 {
            let slow = if run % 50 == 0 { 1.5 } else { 1.0 };
            let rows = policy.rows_max();
            let run_us = slow * run_us(rows as f64);
            let run = FinishedRun { rows, run_us, rows_waiting: 0 };
            policy.finished(&run, &RunTime::default(), 0);
        }
        policy
    }

    #[test]
    fn settles_where_slow_runs_just_fit() {
        // 10 ms are left for a run: 6.67 without the slow ones', which is 118 rows.
        let rows = settle(20_000.0, |rows| 2_000.0 + 40.0 * rows).rows_max();
        assert!((85..=190).contains(&rows), "{rows}");
    }

    #[test]
    fn a_model_that_is_always_too_slow_runs_row_by_row() {
        assert_eq!(settle(2_000.0, |rows| 5_000.0 * rows).rows_max(), 1);
    }

    #[test]
    fn a_model_that_is_always_fast_runs_the_largest_batches() {
        assert_eq!(settle(20_000.0, |rows| 10.0 + 0.1 * rows).rows_max(), 512);
    }
}
