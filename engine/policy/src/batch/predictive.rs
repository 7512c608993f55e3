//! The default: batches as large as the deadlines in the queue allow, and no larger than pays.
//!
//! An idle replica starts at once with what waits, so that batches grow with the load by
//! themselves. The model of run times says three things: which size makes nearly the best rate
//! within half of the objective (larger batches would only make their members wait); how many
//! rows the most urgent request leaves time for; and, when that is too few to keep up, which
//! requests can not be met any more, so that dropping them keeps the batches behind them large
//! (the "early drop" of Nexus, SOSP 2019, section 4.3).
//!
//! How cautious it is follows from what happens: the number of sigmas added to a run time rises
//! with each deadline missed and falls a little with each kept, and so settles where few batches in
//! a hundred are late (stochastic approximation of a quantile, Robbins and Monro 1951).

use super::linger::Linger;
use super::{BatchPolicy, Decision, FinishedRun, Limits, QueueView};
use crate::run_time::RunTime;
use crate::share_tracker::ShareTracker;

/// Rule of the sigmas: the most urgent member of one batch in a hundred misses its deadline. Fewer
/// requests do, as the others of a batch have more time.
const SIGMAS: ShareTracker = ShareTracker { target: 0.01, step: 0.25, bounds: (1.0, 8.0) };

/// How much longer a run may be than one that everybody could wait for twice. Batches are only so
/// large when more comes than can be done; then some have to be refused anyway, and a larger batch
/// serves the others faster.
const OVERSHOOT: f64 = 1.15;

/// A batch cut to fit the most urgent request must still make this part of the possible rate.
/// Otherwise that request is given up for those behind it.
const CUT_RATE_MIN: f64 = 0.9;

/// The policy `predictive`.
#[derive(Clone, Debug)]
pub struct Predictive {
    limits: Limits,
    /// Rows of the best batch within the objective, as far as is known.
    rows_best: usize,
    sigmas: f64,
    linger: Linger,
    explorer: SizeExplorer,
}

impl Predictive {
    /// Batches within these limits. Without an objective they are as large as they may be.
    pub fn new(limits: Limits) -> Self {
        let rows_best = limits.rows_max.max(1);
        Self {
            limits,
            rows_best,
            sigmas: 2.0,
            linger: Linger::default(),
            explorer: SizeExplorer::default(),
        }
    }

    fn rows_best(&self, run_time: &RunTime) -> usize {
        let rows_max = self.limits.rows_max.max(1);
        let Some(run_us_max) = self.limits.run_us_max() else { return rows_max };
        let within = run_time.rows_within(OVERSHOOT * run_us_max, 0.0, rows_max).max(1);
        run_time.efficient_rows(within)
    }

    /// Rows that a batch may have so that the most urgent request is met, or what can not be.
    fn fit(&self, wanted: usize, slack_us: f64, run_time: &RunTime) -> Option<usize> {
        let fitting = run_time.rows_within(slack_us, self.sigmas, wanted);
        if fitting >= wanted {
            return Some(fitting);
        }
        // It is cut only where the run is long by itself; a few rows less save nothing then.
        let rate = |rows: usize| run_time.predict_us(rows).map_or(1.0, |us| rows as f64 / us);
        (fitting > 0 && rate(fitting) >= CUT_RATE_MIN * rate(wanted)).then_some(fitting)
    }

    /// What to do, whether or not somebody waits already.
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
        let (run_us, upper_us) = run.map_or((0.0, 0.0), |e| (e.run_us, e.upper_us(self.sigmas)));
        match self.fit(wanted, slack_us, run_time) {
            Some(rows) if rows >= wanted => {
                let latest_us = deadline_us.saturating_sub(upper_us as u64);
                self.start(queue, latest_us, run_time, now_us)
            }
            Some(rows_max) => Decision::Run { rows_max },
            // Whoever may still be met is not given up: to promise less is for admission.
            None => Decision::Expire { deadlines_before_us: now_us.saturating_add(run_us as u64) },
        }
    }

    /// Runs what waits, or waits a moment where that pays, until `latest_us` at most.
    fn start(
        &mut self,
        queue: &QueueView,
        latest_us: u64,
        run_time: &RunTime,
        now_us: u64,
    ) -> Decision {
        if !self.linger.pays(queue.rows_waiting, run_time, now_us) {
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
        if let Some(missed) = run.missed {
            self.sigmas = SIGMAS.next(self.sigmas, missed);
        }
        let before = self.rows_best;
        self.rows_best = self.rows_best(run_time);
        self.explorer.finished(run, before, self.rows_best);
        self.linger.finished(run, self.rows_best, now_us);
    }

    fn rows_max(&self) -> usize {
        self.rows_best
    }

    fn sigmas(&self) -> f64 {
        self.sigmas
    }
}

/// Tries larger batches once in a while when more waits and nobody knows how long they run now:
/// what was too slow once would otherwise be thought so for ever.
#[derive(Clone, Debug)]
struct SizeExplorer {
    /// Full batches since the last try.
    full: u32,
    /// How many it takes until the next; doubled by each try in vain.
    patience: u32,
}

impl Default for SizeExplorer {
    fn default() -> Self {
        Self { full: 0, patience: Self::PATIENCE.0 }
    }
}

impl SizeExplorer {
    /// Least and most patience.
    const PATIENCE: (u32, u32) = (8, 1024);

    fn is_due(&mut self, rows: usize, run_time: &RunTime) -> bool {
        let is_due = self.full >= self.patience && run_time.is_old(rows);
        if is_due {
            self.full = 0;
        }
        is_due
    }

    fn finished(&mut self, run: &FinishedRun, best_before: usize, best: usize) {
        // Requests of several rows may leave a few places free.
        let is_full =
            run.rows >= best_before || (run.rows_waiting > 0 && 2 * run.rows > best_before);
        self.full = self.full.saturating_add(u32::from(is_full));
        if best > best_before {
            self.patience = Self::PATIENCE.0;
        } else if run.rows > best_before {
            self.patience = (2 * self.patience).min(Self::PATIENCE.1);
        }
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
        let run = FinishedRun { rows: 1, run_us: 1.0, missed: None, rows_waiting: 0 };
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
    fn a_batch_takes_about_half_of_the_objective_at_most() {
        // 2.56 ms + 1 ms is less than 10 ms, and more than 1.15 times 1.5 ms, which are 72 rows.
        assert_eq!(policy(Some(20_000.0)).rows_max(), 256);
        let rows = policy(Some(3_000.0)).rows_max();
        assert!((65..=73).contains(&rows), "{rows}");
        assert_eq!(policy(None).rows_max(), 256);
    }

    #[test]
    fn a_batch_shrinks_a_little_for_the_most_urgent_request() {
        let decision = policy(None).decide(&queue(256, Some(3_200)), &known(), 0);
        let Decision::Run { rows_max } = decision else { panic!("{decision:?}") };
        assert!((180..=220).contains(&rows_max), "{rows_max}");
    }

    #[test]
    fn who_can_not_be_met_is_given_up_for_those_behind() {
        let decision = policy(None).decide(&queue(256, Some(1_300)), &known(), 0);
        let Decision::Expire { deadlines_before_us } = decision else { panic!("{decision:?}") };
        assert!((3_500..4_500).contains(&deadlines_before_us), "{deadlines_before_us}");
        let decision = policy(None).decide(&queue(1, Some(900)), &known(), 0);
        assert!(matches!(decision, Decision::Expire { .. }), "{decision:?}");
    }

    #[test]
    fn missed_deadlines_make_it_cautious_and_kept_ones_bold_again() {
        let mut policy = policy(Some(3_000.0));
        let run = |missed| FinishedRun { rows: 1, run_us: 1.0, missed, rows_waiting: 0 };
        let before = policy.sigmas();
        (0..10).for_each(|_| policy.finished(&run(Some(true)), &known(), 0));
        assert!(policy.sigmas() > before + 2.0);
        (0..5_000).for_each(|_| policy.finished(&run(Some(false)), &known(), 0));
        assert_eq!(policy.sigmas(), SIGMAS.bounds.0);
    }
}
