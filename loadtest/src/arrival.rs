//! Send times of requests, and the window in which they count. No clock: all times are from the
//! run's start.

use skysail_policy::simulate::{Arrivals, Times};
use std::sync::Arc;
use std::time::Duration;

/// Rule by which requests go out.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// Closed loop: a connection sends its next request when the previous one is answered.
    Closed,
    /// Open loop: evenly spaced requests, at this rate over all connections.
    Constant {
        /// Requests a second, above 0.
        requests_per_s: f64,
    },
    /// Open loop: random or recorded times, the same that the simulator plays.
    Process {
        /// Random process or recording.
        arrivals: Arc<Arrivals>,
        /// Seed of the times: the same seed gives the same times.
        seed: u64,
    },
}

impl Arrival {
    /// Name in reports; `None` for a closed loop.
    pub fn pattern(&self) -> Option<String> {
        let seconds = |us: u64| us as f64 / 1e6;
        let arrivals = match self {
            Self::Closed => return None,
            Self::Constant { .. } => return Some("constant".to_owned()),
            Self::Process { arrivals, .. } => arrivals,
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

    /// Send times of one partition before `end`; `None` for a closed loop.
    pub(crate) fn schedule(&self, part: Partition, end: Duration) -> Option<Schedule> {
        match self {
            Self::Closed => None,
            Self::Constant { requests_per_s } => {
                Some(Schedule::constant(*requests_per_s, part, end))
            }
            Self::Process { arrivals, seed } => {
                Some(Schedule::process(arrivals.clone(), *seed, part, end))
            }
        }
    }
}

/// Time span of a run: the warm-up, then the measurement.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Requests sent before the measurement, which do not count.
    pub warm_up: Duration,
    /// Length of the measurement.
    pub duration: Duration,
}

impl Window {
    /// End of the measurement, after which no request goes out.
    pub fn end(self) -> Duration {
        self.warm_up.saturating_add(self.duration)
    }

    /// Length of the intervals of the measurement: a second. Short measurements have shorter
    /// intervals, very long ones longer ones.
    pub fn interval(self) -> Duration {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(1));
        (self.duration / 20).clamp(least, most).max(self.duration / 600)
    }

    /// True if a request that is scheduled `at` counts.
    pub fn counts(self, at: Duration) -> bool {
        at >= self.warm_up && at < self.end()
    }
}

/// Equal partition of the load, one for each thread.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    /// Number of the partition, from 0.
    pub index: usize,
    /// Number of partitions, above 0.
    pub count: usize,
}

impl Partition {
    /// Iterates over all partitions.
    pub fn all(count: usize) -> impl Iterator<Item = Self> {
        (0..count).map(move |index| Self { index, count })
    }

    /// Share of `total` things; the shares of all partitions add up to it.
    pub fn share(self, total: usize) -> usize {
        total / self.count + usize::from(self.index < total % self.count)
    }

    /// Number of things in the shares before this one.
    pub fn first(self, total: usize) -> usize {
        total / self.count * self.index + self.index.min(total % self.count)
    }
}

/// Send times of the requests of one [`Partition`] in an open loop.
#[derive(Clone, Debug)]
pub struct Schedule {
    times: SendTimes,
    end: Duration,
}

#[derive(Clone, Debug)]
enum SendTimes {
    Constant {
        next: u64,
        step: u64,
        requests_per_s: f64,
    },
    Process {
        times: Times<Arc<Arrivals>>,
        /// Times of other partitions before the next one of this partition.
        skip: usize,
        step: usize,
    },
}

impl Schedule {
    /// Evenly spaced times: every `part.count`-th one of all is this partition's.
    pub fn constant(requests_per_s: f64, part: Partition, end: Duration) -> Self {
        let (next, step) = (part.index as u64, part.count as u64);
        Self { times: SendTimes::Constant { next, step, requests_per_s }, end }
    }

    /// Times of a process: every `part.count`-th one of all is this partition's.
    pub fn process(arrivals: Arc<Arrivals>, seed: u64, part: Partition, end: Duration) -> Self {
        let times = arrivals.shared_times(seed);
        Self { times: SendTimes::Process { times, skip: part.index, step: part.count }, end }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let at = match &mut self.times {
            SendTimes::Constant { next, step, requests_per_s } => {
                // Each time follows from the request's number, so that no rounding error adds up.
                let at = Duration::try_from_secs_f64(*next as f64 / *requests_per_s).ok()?;
                *next += *step;
                at
            }
            SendTimes::Process { times, skip, step } => {
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
        let times: Vec<_> =
            Schedule::constant(4.0, Partition { index: 0, count: 1 }, SECOND).collect();
        assert_eq!(times, [0, 250, 500, 750].map(Duration::from_millis));
    }

    #[test]
    fn partitions_make_up_the_whole() {
        let whole: Vec<_> =
            Schedule::constant(1000.0, Partition { index: 0, count: 1 }, SECOND).collect();
        let mut parts: Vec<_> =
            Partition::all(3).flat_map(|part| Schedule::constant(1000.0, part, SECOND)).collect();
        parts.sort();
        assert_eq!(parts, whole);
        assert_eq!(whole.len(), 1000);
    }

    #[test]
    fn partitions_of_a_process_make_up_the_whole() {
        let poisson =
            Arrival::Process { arrivals: Arc::new(Arrivals::Poisson { per_s: 1000.0 }), seed: 7 };
        let times = |part| poisson.schedule(part, SECOND).unwrap();
        let whole: Vec<_> = times(Partition { index: 0, count: 1 }).collect();
        let mut parts: Vec<_> = Partition::all(3).flat_map(times).collect();
        parts.sort();
        assert_eq!(parts, whole);
        assert!((850..1150).contains(&whole.len()), "{}", whole.len());
        assert!(whole.iter().all(|&at| at < SECOND));
    }

    #[test]
    fn a_recording_is_sent_as_it_was() {
        let arrivals = Arc::new(Arrivals::Recorded(vec![0, 0, 5, 2_000_000]));
        let recorded = Arrival::Process { arrivals, seed: 0 };
        let schedule = recorded.schedule(Partition { index: 0, count: 1 }, SECOND).unwrap();
        assert_eq!(schedule.collect::<Vec<_>>(), [0, 0, 5].map(Duration::from_micros));
    }

    #[test]
    fn a_long_schedule_does_not_drift() {
        let hour = Duration::from_secs(3600);
        let times = Schedule::constant(30.0, Partition { index: 0, count: 1 }, hour);
        assert_eq!(times.count(), 30 * 3600);
    }

    #[test]
    fn a_tiny_rate_sends_once() {
        let times = Schedule::constant(1e-300, Partition { index: 0, count: 1 }, SECOND);
        assert_eq!(times.collect::<Vec<_>>(), [Duration::ZERO]);
    }

    #[test]
    fn shares_add_up() {
        let firsts: Vec<_> = Partition::all(3).map(|part| part.first(8)).collect();
        assert_eq!(firsts, [0, 3, 6]);
        let shares: Vec<_> = Partition::all(3).map(|part| part.share(8)).collect();
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
