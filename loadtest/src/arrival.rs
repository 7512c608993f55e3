//! When requests go out, and which of them count. No clock: all times are from the run's start.

pub mod trace;

use skysail_policy::simulate::{Arrivals, Times};
use std::sync::Arc;
use std::time::Duration;

/// What makes a request go out.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// The answer to the connection's previous request.
    Closed,
    /// The clock: this many requests a second over all connections, evenly spaced.
    Open {
        /// Requests a second, above 0.
        requests_per_s: f64,
    },
    /// The clock, at times of the kind that the simulator plays too: by chance, or recorded.
    Drawn {
        /// The law, or the recording.
        arrivals: Arc<Arrivals>,
        /// The same seed draws the same times.
        seed: u64,
    },
}

impl Arrival {
    /// Its name in reports; `None` for a closed loop.
    pub fn pattern(&self) -> Option<String> {
        let seconds = |us: u64| us as f64 / 1e6;
        let arrivals = match self {
            Self::Closed => return None,
            Self::Open { .. } => return Some("constant".to_owned()),
            Self::Drawn { arrivals, .. } => arrivals,
        };
        Some(match **arrivals {
            Arrivals::Poisson { .. } => "poisson".to_owned(),
            Arrivals::Bursts { per_s, times, on_us, period_us } => format!(
                "bursts of {times} times {per_s}/s for {} s in every {} s",
                seconds(on_us),
                seconds(period_us)
            ),
            Arrivals::Ramp { from_per_s, to_per_s, over_us } => {
                format!("ramp from {from_per_s}/s to {to_per_s}/s in {} s", seconds(over_us))
            }
            Arrivals::Diurnal { .. } => "diurnal".to_owned(),
            Arrivals::Recorded(_) => "trace".to_owned(),
        })
    }

    /// The times of one part's requests before `end`; `None` for a closed loop.
    pub(crate) fn schedule(&self, part: Part, end: Duration) -> Option<Schedule> {
        match self {
            Self::Closed => None,
            Self::Open { requests_per_s } => Some(Schedule::constant(*requests_per_s, part, end)),
            Self::Drawn { arrivals, seed } => {
                Some(Schedule::drawn(arrivals.clone(), *seed, part, end))
            }
        }
    }
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

    /// How long the intervals are into which the measurement is divided: a second, or in a short
    /// one less and in a very long one more.
    pub fn interval(self) -> Duration {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(1));
        (self.duration / 20).clamp(least, most).max(self.duration / 600)
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
    times: Law,
    end: Duration,
}

#[derive(Clone, Debug)]
enum Law {
    Even {
        next: u64,
        step: u64,
        requests_per_s: f64,
    },
    Drawn {
        times: Times<Arc<Arrivals>>,
        /// Times of other parts before the next one of this part.
        skip: usize,
        step: usize,
    },
}

impl Schedule {
    /// Evenly spaced: of all parts' requests together, every `part.of`-th one is this part's.
    pub fn constant(requests_per_s: f64, part: Part, end: Duration) -> Self {
        let (next, step) = (part.index as u64, part.of as u64);
        Self { times: Law::Even { next, step, requests_per_s }, end }
    }

    /// Of the times that a seed draws, every `part.of`-th one.
    pub fn drawn(arrivals: Arc<Arrivals>, seed: u64, part: Part, end: Duration) -> Self {
        let times = arrivals.shared_times(seed);
        Self { times: Law::Drawn { times, skip: part.index, step: part.of }, end }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let at = match &mut self.times {
            Law::Even { next, step, requests_per_s } => {
                // From the request's number, not from its predecessor: no error adds up.
                let at = Duration::try_from_secs_f64(*next as f64 / *requests_per_s).ok()?;
                *next += *step;
                at
            }
            Law::Drawn { times, skip, step } => {
                let at = Duration::from_micros(times.nth(*skip)?);
                *skip = *step - 1;
                at
            }
        };
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
    fn parts_of_what_is_drawn_make_up_the_whole_too() {
        let poisson =
            Arrival::Drawn { arrivals: Arc::new(Arrivals::Poisson { per_s: 1000.0 }), seed: 7 };
        let times = |part| poisson.schedule(part, SECOND).unwrap();
        let whole: Vec<_> = times(Part { index: 0, of: 1 }).collect();
        let mut parts: Vec<_> = Part::all(3).flat_map(times).collect();
        parts.sort();
        assert_eq!(parts, whole);
        assert!((850..1150).contains(&whole.len()), "{}", whole.len());
        assert!(whole.iter().all(|&at| at < SECOND));
    }

    #[test]
    fn a_recording_is_sent_as_it_was() {
        let arrivals = Arc::new(Arrivals::Recorded(vec![0, 0, 5, 2_000_000]));
        let recorded = Arrival::Drawn { arrivals, seed: 0 };
        let schedule = recorded.schedule(Part { index: 0, of: 1 }, SECOND).unwrap();
        assert_eq!(schedule.collect::<Vec<_>>(), [0, 0, 5].map(Duration::from_micros));
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
