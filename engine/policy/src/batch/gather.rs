//! Starts at once, but right after a long run waits a moment for the callers it answered.
//!
//! Callers that ask again as soon as they are answered otherwise fall into two groups that take
//! turns, each batch half as large as it could be. Waiting costs a small part of a run, and ends
//! early when as many rows wait as can be expected.

use super::{BatchPolicy, Decision, FinishedRun, QueueView};

/// Part of the last run that the next one may wait.
const WAIT_SHARE: f64 = 0.125;

/// Runs shorter than this are not worth a timer.
const RUN_US_MIN: f64 = 1000.0;

/// The policy `gather`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gather {
    rows_max: usize,
    rows_expected: usize,
    wait_until_us: u64,
}

impl Gather {
    /// Batches of at most `rows_max` rows (0 counts as 1).
    pub fn new(rows_max: usize) -> Self {
        Self { rows_max: rows_max.max(1), rows_expected: 0, wait_until_us: 0 }
    }
}

impl BatchPolicy for Gather {
    fn decide(&mut self, queue: &QueueView, now_us: u64) -> Decision {
        if queue.rows_waiting < self.rows_expected && now_us < self.wait_until_us {
            return Decision::Wait { until_us: self.wait_until_us };
        }
        Decision::Run { rows_max: self.rows_max }
    }

    fn finished(&mut self, run: &FinishedRun, now_us: u64) {
        let share_us = if run.run_us >= RUN_US_MIN { run.run_us * WAIT_SHARE } else { 0.0 };
        self.wait_until_us = now_us.saturating_add(share_us as u64);
        self.rows_expected = run.rows.saturating_add(run.rows_waiting).min(self.rows_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Decision = Decision::Run { rows_max: 64 };

    fn queue(rows_waiting: usize) -> QueueView {
        QueueView { rows_waiting, oldest_queued_us: 0 }
    }

    fn after_run(rows: usize, run_us: f64, rows_waiting: usize) -> Gather {
        let mut policy = Gather::new(64);
        policy.finished(&FinishedRun { rows, run_us, rows_waiting }, 10_000);
        policy
    }

    #[test]
    fn an_idle_replica_starts_at_once() {
        assert_eq!(Gather::new(64).decide(&queue(1), 5), RUN);
        assert_eq!(after_run(32, 8_000.0, 0).decide(&queue(1), 11_000), RUN);
    }

    #[test]
    fn waits_a_part_of_the_last_run_for_those_just_answered() {
        let mut policy = after_run(32, 8_000.0, 20);
        assert_eq!(policy.decide(&queue(20), 10_000), Decision::Wait { until_us: 11_000 });
        assert_eq!(policy.decide(&queue(51), 10_500), Decision::Wait { until_us: 11_000 });
        assert_eq!(policy.decide(&queue(52), 10_500), RUN);
        assert_eq!(policy.decide(&queue(20), 11_000), RUN);
    }

    #[test]
    fn one_caller_never_waits_and_a_full_batch_neither() {
        assert_eq!(after_run(1, 8_000.0, 0).decide(&queue(1), 10_001), RUN);
        assert_eq!(after_run(64, 8_000.0, 64).decide(&queue(64), 10_000), RUN);
    }

    #[test]
    fn short_runs_are_not_waited_for() {
        assert_eq!(after_run(32, 160.0, 8).decide(&queue(8), 10_000), RUN);
    }
}
