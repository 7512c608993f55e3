//! Time of a request outside of the queue and its run, on the way in and out. It shares the cores
//! with everything else there, so it depends on the rate.

use super::random::Random;
use crate::overload_pause::OverloadPause;
use crate::response_reserve::ResponseReserve;

/// Everything besides the queue and the runs. The default takes no time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overhead {
    /// For how long each request takes up the front, which takes them in one after another.
    pub front_us: f64,
    /// Measurements at several rates, by rising rate. Between two of them they are interpolated.
    pub levels: Vec<Level>,
    /// Over how long the rate of a moment is taken.
    pub over_us: f64,
    /// Objective as clients see it. The server keeps a reserve of it for what follows a run. If
    /// absent, requests have the objective of the limits.
    pub objective_us: Option<f64>,
}

/// Measurements at one rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// Requests a second.
    pub per_s: f64,
    /// Factor of the run times against runs on an idle machine.
    pub run_times: f64,
    /// Time outside of the queue and the run: evenly spaced quantiles from the shortest to the
    /// longest.
    pub around_us: Vec<f64>,
}

impl Overhead {
    /// Returns the two levels around a rate, and the weight of the second.
    fn between(&self, per_s: f64) -> Option<(&Level, &Level, f64)> {
        let above = self.levels.partition_point(|level| level.per_s < per_s);
        let high = self.levels.get(above).or(self.levels.last())?;
        let low = self.levels.get(above.saturating_sub(1)).unwrap_or(high);
        let width = high.per_s - low.per_s;
        let part = if width > 0.0 { ((per_s - low.per_s) / width).clamp(0.0, 1.0) } else { 0.0 };
        Some((low, high, part))
    }

    /// Returns the factor of the run times at a rate.
    pub(super) fn run_times(&self, per_s: f64) -> f64 {
        self.between(per_s)
            .map_or(1.0, |(low, high, part)| mix(low.run_times, high.run_times, part))
    }

    /// Draws the time of one request outside at a rate.
    pub(super) fn around_us(&self, per_s: f64, random: &mut Random) -> f64 {
        let Some((low, high, part)) = self.between(per_s) else { return 0.0 };
        let share = random.unit();
        mix(at_share(&low.around_us, share), at_share(&high.around_us, share), part)
    }
}

fn mix(low: f64, high: f64, part: f64) -> f64 {
    low + part * (high - low)
}

/// The value at a share, from 0 to 1, of evenly spaced quantiles; 0 without any.
pub(super) fn at_share(quantiles: &[f64], share: f64) -> f64 {
    let Some(last) = quantiles.len().checked_sub(1) else { return 0.0 };
    let place = share * last as f64;
    let index = (place as usize).min(last);
    let next = quantiles[(index + 1).min(last)];
    mix(quantiles[index], next, place - index as f64)
}

/// Recent rate of requests: each counts less the longer ago it arrived.
#[derive(Debug)]
pub(super) struct Rate {
    over_us: f64,
    at_us: u64,
    /// Requests, and the time that they came in, each with the weight of its age.
    requests: f64,
    time_us: f64,
}

impl Rate {
    pub(super) fn new(over_us: f64) -> Self {
        Self { over_us: over_us.max(1.0), at_us: 0, requests: 0.0, time_us: 0.0 }
    }

    pub(super) fn arrived(&mut self, now_us: u64) {
        let passed_us = now_us.saturating_sub(self.at_us) as f64;
        let kept = (-passed_us / self.over_us).exp();
        self.requests = self.requests * kept + 1.0;
        self.time_us = self.time_us * kept + self.over_us * (1.0 - kept);
        self.at_us = now_us;
    }

    pub(super) fn per_s(&self) -> f64 {
        if self.time_us > 0.0 { 1e6 * self.requests / self.time_us } else { 0.0 }
    }
}

/// The front, an I/O thread: who comes while it is taken waits. It pauses after it has shed
/// requests, as the server's threads do.
#[derive(Debug, Default)]
pub(super) struct Front {
    free_us: f64,
    pause: OverloadPause,
}

impl Front {
    /// Returns the time when a request that arrives now is in.
    pub(super) fn take(&mut self, now_us: u64, front_us: f64) -> u64 {
        if now_us as f64 >= self.free_us {
            // It has looked at its sockets, and found nothing.
            self.free_us += self.pause.before_poll().map_or(0.0, |us| us as f64);
        }
        self.free_us = self.free_us.max(now_us as f64) + front_us;
        self.free_us as u64
    }

    /// Counts a request that is in, with its time limit.
    pub(super) fn entered(&self, limit_us: Option<u64>, is_rejected: bool) {
        self.pause.on_request(limit_us);
        if is_rejected {
            self.pause.on_rejection();
        }
    }
}

/// The part of the objective that the server keeps for what follows a run.
#[derive(Debug)]
pub(super) struct Reserve {
    objective_us: f64,
    rule: ResponseReserve,
    reserve_us: f64,
}

impl Reserve {
    pub(super) fn new(objective_us: f64) -> Self {
        let rule = ResponseReserve::new(objective_us);
        Self { objective_us, rule, reserve_us: rule.least_us() }
    }

    pub(super) fn objective_us(&self) -> u64 {
        self.objective_us as u64
    }

    /// Time that a request has for queue and run.
    pub(super) fn inside_us(&self) -> u64 {
        (self.objective_us - self.reserve_us) as u64
    }

    /// Learns the time outside of queue and run of one response.
    pub(super) fn learn(&mut self, around_us: f64) {
        self.reserve_us = self.rule.next_us(self.reserve_us, around_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(per_s: f64, run_times: f64, around_us: &[f64]) -> Level {
        Level { per_s, run_times, around_us: around_us.to_vec() }
    }

    #[test]
    fn between_two_rates_it_is_in_between() {
        let levels = vec![level(100.0, 1.0, &[10.0]), level(200.0, 2.0, &[30.0])];
        let overhead = Overhead { levels, ..Overhead::default() };
        let mut random = Random::new(1, 0);
        let found = [50.0, 100.0, 150.0, 200.0, 900.0]
            .map(|per_s| (overhead.run_times(per_s), overhead.around_us(per_s, &mut random)));
        assert_eq!(found, [(1.0, 10.0), (1.0, 10.0), (1.5, 20.0), (2.0, 30.0), (2.0, 30.0)]);
        let nothing = Overhead::default();
        assert_eq!((nothing.run_times(5.0), nothing.around_us(5.0, &mut random)), (1.0, 0.0));
    }

    #[test]
    fn drawn_values_have_the_quantiles() {
        let levels = vec![level(1.0, 1.0, &[0.0, 100.0, 1_000.0])];
        let overhead = Overhead { levels, ..Overhead::default() };
        let mut random = Random::new(1, 0);
        let mut drawn: Vec<f64> =
            (0..9_999).map(|_| overhead.around_us(1.0, &mut random)).collect();
        drawn.sort_by(f64::total_cmp);
        assert!((85.0..130.0).contains(&drawn[5_000]), "{}", drawn[5_000]);
        assert!((520.0..580.0).contains(&drawn[7_500]), "{}", drawn[7_500]);
        assert_eq!((at_share(&[], 0.5), at_share(&[7.0], 0.5)), (0.0, 7.0));
    }

    #[test]
    fn the_rate_is_that_of_lately() {
        let mut rate = Rate::new(100_000.0);
        (1..=1_000).for_each(|n| rate.arrived(n * 1_000));
        assert!((950.0..1_050.0).contains(&rate.per_s()), "{}", rate.per_s());
        (1..=2_000).for_each(|n| rate.arrived(1_000_000 + n * 250));
        assert!((3_900.0..4_100.0).contains(&rate.per_s()), "{}", rate.per_s());
    }

    #[test]
    fn the_front_takes_one_after_another() {
        let mut front = Front::default();
        let found = [0, 0, 1, 100].map(|now_us| front.take(now_us, 2.5));
        assert_eq!(found, [2, 5, 7, 102]);
    }

    #[test]
    fn the_front_pauses_after_it_has_shed_requests() {
        let mut front = Front::default();
        assert_eq!(front.take(0, 10.0), 10);
        front.entered(Some(12_000), true);
        assert_eq!(front.take(20, 10.0), 1_020, "a pause of a millisecond from 10 us on");
        front.entered(Some(12_000), false);
        assert_eq!(front.take(5_000, 10.0), 5_010);
    }

    #[test]
    fn slow_responses_leave_less_time_for_queue_and_run() {
        let mut reserve = Reserve::new(20_000.0);
        assert_eq!(reserve.inside_us(), 18_000);
        (0..1_000).for_each(|_| reserve.learn(3_000.0));
        assert!((16_800..17_100).contains(&reserve.inside_us()), "{}", reserve.inside_us());
    }
}
