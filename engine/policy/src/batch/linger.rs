//! Linger: a short wait for the clients of the last batch, whose next requests fill the batch.
//!
//! Clients that ask again at once otherwise fall into two groups that take turns. Each batch is
//! then half as large as it could be. A linger costs a small share of a run, and ends early when
//! the expected rows wait. It is used where a larger batch makes up for it. When clients do not
//! come back, lingers become ever rarer.

use super::{Decision, FinishedRun};
use crate::ablation::{Part, is_off};
use crate::run_time::RunTime;

/// Longest linger with an objective, as a share of the last run.
const WAIT_SHARE: f64 = 0.125;

/// The same without an objective, where throughput counts more than latency. Clients of one machine
/// take that long to read their responses and to ask again.
const WAIT_SHARE_FREE: f64 = 0.2;

/// Shortest run before a linger, in microseconds: a timer must be worth it.
const RUN_US_MIN: f64 = 1000.0;

/// Most runs without a linger after lingers in vain.
const SKIPPED_MAX: u32 = 256;

/// State of the lingers before one queue.
#[derive(Clone, Debug)]
pub(super) struct Linger {
    wait_share: f64,
    rows_expected: usize,
    until_us: u64,
    /// Rows when the linger began; `None` before.
    rows_at_first: Option<usize>,
    /// Runs left without a linger.
    skip: u32,
    /// Runs without a linger after the last one in vain.
    next_skip: u32,
}

impl Linger {
    pub(super) fn new(has_objective: bool) -> Self {
        let wait_share = if has_objective { WAIT_SHARE } else { WAIT_SHARE_FREE };
        let (rows_expected, until_us, rows_at_first, skip, next_skip) = (0, 0, None, 0, 0);
        Self { wait_share, rows_expected, until_us, rows_at_first, skip, next_skip }
    }

    /// Returns true if the expected rows take less time a row, linger included, than the rows that
    /// wait take at once. Also true where the run time of the expected rows is stale.
    pub(super) fn pays(&self, rows_waiting: usize, run_time: &RunTime, now_us: u64) -> bool {
        let wait_us = self.until_us.saturating_sub(now_us) as f64;
        let row_us = |rows: usize, wait_us: f64| {
            run_time.predict_us(rows).map(|run_us| (wait_us + run_us) / rows.max(1) as f64)
        };
        let (then_us, now_us) = (row_us(self.rows_expected, wait_us), row_us(rows_waiting, 0.0));
        is_off(Part::LingerCompare)
            || run_time.is_stale(self.rows_expected)
            || then_us.zip(now_us).is_none_or(|(then_us, now_us)| then_us < now_us)
    }

    /// Ends a linger without a judgement.
    pub(super) fn end(&mut self) {
        self.rows_at_first = None;
    }

    /// Runs the batch, or lingers until `latest_us` at most.
    pub(super) fn decide(
        &mut self,
        rows_waiting: usize,
        rows_max: usize,
        latest_us: u64,
        now_us: u64,
    ) -> Decision {
        if rows_waiting < self.rows_expected && now_us < self.until_us.min(latest_us) {
            self.rows_at_first.get_or_insert(rows_waiting);
            return Decision::Wait { until_us: self.until_us.min(latest_us) };
        }
        self.judge(rows_waiting);
        Decision::Run { rows_max }
    }

    /// Judges the linger that ends: in vain unless half of the missing rows arrived.
    fn judge(&mut self, rows_waiting: usize) {
        let Some(at_first) = self.rows_at_first.take() else { return };
        let missing = self.rows_expected.saturating_sub(at_first);
        if 2 * rows_waiting.saturating_sub(at_first) >= missing {
            self.next_skip = 0;
            return;
        }
        self.next_skip = (2 * self.next_skip).clamp(1, SKIPPED_MAX);
        self.skip = if is_off(Part::LingerSkip) { 0 } else { self.next_skip };
    }

    /// Learns from a run, while batches may have `rows_max` rows.
    pub(super) fn finished(&mut self, run: &FinishedRun, rows_max: usize, now_us: u64) {
        if self.rows_at_first.is_some() {
            // The run of another replica does not prolong a linger.
            return;
        }
        self.rows_expected = run.rows.saturating_add(run.rows_waiting).min(rows_max);
        self.until_us = now_us;
        if run.run_us < RUN_US_MIN {
            return;
        }
        match self.skip {
            0 => self.until_us = now_us.saturating_add((run.run_us * self.wait_share) as u64),
            _ => self.skip -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Decision = Decision::Run { rows_max: 64 };

    fn run(rows: usize, run_us: f64, rows_waiting: usize) -> FinishedRun {
        FinishedRun { rows, run_us, rows_waiting }
    }

    fn after_run(rows: usize, run_us: f64, rows_waiting: usize) -> Linger {
        let mut linger = Linger::new(true);
        linger.finished(&run(rows, run_us, rows_waiting), 64, 10_000);
        linger
    }

    fn decide(linger: &mut Linger, rows_waiting: usize, now_us: u64) -> Decision {
        linger.decide(rows_waiting, 64, u64::MAX, now_us)
    }

    #[test]
    fn lingers_a_share_of_the_last_run_for_its_clients() {
        let mut linger = after_run(32, 8_000.0, 20);
        assert_eq!(decide(&mut linger, 20, 10_000), Decision::Wait { until_us: 11_000 });
        assert_eq!(decide(&mut linger, 51, 10_500), Decision::Wait { until_us: 11_000 });
        assert_eq!(decide(&mut linger, 52, 10_500), RUN);
    }

    #[test]
    fn without_an_objective_a_linger_is_longer() {
        let mut linger = Linger::new(false);
        linger.finished(&run(32, 8_000.0, 20), 64, 10_000);
        assert_eq!(decide(&mut linger, 20, 10_000), Decision::Wait { until_us: 11_600 });
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let mut linger = after_run(32, 8_000.0, 20);
        assert_eq!(linger.decide(20, 64, 10_200, 10_000), Decision::Wait { until_us: 10_200 });
        assert_eq!(linger.decide(20, 64, 10_200, 10_200), RUN);
    }

    #[test]
    fn one_caller_never_waits_and_a_full_batch_neither() {
        assert_eq!(decide(&mut after_run(1, 8_000.0, 0), 1, 10_001), RUN);
        assert_eq!(decide(&mut after_run(64, 8_000.0, 64), 64, 10_000), RUN);
        assert_eq!(decide(&mut Linger::new(true), 1, 5), RUN);
        assert_eq!(decide(&mut after_run(32, 8_000.0, 0), 1, 11_000), RUN);
    }

    #[test]
    fn short_runs_are_not_waited_for() {
        assert_eq!(decide(&mut after_run(32, 160.0, 8), 8, 10_000), RUN);
    }

    #[test]
    fn a_wait_is_for_models_that_a_larger_batch_makes_up_for_it() {
        let learned = |run_us: fn(f64) -> f64| {
            let mut run_time = RunTime::default();
            for rows in [1_u8, 2, 4, 8, 16, 32, 64] {
                (0..200).for_each(|_| run_time.observe(rows.into(), run_us(rows.into())));
            }
            run_time
        };
        let pays =
            |run_time: &RunTime, rows| after_run(32, 8_000.0, 20).pays(rows, run_time, 10_000);
        // 52 rows a millisecond later instead of some now.
        let by_row = learned(|rows| 150.0 * rows);
        assert!(!pays(&by_row, 1) && !pays(&by_row, 40));
        let shared = learned(|rows| 6_000.0 + 30.0 * rows);
        assert!(pays(&shared, 20) && !pays(&shared, 51));
        assert!(pays(&RunTime::default(), 20));
    }

    #[test]
    fn waits_in_vain_become_rare_and_one_that_pays_brings_them_back() {
        let mut linger = Linger::new(true);
        let mut waits = 0;
        let mut now_us = 0;
        for _ in 0..1_000 {
            linger.finished(&run(32, 8_000.0, 20), 64, now_us);
            waits += u32::from(decide(&mut linger, 20, now_us) != RUN);
            now_us += 10_000;
            assert_eq!(decide(&mut linger, 21, now_us), RUN);
        }
        assert!((5..15).contains(&waits), "{waits}");
        for came_back in 0..300 {
            linger.finished(&run(32, 8_000.0, 20), 64, now_us);
            let waited = decide(&mut linger, 20, now_us) != RUN;
            now_us += 500;
            assert_eq!(decide(&mut linger, 52, now_us), RUN);
            assert!(waited || came_back < 299);
        }
    }
}
