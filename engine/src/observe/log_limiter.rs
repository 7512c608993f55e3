//! Rate limit for log lines that a client can cause: allows a few per time window and counts the
//! suppressed ones.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Length of a window in seconds.
pub const WINDOW_S: u64 = 10;

/// Lines that are allowed in each window.
pub const LINES_MAX: u32 = 3;

/// A rate limiter without a lock. Its word holds the window's number and the lines seen in it.
#[derive(Debug, Default)]
pub struct LogLimiter(AtomicU64);

/// The decision on one log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// The line is written.
    Allow {
        /// Lines suppressed in the previous window and not reported yet.
        suppressed: u32,
    },
    /// The line is dropped.
    Suppress,
}

impl LogLimiter {
    /// Decides on a line at this time, in seconds since an arbitrary start.
    pub fn check(&self, now_s: u64) -> RateLimit {
        let window = now_s / WINDOW_S;
        let mut decision = RateLimit::Suppress;
        let count_line = |word| {
            let (of, seen) = unpack(word);
            let (seen, suppressed) = if of == window { (seen, 0) } else { (0, excess(seen)) };
            let is_allowed = seen < LINES_MAX;
            decision =
                if is_allowed { RateLimit::Allow { suppressed } } else { RateLimit::Suppress };
            Some(pack(window, seen.saturating_add(1)))
        };
        // The closure always returns a new word, so this can not fail.
        let _ = self.0.fetch_update(Relaxed, Relaxed, count_line);
        decision
    }

    /// Lines suppressed in a window that is over; each is reported once.
    pub fn suppressed(&self, now_s: u64) -> u32 {
        let window = now_s / WINDOW_S;
        let close = |word| {
            let (of, seen) = unpack(word);
            (of < window && excess(seen) > 0).then(|| pack(of, 0))
        };
        self.0.fetch_update(Relaxed, Relaxed, close).map_or(0, |word| excess(unpack(word).1))
    }
}

fn unpack(word: u64) -> (u64, u32) {
    (word >> 32, (word & u64::from(u32::MAX)) as u32)
}

fn pack(window: u64, seen: u32) -> u64 {
    window << 32 | u64::from(seen)
}

fn excess(seen: u32) -> u32 {
    seen.saturating_sub(LINES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_are_allowed_and_the_others_are_reported_once() {
        let limiter = LogLimiter::default();
        let decisions: Vec<_> = (0..10).map(|_| limiter.check(5)).collect();
        let allow = RateLimit::Allow { suppressed: 0 };
        assert_eq!(decisions[..4], [allow, allow, allow, RateLimit::Suppress]);
        assert_eq!(limiter.suppressed(9), 0, "the window is not over");
        assert_eq!(limiter.check(10), RateLimit::Allow { suppressed: 7 });
        assert_eq!(limiter.check(11), allow);
    }

    #[test]
    fn suppressed_lines_are_reported_without_a_later_line() {
        let limiter = LogLimiter::default();
        let decisions: Vec<_> = (0..5).map(|_| limiter.check(25)).collect();
        assert_eq!(decisions[3..], [RateLimit::Suppress; 2]);
        assert_eq!(limiter.suppressed(31), 2);
        assert_eq!(limiter.suppressed(31), 0);
        assert_eq!(limiter.check(32), RateLimit::Allow { suppressed: 0 });
    }
}
