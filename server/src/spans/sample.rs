//! Which requests are kept: decided for some at their arrival, for the others at their end.

use super::quantile::Slowest;
use parking_lot::RwLock;
use skysail_engine::request_record::{Outcome, RequestRecord};
use std::collections::HashMap;
use std::sync::Arc;

/// Models that have a slowest hundredth of their own; others share one.
const MODELS_MAX: usize = 4096;

/// Why a request is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It got no answer.
    Failed,
    /// Its answer came after the objective.
    Missed,
    /// It is of the slowest hundredth of its model's.
    Slow,
    /// Its caller or the ratio chose it at its arrival.
    Sampled,
}

impl Why {
    /// As an attribute.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Missed => "missed",
            Self::Slow => "slow",
            Self::Sampled => "sampled",
        }
    }
}

/// Decides.
pub(super) struct Sampler {
    /// Of the 2^63 values that a trace's id may have for it, those that are sampled.
    bound: u64,
    slowest: RwLock<HashMap<Arc<str>, Arc<Slowest>>>,
    others: Arc<Slowest>,
}

impl Sampler {
    /// Samples this share of what no caller decides, from 0 to 1.
    pub(super) fn new(ratio: f64) -> Self {
        let bound = (ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        Self { bound, slowest: RwLock::default(), others: Arc::default() }
    }

    /// Whether a request's trace is sampled at its arrival. What its caller decided holds, else its
    /// id decides, as it does in other servers (OpenTelemetry's sampler `TraceIdRatioBased`).
    pub(super) fn samples(&self, trace: u128, parent: Option<bool>) -> bool {
        // The lower half of the id is what is random in all systems.
        parent.unwrap_or((trace as u64) >> 1 < self.bound)
    }

    /// Why to keep a request that is over, if there is a reason.
    pub(super) fn keeps(&self, record: &RequestRecord, is_sampled: bool) -> Option<Why> {
        let is_slow = match record.outcome {
            Outcome::Refused(_) | Outcome::Failed(_) => return Some(Why::Failed),
            Outcome::Missed => {
                self.slowest(&record.model).is_slow(record.total_us());
                return Some(Why::Missed);
            }
            Outcome::Answered => self.slowest(&record.model).is_slow(record.total_us()),
        };
        if is_slow { Some(Why::Slow) } else { is_sampled.then_some(Why::Sampled) }
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

    /// How many of a thousand ids are sampled.
    fn sampled(ratio: f64, parent: Option<bool>) -> usize {
        let sampler = Sampler::new(ratio);
        let id = |i: u64| u128::from(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (0..1000).filter(|&i| sampler.samples(id(i), parent)).count()
    }

    #[test]
    fn the_ratio_decides_where_no_caller_did() {
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
