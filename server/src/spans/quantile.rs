//! Threshold of the slowest hundredth of a stream of times, in one number.
//!
//! The threshold is a logarithm, so that a step is a share of the time (Gibbs and Candes, NeurIPS
//! 2021, section 2).

use skysail_engine::share_tracker::ShareTracker;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// One octave, in units of the threshold.
const OCTAVE: f64 = (1 << 20) as f64;

/// Rule of the threshold: one time in a hundred is above. A time below lowers it by a thousandth
/// of an octave, 0.07 %, and a time above raises it by 7 %.
const TRACKER: ShareTracker =
    ShareTracker { target: 0.01, step: 0.1 * OCTAVE, bounds: (f64::NEG_INFINITY, f64::INFINITY) };

/// Threshold before the first time.
const UNSET: i64 = i64::MIN;

/// 99th percentile of the times so far, the last thousands of them counting most.
pub(super) struct Slowest(AtomicI64);

impl Default for Slowest {
    fn default() -> Self {
        Self(AtomicI64::new(UNSET))
    }
}

impl Slowest {
    /// Takes in a time. Returns true if it is one of the slowest.
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

    /// How many of the times are told to be slow.
    fn slow(times: impl IntoIterator<Item = u64>) -> usize {
        let slowest = Slowest::default();
        times.into_iter().filter(|&us| slowest.is_slow(us)).count()
    }

    /// Times from 100 us to 10 ms, mixed by steps of a number that has no factor with their count.
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
    fn a_server_that_slows_down_has_a_new_slowest_hundredth_soon() {
        let count = slow(mixed(20_000).chain(mixed(20_000).map(|us| us * 20)));
        assert!((400..=560).contains(&count), "{count}");
    }

    proptest! {
        #[test]
        fn whatever_comes_a_hundredth_and_a_bit_is_slow(
            times in prop::collection::vec(1..u64::MAX, 1..3000),
        ) {
            // The threshold goes 64 octaves at most, a tenth of one a slow time.
            prop_assert!(slow(times.iter().copied()) <= times.len() / 100 + 650);
        }
    }
}
