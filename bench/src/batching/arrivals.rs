//! When requests arrive: a Poisson process whose rate may change with time. No clock: all times
//! are from the run's start, and the same seed gives the same times.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// A rate, and the bursts in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Traffic {
    /// Requests a second, above 0.
    pub(super) per_s: f64,
    /// Times in which there are more.
    pub(super) bursts: Option<Bursts>,
}

/// More requests for a while, again and again; each period ends with a burst.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bursts {
    /// How many times as many.
    pub(super) times: f64,
    /// How long.
    pub(super) length: Duration,
    /// From the beginning of one to that of the next.
    pub(super) period: Duration,
}

impl Bursts {
    /// Where `at` lies in its period, and where the burst of a period begins.
    fn place(&self, at: Duration) -> (Duration, Duration) {
        let place_ns = at.as_nanos() % self.period.as_nanos().max(1);
        // A period is far shorter than the centuries that fit.
        let place = Duration::from_nanos(u64::try_from(place_ns).unwrap_or(u64::MAX));
        (place, self.period - self.length)
    }

    /// Whether `at` is out of a burst, and at least `after` behind the last one.
    pub(super) fn is_quiet(&self, at: Duration, after: Duration) -> bool {
        let (place, burst) = self.place(at);
        place < burst && (at < self.period || place >= after)
    }
}

impl Traffic {
    /// As many requests a second all the time.
    pub(super) fn steady(per_s: f64) -> Self {
        Self { per_s, bursts: None }
    }

    /// The rate at this time, and for how many seconds it stays.
    fn rate_at(&self, at: Duration) -> (f64, f64) {
        let Some(bursts) = self.bursts else { return (self.per_s, f64::INFINITY) };
        let (place, burst) = bursts.place(at);
        if place < burst {
            (self.per_s, (burst - place).as_secs_f64())
        } else {
            (self.per_s * bursts.times, (bursts.period - place).as_secs_f64())
        }
    }
}

/// The times of all arrivals before `end`.
#[derive(Debug)]
pub(super) struct Arrivals {
    traffic: Traffic,
    random: StdRng,
    at: Duration,
    end: Duration,
}

impl Arrivals {
    pub(super) fn new(traffic: Traffic, end: Duration, seed: u64) -> Self {
        Self { traffic, random: StdRng::seed_from_u64(seed), at: Duration::ZERO, end }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        /// So that rounding can not stop the time where the rate changes.
        const STEP_MIN: Duration = Duration::from_nanos(1);
        // In a time in which one arrival is expected, an exponentially distributed part of it
        // passes; where the rate changes, the rest is spent at the new one.
        let mut left = -(1.0 - self.random.random::<f64>()).ln();
        while self.at < self.end {
            let (rate, stays_s) = self.traffic.rate_at(self.at);
            let wait_s = left / rate;
            if wait_s <= stays_s {
                self.at = self.at.saturating_add(Duration::try_from_secs_f64(wait_s).ok()?);
                return (self.at < self.end).then_some(self.at);
            }
            left -= stays_s * rate;
            self.at += Duration::from_secs_f64(stays_s).max(STEP_MIN);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURSTS: Bursts = Bursts {
        times: 10.0,
        length: Duration::from_millis(200),
        period: Duration::from_millis(2_000),
    };

    fn times(traffic: Traffic, seconds: u64, seed: u64) -> Vec<Duration> {
        Arrivals::new(traffic, Duration::from_secs(seconds), seed).collect()
    }

    #[test]
    fn the_rate_is_kept_and_the_seed_decides() {
        let steady = Traffic::steady(1_000.0);
        let first = times(steady, 20, 1);
        assert!((19_500..20_500).contains(&first.len()), "{}", first.len());
        assert!(first.is_sorted());
        assert_eq!(first, times(steady, 20, 1));
        assert_ne!(first, times(steady, 20, 2));
    }

    #[test]
    fn gaps_are_as_irregular_as_those_of_a_poisson_process() {
        let times = times(Traffic::steady(1_000.0), 20, 1);
        let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.95..1.05).contains(&(variance.sqrt() / mean)));
    }

    #[test]
    fn bursts_end_each_period_and_bring_their_times_as_many() {
        let times = times(Traffic { per_s: 500.0, bursts: Some(BURSTS) }, 20, 3);
        let (quiet, burst): (Vec<Duration>, Vec<Duration>) =
            times.into_iter().partition(|&at| BURSTS.is_quiet(at, Duration::ZERO));
        assert!((8_700..9_300).contains(&quiet.len()), "{}", quiet.len());
        assert!((9_700..10_300).contains(&burst.len()), "{}", burst.len());
    }

    #[test]
    fn quiet_begins_some_time_after_a_burst() {
        let after = Duration::from_millis(20);
        let is_quiet = |ms| BURSTS.is_quiet(Duration::from_millis(ms), after);
        assert!(is_quiet(0) && is_quiet(1_799) && is_quiet(2_020) && is_quiet(3_799));
        assert!(!is_quiet(1_800) && !is_quiet(1_999) && !is_quiet(2_019) && !is_quiet(3_800));
    }
}
