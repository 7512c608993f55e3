//! Decides how long an I/O thread that sheds requests pauses before it polls its sockets again.
//!
//! Network drivers do the same under load (interrupt mitigation). At each wake-up the thread must
//! reload its code and data, which the models have evicted from the caches. The more requests share
//! a wake-up, the cheaper each rejection is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Pause, as a part of the shortest time limit of recent requests: one part in so many.
const LIMIT_PARTS: u64 = 12;

/// Longest pause, in microseconds; short beside the 5 ms within which rejections should be sent.
const PAUSE_US_MAX: u64 = 2_000;

/// Time limit of a request without an objective or timeout, in microseconds.
const NO_LIMIT_US: u64 = 6_000;

/// Decides the pauses of one I/O thread. Times are in microseconds.
///
/// It reads no clock. Its state is atomic, so that the connections of a thread share it without a
/// lock.
#[derive(Debug)]
pub struct OverloadPause {
    has_rejected: AtomicBool,
    /// Shortest recent limit; `u64::MAX` without one.
    shortest_us: AtomicU64,
}

impl Default for OverloadPause {
    fn default() -> Self {
        Self { has_rejected: AtomicBool::new(false), shortest_us: AtomicU64::new(u64::MAX) }
    }
}

impl OverloadPause {
    /// Counts a request that has `limit_us` from its arrival to its response, if it has a limit.
    pub fn on_request(&self, limit_us: Option<u64>) {
        self.shortest_us.fetch_min(limit_us.unwrap_or(NO_LIMIT_US).max(1), Relaxed);
    }

    /// Counts a request that is rejected, or has expired, because of overload.
    pub fn on_rejection(&self) {
        self.has_rejected.store(true, Relaxed);
    }

    /// Returns the pause before the next poll; `None` unless a request was rejected since the
    /// last.
    ///
    /// The shortest limit doubles with each pause, so that one that is not seen again is forgotten.
    pub fn before_poll(&self) -> Option<u64> {
        if !self.has_rejected.swap(false, Relaxed) {
            return None;
        }
        let limit_us = self.shortest_us.load(Relaxed);
        self.shortest_us.store(limit_us.saturating_mul(2), Relaxed);
        let limit_us = if limit_us == u64::MAX { NO_LIMIT_US } else { limit_us };
        Some((limit_us / LIMIT_PARTS).min(PAUSE_US_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause_us(limits_us: &[Option<u64>]) -> Option<u64> {
        let pause = OverloadPause::default();
        limits_us.iter().for_each(|&limit_us| pause.on_request(limit_us));
        pause.on_rejection();
        pause.before_poll()
    }

    #[test]
    fn a_thread_that_rejects_nothing_does_not_pause() {
        let pause = OverloadPause::default();
        pause.on_request(Some(12_000));
        assert_eq!(pause.before_poll(), None);
        pause.on_rejection();
        assert_eq!(pause.before_poll(), Some(1_000));
        assert_eq!(pause.before_poll(), None, "one pause for each poll that rejects");
    }

    #[test]
    fn the_shortest_limit_decides() {
        assert_eq!(pause_us(&[Some(60_000), Some(12_000), Some(24_000)]), Some(1_000));
        assert_eq!(pause_us(&[Some(1_000_000)]), Some(PAUSE_US_MAX));
        assert_eq!(pause_us(&[None]), Some(500));
        assert_eq!(pause_us(&[]), Some(500));
        assert_eq!(pause_us(&[Some(0)]), Some(0));
    }

    #[test]
    fn a_short_limit_that_is_not_seen_again_is_forgotten() {
        let pause = OverloadPause::default();
        pause.on_request(Some(3_000));
        let pauses_us: Vec<_> = (0..5)
            .filter_map(|_| {
                pause.on_rejection();
                pause.before_poll()
            })
            .collect();
        assert_eq!(pauses_us, [250, 500, 1_000, 2_000, 2_000]);
    }
}
