//! Decides which requests are kept: some at their arrival, others at their end.

use super::quantile::Slowest;
use parking_lot::RwLock;
use skysail_engine::request_record::{Outcome, RequestRecord};
use std::collections::HashMap;
use std::sync::Arc;

/// Most models with a latency threshold of their own. Others share one.
const MODELS_MAX: usize = 4096;

/// Reason for keeping a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The request has no response.
    Failed,
    /// The response missed the objective.
    Missed,
    /// The request is among the slowest 1 % of its model.
    Slow,
    /// The caller or the ratio chose the request at its arrival.
    Sampled,
}

impl Reason {
    /// Name in attributes of spans.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Missed => "missed",
            Self::Slow => "slow",
            Self::Sampled => "sampled",
        }
    }
}

/// Decides which requests are kept.
pub(super) struct Sampler {
    /// Trace ids below this bound are sampled, out of 2^63.
    bound: u64,
    slowest: RwLock<HashMap<Arc<str>, Arc<Slowest>>>,
    others: Arc<Slowest>,
}

impl Sampler {
    /// Samples this share, from 0 to 1, of the requests whose callers do not decide.
    pub(super) fn new(ratio: f64) -> Self {
        let bound = (ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        Self { bound, slowest: RwLock::default(), others: Arc::default() }
    }

    /// True if a request is sampled at its arrival.
    ///
    /// The caller's decision holds. Otherwise the trace id decides, alike in all servers, as in
    /// OpenTelemetry's sampler `TraceIdRatioBased`.
    pub(super) fn samples(&self, trace: u128, parent: Option<bool>) -> bool {
        // Only the lower half of the id is random in all systems.
        parent.unwrap_or((trace as u64) >> 1 < self.bound)
    }

    /// Reason to keep a finished request, if there is one.
    pub(super) fn keeps(&self, record: &RequestRecord, is_sampled: bool) -> Option<Reason> {
        let is_slow = match record.outcome {
            Outcome::Shed(_) | Outcome::Failed(_) => return Some(Reason::Failed),
            Outcome::Missed => {
                self.slowest(&record.model).is_slow(record.total_us());
                return Some(Reason::Missed);
            }
            Outcome::Answered => self.slowest(&record.model).is_slow(record.total_us()),
        };
        if is_slow { Some(Reason::Slow) } else { is_sampled.then_some(Reason::Sampled) }
    }

    fn slowest(&self, model: &Arc<str>) -> Arc<Slowest> {
        if let Some(slowest) = self.slowest.read().get(model) {
            return Arc::clone(slowest);
        }
        let mut all = self.slowest.write();
        if all.len() >= MODELS_MAX {
            return Arc::clone(&self.others);
        }
        Arc::clone(all.entry(Arc::clone(model)).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sampled ids out of a thousand.
    fn sampled(ratio: f64, parent: Option<bool>) -> usize {
        let sampler = Sampler::new(ratio);
        let id = |i: u64| u128::from(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (0..1000).filter(|&i| sampler.samples(id(i), parent)).count()
    }

    #[test]
    fn the_ratio_decides_without_a_callers_decision() {
        assert_eq!(sampled(0.0, None), 0);
        assert_eq!(sampled(1.0, None), 1000);
        assert!((80..=120).contains(&sampled(0.1, None)), "{}", sampled(0.1, None));
    }

    #[test]
    fn a_callers_decision_holds() {
        assert_eq!(sampled(0.0, Some(true)), 1000);
        assert_eq!(sampled(1.0, Some(false)), 0);
    }

    #[test]
    fn the_ratio_chooses_the_same_ids_in_every_server() {
        let (few, many) = (Sampler::new(0.1), Sampler::new(0.5));
        for trace in (0..1000_u64).map(|i| u128::from(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))) {
            assert!(!few.samples(trace, None) || many.samples(trace, None));
        }
    }
}
