//! Additive increase, multiplicative decrease (Clipper, NSDI 2017, section 4.3.1).
//!
//! The size grows by a row with each full batch in time, and shrinks by a tenth with each late one.

use super::{BatchPolicy, Decision, FinishedRun, Limits, QueueView};
use crate::run_time::RunTime;

/// Rows added for a full batch in time.
const INCREASE: f64 = 1.0;

/// Factor of the size after a late batch.
const DECREASE: f64 = 0.9;

/// The policy `aimd`.
#[derive(Clone, Copy, Debug)]
pub struct Aimd {
    limits: Limits,
    rows: f64,
}

impl Aimd {
    /// Starts with batches of one row.
    pub fn new(limits: Limits) -> Self {
        Self { limits, rows: 1.0 }
    }
}

impl BatchPolicy for Aimd {
    fn decide(&mut self, _queue: &QueueView, _run_time: &RunTime, _now_us: u64) -> Decision {
        Decision::Run { rows_max: self.rows_max() }
    }

    fn set_replicas(&mut self, replicas: usize) {
        self.limits.replicas = replicas;
    }

    fn finished(&mut self, run: &FinishedRun, _run_time: &RunTime, _now_us: u64) {
        let is_late = self.limits.run_us_max().is_some_and(|run_us_max| run.run_us > run_us_max);
        if is_late {
            self.rows *= DECREASE;
        } else if run.rows >= self.rows_max() {
            self.rows += INCREASE;
        }
        self.rows = self.rows.clamp(1.0, self.limits.rows_max.max(1) as f64);
    }

    fn rows_max(&self) -> usize {
        self.rows as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { rows_max: 64, objective_us: Some(2_000.0), replicas: 1 }
    }

    fn finish(policy: &mut Aimd, rows: usize, run_us: f64) {
        let run = FinishedRun { rows, run_us, rows_waiting: 0 };
        policy.finished(&run, &RunTime::default(), 0);
    }

    #[test]
    fn grows_by_a_row_with_each_full_batch_in_time() {
        let mut policy = Aimd::new(limits());
        (1..=10).for_each(|rows| finish(&mut policy, rows, 100.0));
        assert_eq!(policy.rows_max(), 11);
        (0..10).for_each(|_| finish(&mut policy, 3, 100.0));
        assert_eq!(policy.rows_max(), 11, "a batch that is not full says nothing");
        (0..100).for_each(|_| finish(&mut policy, 64, 100.0));
        assert_eq!(policy.rows_max(), 64);
    }

    #[test]
    fn shrinks_by_a_tenth_when_a_run_is_longer_than_half_of_the_objective() {
        let mut policy = Aimd { rows: 60.0, ..Aimd::new(limits()) };
        finish(&mut policy, 60, 1_001.0);
        assert_eq!(policy.rows_max(), 54);
        (0..100).for_each(|_| finish(&mut policy, 1, 5_000.0));
        assert_eq!(policy.rows_max(), 1);
    }

    #[test]
    fn settles_where_runs_just_fit() {
        let mut policy = Aimd::new(limits());
        for _ in 0..500 {
            let rows = policy.rows_max();
            finish(&mut policy, rows, 100.0 + 30.0 * rows as f64);
        }
        assert!((26..=31).contains(&policy.rows_max()), "{}", policy.rows_max());
    }
}
