//! Tracks the 99th percentile of a stream of latencies in a single number.
//!
//! The threshold is a logarithm, so that a step is a share of the latency (Gibbs and Candes, NeurIPS
//! 2021, section 2).

use skysail_engine::share_tracker::ShareTracker;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// An octave, in units of the threshold.
const OCTAVE: f64 = (1 << 20) as f64;

/// Step rule: one latency in a hundred is above the threshold. A latency below lowers it by a
/// thousandth of an octave, 0.07 %. A latency above raises it by 7 %.
const TRACKER: ShareTracker =
    ShareTracker { target: 0.01, step: 0.1 * OCTAVE, bounds: (f64::NEG_INFINITY, f64::INFINITY) };

/// Threshold before the first latency.
const UNSET: i64 = i64::MIN;

/// Tracker of the 99th percentile. The last thousands of latencies count most.
pub(super) struct Slowest(AtomicI64);

impl Default for Slowest {
    fn default() -> Self {
        Self(AtomicI64::new(UNSET))
    }
}

impl Slowest {
    /// Adds a latency. Returns true if it is among the slowest.
    pub(super) fn is_slow(&self, us: u64) -> bool {
        let time = (us.max(1) as f64).log2() * OCTAVE;
        let time = time as i64;
        let threshold = self.0.load(Relaxed);
        if threshold == UNSET {
            self.0.store(time, Relaxed);
            return false;
        }
        let is_above = time > threshold;
        self.0.fetch_add(TRACKER.delta(is_above) as i64, Relaxed);
        is_above
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Number of the latencies that count as slow.
    fn slow(times: impl IntoIterator<Item = u64>) -> usize {
        let slowest = Slowest::default();
        times.into_iter().filter(|&us| slowest.is_slow(us)).count()
    }

    /// Latencies from 100 us to 10 ms in a mixed order.
    fn mixed(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(|i| 100 + i * 7919 % 9900)
    }

    #[test]
    fn one_in_a_hundred_is_slow() {
        let count = slow(mixed(20_000));
        assert!((180..=300).contains(&count), "{count}");
        assert!((180..=220).contains(&slow((0..20_000).map(|_| 500))));
    }

    #[test]
    fn the_slow_ones_are_the_slowest() {
        let slowest = Slowest::default();
        let first = mixed(20_000).filter(|&us| slowest.is_slow(us)).count();
        assert!(first > 0);
        assert!(slowest.is_slow(20_000) && slowest.is_slow(20_000));
        assert!(!slowest.is_slow(5000));
    }

    #[test]
    fn the_threshold_follows_a_server_that_slows_down() {
        let count = slow(mixed(20_000).chain(mixed(20_000).map(|us| us * 20)));
        assert!((400..=560).contains(&count), "{count}");
    }

    proptest! {
        #[test]
        fn about_one_in_a_hundred_is_slow_for_any_latencies(
            times in prop::collection::vec(1..u64::MAX, 1..3000),
        ) {
            // The threshold rises 64 octaves at most, a tenth of one with each slow latency.
            prop_assert!(slow(times.iter().copied()) <= times.len() / 100 + 650);
        }
    }
}
