//! When requests go out, and which of them count. No clock: all times are from the run's start.

use std::time::Duration;

/// What makes a request go out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// The answer to the connection's previous request.
    Closed,
    /// The clock: this many requests a second over all connections, evenly spaced.
    Open {
        /// Requests a second, above 0.
        requests_per_s: f64,
    },
}

/// The part of a run that is measured: all of it but the warm-up.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Sent but not counted before the measurement.
    pub warm_up: Duration,
    /// Sent and counted.
    pub duration: Duration,
}

impl Window {
    /// When the last request may go out.
    pub fn end(self) -> Duration {
        self.warm_up.saturating_add(self.duration)
    }

    /// Whether a request counts that was meant to go out `at`.
    pub fn counts(self, at: Duration) -> bool {
        at >= self.warm_up && at < self.end()
    }
}

/// One of several equal parts of the load.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Which one, from 0.
    pub index: usize,
    /// How many there are, above 0.
    pub of: usize,
}

impl Part {
    /// All parts.
    pub fn all(of: usize) -> impl Iterator<Item = Self> {
        (0..of).map(move |index| Self { index, of })
    }

    /// This part's share of `total` things; the shares of all parts add up to it.
    pub fn share(self, total: usize) -> usize {
        total / self.of + usize::from(self.index < total % self.of)
    }
}

/// The times at which the requests of one [`Part`] go out in an open loop.
#[derive(Clone, Debug)]
pub struct Schedule {
    next: u64,
    step: u64,
    requests_per_s: f64,
    end: Duration,
}

impl Schedule {
    /// Evenly spaced: of all parts' requests together, every `part.of`-th one is this part's.
    pub fn constant(requests_per_s: f64, part: Part, end: Duration) -> Self {
        Self { next: part.index as u64, step: part.of as u64, requests_per_s, end }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // From the request's number, not from its predecessor: no error adds up.
        let at = Duration::try_from_secs_f64(self.next as f64 / self.requests_per_s).ok()?;
        self.next += self.step;
        (at < self.end).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_schedule_is_evenly_spaced() {
        let times: Vec<_> = Schedule::constant(4.0, Part { index: 0, of: 1 }, SECOND).collect();
        assert_eq!(times, [0, 250, 500, 750].map(Duration::from_millis));
    }

    #[test]
    fn parts_make_up_the_whole() {
        let whole: Vec<_> = Schedule::constant(1000.0, Part { index: 0, of: 1 }, SECOND).collect();
        let mut parts: Vec<_> =
            Part::all(3).flat_map(|part| Schedule::constant(1000.0, part, SECOND)).collect();
        parts.sort();
        assert_eq!(parts, whole);
        assert_eq!(whole.len(), 1000);
    }

    #[test]
    fn a_long_schedule_does_not_drift() {
        let hour = Duration::from_secs(3600);
        let times = Schedule::constant(30.0, Part { index: 0, of: 1 }, hour);
        assert_eq!(times.count(), 30 * 3600);
    }

    #[test]
    fn a_tiny_rate_sends_once() {
        let times = Schedule::constant(1e-300, Part { index: 0, of: 1 }, SECOND);
        assert_eq!(times.collect::<Vec<_>>(), [Duration::ZERO]);
    }

    #[test]
    fn shares_add_up() {
        let shares: Vec<_> = Part::all(3).map(|part| part.share(8)).collect();
        assert_eq!(shares, [3, 3, 2]);
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let window = Window { warm_up: SECOND, duration: SECOND };
        assert!(!window.counts(Duration::from_millis(999)));
        assert!(window.counts(SECOND));
        assert!(!window.counts(2 * SECOND));
    }
}
