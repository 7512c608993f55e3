//! Readings of a version's counters and its latency histogram, taken once a second.

use skysail_engine::endpoint::Endpoint;
use skysail_engine::error::{Reason, ShedReason};
use skysail_engine::observe::histogram::Snapshot;
use skysail_engine::request_record::Outcome;
use skysail_engine::stage::Stage;
use std::sync::Arc;
use std::time::Instant;

/// The counters of one version at a time.
#[derive(Clone)]
pub(super) struct Reading {
    pub(super) at: Instant,
    pub(super) counted: Counted,
}

/// Counters since a version was loaded, or between two readings.
#[derive(Clone, Default)]
pub(super) struct Counted {
    /// Requests with a response.
    pub(super) answered: u64,
    /// Responses after their objective.
    pub(super) missed: u64,
    /// Requests without a response.
    pub(super) failed: u64,
    /// Requests that were shed, in the order of [`ShedReason::ALL`].
    pub(super) shed: [u64; ShedReason::ALL.len()],
    /// Requests whose model or server failed.
    pub(super) broken: u64,
    /// Rows of all runs.
    pub(super) rows: u64,
    /// Runs.
    pub(super) runs: u64,
    /// Cache hits and misses.
    pub(super) cache: [u64; 2],
    /// Time in each stage.
    pub(super) stages: [Spent; Stage::ALL.len()],
    /// Latencies in seconds, shared by readings without a request in between.
    pub(super) latency: Option<Arc<Snapshot>>,
}

/// Time that requests spent in a stage.
#[derive(Clone, Copy, Default)]
pub(super) struct Spent {
    requests: u64,
    us: f64,
}

impl Reading {
    /// The counters of a version now.
    pub(super) fn of(model: &Endpoint) -> Self {
        let of = model.statistics();
        let spent = |stage| {
            let times = of.stage(stage);
            Spent { requests: times.count(), us: times.sum() * 1e6 }
        };
        let counted = Counted {
            answered: of.success.count(),
            missed: of.outcomes()[Outcome::Missed.index()],
            failed: of.fail.count(),
            shed: ShedReason::ALL.map(|reason| of.shed(reason)),
            broken: of.failures(Reason::Backend) + of.failures(Reason::Other),
            rows: of.rows(),
            runs: of.runs(),
            cache: [of.cache_hit.count(), of.cache_miss.count()],
            stages: Stage::ALL.map(spent),
            latency: Some(Arc::new(of.total())),
        };
        Self { at: Instant::now(), counted }
    }

    /// Shares an unchanged histogram with an earlier reading.
    pub(super) fn sharing(mut self, before: &Self) -> Self {
        if self.counted.latency == before.counted.latency {
            self.counted.latency.clone_from(&before.counted.latency);
        }
        self
    }

    /// True if this can be a later reading of the same version: counters only grow.
    pub(super) fn follows(&self, before: &Self) -> bool {
        let counters = |of: &Counted| [of.answered, of.failed, of.rows, of.runs];
        let (now, before) = (counters(&self.counted), counters(&before.counted));
        now.iter().zip(before).all(|(now, before)| *now >= before)
    }
}

impl Counted {
    /// Difference to an earlier reading.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            answered: self.answered.saturating_sub(earlier.answered),
            missed: self.missed.saturating_sub(earlier.missed),
            failed: self.failed.saturating_sub(earlier.failed),
            shed: differences(&self.shed, &earlier.shed),
            broken: self.broken.saturating_sub(earlier.broken),
            rows: self.rows.saturating_sub(earlier.rows),
            runs: self.runs.saturating_sub(earlier.runs),
            cache: differences(&self.cache, &earlier.cache),
            stages: std::array::from_fn(|stage| self.stages[stage].since(earlier.stages[stage])),
            latency: match (&self.latency, &earlier.latency) {
                (Some(now), Some(earlier)) => Some(Arc::new(now.since(earlier))),
                (now, _) => now.clone(),
            },
        }
    }

    /// Quantile of the latency, in microseconds.
    pub(super) fn latency_us(&self, quantile: f64) -> Option<f64> {
        self.latency.as_ref()?.quantile(quantile).map(|seconds| seconds * 1e6)
    }

    /// Mean time of a request in a stage, in microseconds.
    pub(super) fn stage_us(&self, stage: Stage) -> Option<f64> {
        let Spent { requests, us } = self.stages[stage as usize];
        (requests > 0).then(|| us / requests as f64)
    }

    /// Mean rows of a run.
    pub(super) fn rows_per_run(&self) -> Option<f64> {
        (self.runs > 0).then(|| self.rows as f64 / self.runs as f64)
    }

    /// Share of cache lookups that were hits.
    pub(super) fn cache_hits(&self) -> Option<f64> {
        ratio(self.cache[0], self.cache[0] + self.cache[1])
    }
}

impl Spent {
    fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            us: (self.us - earlier.us).max(0.0),
        }
    }
}

fn differences<const N: usize>(now: &[u64; N], earlier: &[u64; N]) -> [u64; N] {
    std::array::from_fn(|i| now[i].saturating_sub(earlier[i]))
}

/// Share of `some` in `all`; `None` if there are none.
pub(super) fn ratio(some: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| some as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_differences_of_two_readings() {
        let earlier = Counted { answered: 10, rows: 10, runs: 10, ..Counted::default() };
        let mut later = Counted { answered: 30, missed: 5, rows: 90, runs: 20, ..earlier.clone() };
        later.stages[Stage::Queue as usize] = Spent { requests: 20, us: 500.0 };
        later.cache = [3, 1];
        let change = later.since(&earlier);
        assert_eq!((change.answered, change.rows_per_run()), (20, Some(8.0)));
        assert_eq!((change.missed, change.cache_hits()), (5, Some(0.75)));
        assert_eq!(change.stage_us(Stage::Queue), Some(25.0));
        assert_eq!((change.stage_us(Stage::Batch), change.latency_us(0.99)), (None, None));
    }

    #[test]
    fn a_smaller_counter_means_another_version() {
        let at = Instant::now();
        let reading =
            |answered| Reading { at, counted: Counted { answered, ..Counted::default() } };
        assert!(reading(5).follows(&reading(5)));
        assert!(!reading(4).follows(&reading(5)));
    }
}
