//! Arrival times of requests. All times are microseconds from the beginning.

use super::random::Random;
use std::borrow::Borrow;
use std::sync::Arc;

/// Arrivals independent of responses: an open loop.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// Independent of each other.
    Poisson {
        /// Requests a second.
        per_s: f64,
    },
    /// Independent of each other, and in the last part of each period many times as many.
    Bursts {
        /// Requests a second between bursts.
        per_s: f64,
        /// Factor of the rate in a burst.
        times: f64,
        /// Length of a burst.
        on_us: u64,
        /// From the end of one to the end of the next.
        period_us: u64,
    },
    /// Days, each a wave that begins with its lowest point.
    Diurnal {
        /// Mean requests a second of the whole day.
        per_s: f64,
        /// Amplitude of the wave as a share of the mean, up to 1.
        swing: f64,
        /// Length of a day.
        day_us: u64,
    },
    /// Independent of each other, and each moment more or fewer until they stay as they are.
    Ramp {
        /// Requests a second at the beginning.
        from_per_s: f64,
        /// Requests a second at the end and after it.
        to_per_s: f64,
        /// Length of the ramp.
        over_us: u64,
    },
    /// Times that were recorded, in order.
    Recorded(Vec<u64>),
}

impl Arrivals {
    /// The times, in order. Only a recording ends, and what a ramp leads down to nothing.
    pub fn times(&self, seed: u64) -> Times<&Self> {
        Times::new(self, seed)
    }

    /// The same times, for a schedule that outlives this place.
    pub fn shared_times(self: Arc<Self>, seed: u64) -> Times<Arc<Self>> {
        Times::new(self, seed)
    }

    /// Returns the rate at a time.
    fn per_s(&self, at_us: f64) -> f64 {
        match *self {
            Self::Poisson { per_s } => per_s,
            Self::Bursts { per_s, times, on_us, period_us } => {
                let is_on = at_us % period_us as f64 >= period_us.saturating_sub(on_us) as f64;
                if is_on { per_s * times } else { per_s }
            }
            Self::Diurnal { per_s, swing, day_us } => {
                let angle = std::f64::consts::TAU * at_us / day_us as f64;
                per_s * (1.0 - swing * angle.cos())
            }
            Self::Ramp { from_per_s, to_per_s, over_us } => {
                let part = if at_us < over_us as f64 { at_us / over_us as f64 } else { 1.0 };
                from_per_s + (to_per_s - from_per_s) * part
            }
            Self::Recorded(_) => 0.0,
        }
    }

    fn most_per_s(&self) -> f64 {
        match *self {
            Self::Poisson { per_s } => per_s,
            Self::Bursts { per_s, times, .. } => per_s * times.max(1.0),
            Self::Diurnal { per_s, swing, .. } => per_s * (1.0 + swing),
            Self::Ramp { from_per_s, to_per_s, .. } => from_per_s.max(to_per_s),
            Self::Recorded(_) => 0.0,
        }
    }

    /// Returns true if no request arrives any more.
    fn is_over(&self, at_us: f64) -> bool {
        match *self {
            Self::Ramp { to_per_s, over_us, .. } => to_per_s <= 0.0 && at_us >= over_us as f64,
            _ => false,
        }
    }
}

/// Iterator over the times of [`Arrivals`], which it borrows or shares.
#[derive(Clone, Debug)]
pub struct Times<A> {
    arrivals: A,
    random: Random,
    at_us: f64,
    index: usize,
}

impl<A> Times<A> {
    fn new(arrivals: A, seed: u64) -> Self {
        Self { arrivals, random: Random::new(seed, 0), at_us: 0.0, index: 0 }
    }
}

impl<A: Borrow<Arrivals>> Iterator for Times<A> {
    type Item = u64;

    /// By thinning (Lewis and Shedler 1979): at the highest rate, and each kept with the part that
    /// the rate of its moment is of that.
    fn next(&mut self) -> Option<u64> {
        let arrivals = self.arrivals.borrow();
        if let Arrivals::Recorded(times) = arrivals {
            self.index += 1;
            return times.get(self.index - 1).copied();
        }
        let most_per_s = arrivals.most_per_s();
        if most_per_s <= 0.0 {
            return None;
        }
        loop {
            self.at_us += self.random.exponential(1e6 / most_per_s);
            if self.random.chance(arrivals.per_s(self.at_us) / most_per_s) {
                return Some(self.at_us as u64);
            }
            if arrivals.is_over(self.at_us) {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(arrivals: &Arrivals, from_us: u64, to_us: u64) -> usize {
        arrivals.times(5).take_while(|&at| at < to_us).filter(|&at| at >= from_us).count()
    }

    #[test]
    fn poisson_arrivals_are_as_many_and_as_scattered_as_said() {
        let arrivals = Arrivals::Poisson { per_s: 100.0 };
        let counts: Vec<f64> = {
            let mut counts = vec![0.0; 400];
            let times = arrivals.times(5).take_while(|&at| at < 400_000_000);
            times.for_each(|at| counts[at as usize / 1_000_000] += 1.0);
            counts
        };
        let mean = counts.iter().sum::<f64>() / 400.0;
        let variance = counts.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 400.0;
        assert!((98.0..102.0).contains(&mean), "{mean}");
        assert!((80.0..120.0).contains(&variance), "{variance}");
    }

    #[test]
    fn a_burst_is_the_end_of_a_period() {
        let arrivals =
            Arrivals::Bursts { per_s: 100.0, times: 10.0, on_us: 200_000, period_us: 2_000_000 };
        assert!((140..220).contains(&count(&arrivals, 0, 1_800_000)));
        assert!((160..240).contains(&count(&arrivals, 1_800_000, 2_000_000)));
        assert!((140..220).contains(&count(&arrivals, 2_000_000, 3_800_000)));
    }

    #[test]
    fn a_day_has_its_height_at_noon() {
        let arrivals = Arrivals::Diurnal { per_s: 100.0, swing: 0.8, day_us: 100_000_000 };
        let night = count(&arrivals, 0, 5_000_000);
        let noon = count(&arrivals, 47_500_000, 52_500_000);
        assert!((80..150).contains(&night) && (800..1_000).contains(&noon), "{night} {noon}");
        let day = count(&arrivals, 0, 100_000_000);
        assert!((9_700..10_300).contains(&day), "{day}");
    }

    #[test]
    fn a_ramp_leads_from_one_rate_to_the_other() {
        let up = Arrivals::Ramp { from_per_s: 0.0, to_per_s: 1_000.0, over_us: 10_000_000 };
        assert!((1_150..1_350).contains(&count(&up, 0, 5_000_000)));
        assert!((3_550..3_950).contains(&count(&up, 5_000_000, 10_000_000)));
        assert!((900..1_100).contains(&count(&up, 20_000_000, 21_000_000)));
        let down = Arrivals::Ramp { from_per_s: 1_000.0, to_per_s: 0.0, over_us: 1_000_000 };
        assert!((400..600).contains(&down.times(5).count()), "a ramp to nothing ends");
    }

    #[test]
    fn shared_times_are_the_same() {
        let arrivals = Arrivals::Poisson { per_s: 10.0 };
        let borrowed: Vec<u64> = arrivals.times(3).take(100).collect();
        let shared: Vec<u64> = Arc::new(arrivals).shared_times(3).take(100).collect();
        assert_eq!(borrowed, shared);
    }

    #[test]
    fn a_recording_is_played_and_nothing_comes_of_no_rate() {
        let recorded = Arrivals::Recorded(vec![3, 3, 8]);
        assert_eq!(recorded.times(1).collect::<Vec<_>>(), [3, 3, 8]);
        assert_eq!(Arrivals::Poisson { per_s: 0.0 }.times(1).next(), None);
    }
}
