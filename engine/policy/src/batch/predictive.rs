//! Default policy: batches as large as the deadlines in the queue allow, at nearly the best rate.
//!
//! An idle replica starts at once with what waits, so that batches grow with the load by
//! themselves. Learned run times decide three things:
//!
//! - the size that makes nearly the best rate within the objective, as larger batches would only
//!   make their members wait;
//! - the rows for which the most urgent request leaves time;
//! - when that is too few to keep up, the requests that cannot be met any more. Their expiry keeps
//!   the batches behind them large ("early drop" of Nexus, SOSP 2019, section 4.3).

use super::linger::Linger;
use super::size_explorer::SizeExplorer;
use super::{BatchPolicy, Decision, FinishedRun, Limits, QueueView};
use crate::ablation::{Part, is_off};
use crate::run_time::{RunTime, SIGMAS};

/// Factor by which a run may exceed [`Limits::run_us_max`].
///
/// A request that arrives just after such a run has started is not met by the next. Batches are
/// only so large under overload. Some requests are rejected then anyway, and a larger batch serves
/// the others faster.
const OVERSHOOT: f64 = 1.3;

/// Longest run, as a share of the objective.
const RUN_SHARE_MAX: f64 = 0.75;

/// Mean deviations above the mean run time that a request must have left not to expire. One that
/// would just be met by a run of mean length is too often late.
const EXPIRY_SIGMAS: f64 = 1.25;

/// Weight of a batch in the mean rows of the last batches.
const TYPICAL_WEIGHT: f64 = 0.2;

/// The policy `predictive`.
#[derive(Clone, Debug)]
pub struct Predictive {
    limits: Limits,
    /// Rows of the best batch within the objective, by the learned run times.
    rows_best: usize,
    /// Mean rows of the last batches.
    rows_typical: f64,
    linger: Linger,
    explorer: SizeExplorer,
}

impl Predictive {
    /// Makes batches within these limits; without an objective, of the most rows.
    pub fn new(limits: Limits) -> Self {
        let rows_best = limits.rows_max.max(1);
        Self {
            limits,
            rows_best,
            rows_typical: 1.0,
            linger: Linger::new(limits.objective_us.is_some()),
            explorer: SizeExplorer::default(),
        }
    }

    fn rows_best(&self, run_time: &RunTime) -> usize {
        let rows_max = self.limits.rows_max.max(1);
        let Limits { objective_us: Some(objective_us), .. } = self.limits else { return rows_max };
        let overshoot = if is_off(Part::LongBatches) { 1.0 } else { OVERSHOOT };
        let run_us_max = self.limits.run_us_max().map_or(0.0, |us| overshoot * us);
        let run_us_max = run_us_max.min(RUN_SHARE_MAX * objective_us);
        let within = run_time.rows_within(run_us_max, 0.0, rows_max).max(1);
        if is_off(Part::EfficientSize) { within } else { run_time.efficient_rows(within) }
    }

    /// Decides, whether or not a linger is under way.
    fn choose(&mut self, queue: &QueueView, run_time: &RunTime, now_us: u64) -> Decision {
        if queue.rows_waiting > self.rows_best && self.rows_best < self.limits.rows_max {
            let rows_max = (2 * self.rows_best).min(self.limits.rows_max);
            if self.explorer.is_due(rows_max, run_time) {
                return Decision::Run { rows_max };
            }
        }
        let wanted = queue.rows_waiting.min(self.rows_best).max(1);
        let Some(deadline_us) = queue.deadline_us else {
            return self.start(queue, u64::MAX, run_time, now_us);
        };
        let slack_us = deadline_us.saturating_sub(now_us) as f64;
        let run = run_time.estimate(wanted);
        let upper_us = |sigmas| run.map_or(0.0, |run| run.upper_us(sigmas)) as u64;
        if upper_us(SIGMAS) as f64 <= slack_us || is_off(Part::EarlyExpiry) {
            let latest_us = deadline_us.saturating_sub(upper_us(SIGMAS));
            return self.start(queue, latest_us, run_time, now_us);
        }
        if upper_us(EXPIRY_SIGMAS) as f64 <= slack_us {
            return Decision::Run { rows_max: wanted };
        }
        Decision::Expire { deadlines_before_us: now_us.saturating_add(upper_us(EXPIRY_SIGMAS)) }
    }

    /// Runs the rows that wait, or lingers where that pays, until `latest_us` at most.
    fn start(
        &mut self,
        queue: &QueueView,
        latest_us: u64,
        run_time: &RunTime,
        now_us: u64,
    ) -> Decision {
        if is_off(Part::Linger) || !self.linger.pays(queue.rows_waiting, run_time, now_us) {
            return Decision::Run { rows_max: self.rows_best };
        }
        self.linger.decide(queue.rows_waiting, self.rows_best, latest_us, now_us)
    }
}

impl BatchPolicy for Predictive {
    fn decide(&mut self, queue: &QueueView, run_time: &RunTime, now_us: u64) -> Decision {
        let decision = self.choose(queue, run_time, now_us);
        if !matches!(decision, Decision::Wait { .. }) {
            self.linger.end();
        }
        decision
    }

    fn set_replicas(&mut self, replicas: usize) {
        self.limits.replicas = replicas;
    }

    fn finished(&mut self, run: &FinishedRun, run_time: &RunTime, now_us: u64) {
        self.rows_typical += TYPICAL_WEIGHT * (run.rows as f64 - self.rows_typical);
        let before = self.rows_best;
        self.rows_best = self.rows_best(run_time);
        self.explorer.finished(run, before, self.rows_best);
        self.linger.finished(run, self.rows_best, now_us);
    }

    fn rows_max(&self) -> usize {
        self.rows_best
    }

    fn rows_expected(&self) -> usize {
        if is_off(Part::ExpectedRows) { 1 } else { self.rows_typical as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A millisecond and ten microseconds a row, exactly.
    fn known() -> RunTime {
        let mut run_time = RunTime::default();
        for _ in 0..200 {
            for rows in [1_usize, 4, 16, 64, 256] {
                run_time.observe(rows, 1_000.0 + 10.0 * rows as f64);
            }
        }
        run_time
    }

    fn policy(objective_us: Option<f64>) -> Predictive {
        let mut policy = Predictive::new(Limits { rows_max: 256, objective_us, replicas: 1 });
        let run = FinishedRun { rows: 1, run_us: 1.0, rows_waiting: 0 };
        policy.finished(&run, &known(), 0);
        policy
    }

    fn queue(rows_waiting: usize, deadline_us: Option<u64>) -> QueueView {
        QueueView { rows_waiting, queued_us: 0, deadline_us }
    }

    #[test]
    fn an_idle_replica_starts_at_once_with_what_waits() {
        let decision = policy(Some(20_000.0)).decide(&queue(3, Some(20_000)), &known(), 10);
        assert!(matches!(decision, Decision::Run { rows_max } if rows_max >= 3), "{decision:?}");
        let unknown = RunTime::default();
        let mut fresh =
            Predictive::new(Limits { rows_max: 8, objective_us: Some(1.0), replicas: 1 });
        let decision = fresh.decide(&queue(3, Some(2)), &unknown, 1);
        assert_eq!(decision, Decision::Run { rows_max: 8 });
    }

    #[test]
    fn a_batch_takes_two_thirds_of_the_objective_at_most() {
        // 256 rows take 3.56 ms: less than 13 ms, and more than 1.95 ms, which are 95 rows.
        assert_eq!(policy(Some(20_000.0)).rows_max(), 256);
        let rows = policy(Some(3_000.0)).rows_max();
        assert!((88..=97).contains(&rows), "{rows}");
        assert_eq!(policy(None).rows_max(), 256);
    }

    #[test]
    fn a_request_that_cannot_be_met_expires_for_those_behind() {
        let decision = policy(None).decide(&queue(256, Some(1_300)), &known(), 0);
        let Decision::Expire { deadlines_before_us } = decision else { panic!("{decision:?}") };
        assert!((3_500..4_500).contains(&deadlines_before_us), "{deadlines_before_us}");
        let decision = policy(None).decide(&queue(1, Some(900)), &known(), 0);
        assert!(matches!(decision, Decision::Expire { .. }), "{decision:?}");
    }
}
