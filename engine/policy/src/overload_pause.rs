//! How long an I/O thread that rejects requests pauses before it polls its sockets again.
//!
//! Network drivers do the same under load (interrupt mitigation). Each wake-up costs the thread's
//! code and data a trip from memory, as the models' own have taken their place in the caches. The
//! more requests share a wake-up, the cheaper each rejection is.

/// Pause, as a share of the shortest time that requests of late were given.
const PAUSE_SHARE: f64 = 1.0 / 12.0;

/// Longest pause, in microseconds; short beside the 5 ms within which rejections should be sent.
const PAUSE_US_MAX: u64 = 2_000;

/// Time that a request without an objective or timeout counts as having, in microseconds.
const NO_LIMIT_US: u64 = 6_000;

/// Decides the pauses of one I/O thread. Times are in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverloadPause {
    has_rejected: bool,
    shortest_us: Option<u64>,
}

impl OverloadPause {
    /// Counts a request that has `limit_us` from its arrival to its response, if it has a limit.
    pub fn on_request(&mut self, limit_us: Option<u64>) {
        let limit_us = limit_us.unwrap_or(NO_LIMIT_US).max(1);
        self.shortest_us = Some(self.shortest_us.map_or(limit_us, |us| us.min(limit_us)));
    }

    /// Counts a request that is rejected, or has expired, because of overload.
    pub fn on_rejection(&mut self) {
        self.has_rejected = true;
    }

    /// Returns the pause before the next poll; `None` unless a request was rejected since the
    /// last.
    ///
    /// The shortest limit doubles with each pause, so that one that is not seen again is forgotten.
    pub fn before_poll(&mut self) -> Option<u64> {
        if !std::mem::take(&mut self.has_rejected) {
            return None;
        }
        let limit_us = self.shortest_us.unwrap_or(NO_LIMIT_US);
        self.shortest_us = self.shortest_us.map(|us| us.saturating_mul(2));
        Some(((limit_us as f64 * PAUSE_SHARE) as u64).min(PAUSE_US_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause_us(limits_us: &[Option<u64>]) -> Option<u64> {
        let mut pause = OverloadPause::default();
        limits_us.iter().for_each(|&limit_us| pause.on_request(limit_us));
        pause.on_rejection();
        pause.before_poll()
    }

    #[test]
    fn a_thread_that_rejects_nothing_does_not_pause() {
        let mut pause = OverloadPause::default();
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
        let mut pause = OverloadPause::default();
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
