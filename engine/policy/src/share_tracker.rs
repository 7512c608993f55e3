//! Step of a threshold that a given share of events exceeds.
//!
//! Each event above the threshold raises it by a step, and each below lowers it by a smaller one.
//! The steps cancel where the share is the target (stochastic approximation of a quantile, Robbins
//! and Monro, Annals of Mathematical Statistics 1951). A constant step follows a distribution that
//! changes (Gibbs and Candes, NeurIPS 2021).

/// Rule of a threshold; its user stores the value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShareTracker {
    /// Share of the events that should be above the threshold, from 0 to 1.
    pub target: f64,
    /// Step, in the threshold's unit.
    pub step: f64,
    /// Least and largest threshold.
    pub bounds: (f64, f64),
}

impl ShareTracker {
    /// Returns the change of the threshold after an event, without bounds.
    pub const fn delta(&self, is_above: bool) -> f64 {
        if is_above { self.step * (1.0 - self.target) } else { -self.step * self.target }
    }

    /// Returns the threshold that follows `value` after one event.
    pub fn next(&self, value: f64, is_above: bool) -> f64 {
        self.next_of(value, is_above, 1)
    }

    /// Returns the threshold that follows `value` after `count` events alike.
    pub fn next_of(&self, value: f64, is_above: bool, count: usize) -> f64 {
        let (least, most) = self.bounds;
        (value + count as f64 * self.delta(is_above)).clamp(least, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACKER: ShareTracker = ShareTracker { target: 0.05, step: 1.0, bounds: (0.0, 100.0) };

    /// Follows events that are spread evenly over 0 to 60.
    fn settled(tracker: ShareTracker) -> f64 {
        let events = (0..20_000_u64).map(|i| (i * 7_919 % 6_000) as f64 / 100.0);
        events.fold(0.0, |value, event| tracker.next(value, event > value))
    }

    #[test]
    fn the_target_share_of_events_is_above() {
        assert!((55.0..59.0).contains(&settled(TRACKER)), "{}", settled(TRACKER));
    }

    #[test]
    fn the_threshold_stays_within_its_bounds() {
        let bounded = ShareTracker { bounds: (10.0, 20.0), ..TRACKER };
        assert_eq!(settled(bounded), 20.0);
        assert_eq!((0..1_000).fold(15.0, |value, _| bounded.next(value, false)), 10.0);
    }

    #[test]
    fn many_events_at_once_are_as_many_steps() {
        let one_by_one = (0..7).fold(30.0, |value, _| TRACKER.next(value, true));
        assert!((TRACKER.next_of(30.0, true, 7) - one_by_one).abs() < 1e-9);
    }
}
