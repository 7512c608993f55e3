//! Part of the objective kept for what follows a run: waking the thread that waits for it, writing
//! the response.
//!
//! It follows the time that three responses in a thousand exceed.

use crate::share_tracker::ShareTracker;

/// Share of the responses that may take longer than the reserve.
const LONGER_SHARE: f64 = 0.003;

/// Step, as a share of the objective.
const STEP_SHARE: f64 = 0.01;

/// Smallest and largest reserve, as shares of the objective.
const SHARES: (f64, f64) = (0.1, 0.4);

/// Returns the time for queue and run within an objective, while the reserve is smallest. Same
/// unit as the objective.
pub fn inside(objective: f64) -> f64 {
    objective * (1.0 - SHARES.0)
}

/// Rule of one model's reserve; its user stores the value. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResponseReserve {
    tracker: ShareTracker,
}

impl ResponseReserve {
    /// Makes the rule for an objective.
    pub fn new(objective_us: f64) -> Self {
        let bounds = (SHARES.0 * objective_us, SHARES.1 * objective_us);
        let step = STEP_SHARE * objective_us;
        Self { tracker: ShareTracker { target: LONGER_SHARE, step, bounds } }
    }

    /// Reserve to start with, and the smallest.
    pub fn least_us(&self) -> f64 {
        self.tracker.bounds.0
    }

    /// Returns the reserve that follows `reserve_us` after a response was written `after_run_us`
    /// after its run.
    pub fn next_us(&self, reserve_us: f64, after_run_us: f64) -> f64 {
        self.tracker.next(reserve_us, after_run_us > reserve_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows 50,000 responses, of which one in `every` takes 3 ms and the others 10 us.
    fn settled_us(every: usize) -> f64 {
        let reserve = ResponseReserve::new(20_000.0);
        let after_run_us = (0..50_000).map(|n| if n % every == 0 { 3_000.0 } else { 10.0 });
        after_run_us.fold(reserve.least_us(), |us, after_us| reserve.next_us(us, after_us))
    }

    #[test]
    fn nearly_all_responses_take_no_longer() {
        assert!((2_700.0..3_300.0).contains(&settled_us(20)), "{}", settled_us(20));
        assert_eq!(settled_us(1_000_000), 2_000.0, "the least");
        assert!(settled_us(500) < 2_500.0, "{}", settled_us(500));
    }

    #[test]
    fn the_reserve_is_never_most_of_the_objective() {
        let reserve = ResponseReserve::new(20_000.0);
        let us = (0..1_000).fold(2_000.0, |us, _| reserve.next_us(us, 1e6));
        assert_eq!(us, 8_000.0);
        assert_eq!(inside(20_000.0), 18_000.0);
    }
}
