//! What one thread of a run saw: latencies, lags, failures.

use std::collections::HashMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::target::Failure;

/// Longer latencies are recorded as this one.
const NS_MAX: u64 = 3_600_000_000_000;
/// The histograms' precision: a thousandth of each value.
const DIGITS: u8 = 3;
/// Further kinds of failure are counted together; their texts are the server's.
const KINDS_MAX: usize = 100;

/// Counts and histograms (in nanoseconds) of the requests that count.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Of the answered requests, from the intended send to the answer's last byte.
    pub latency_ns: Histogram<u64>,
    /// Of the requests that the server turned down, measured alike.
    pub refusal_ns: Histogram<u64>,
    /// From the intended send to the moment when this program was ready to send.
    pub lag_ns: Histogram<u64>,
    /// The part of the time in which the busiest thread had work to do, 0 to 1.
    pub busy_share: f64,
    /// Requests that were due while every connection was busy.
    pub waited: u64,
    /// Failed requests by their message.
    pub failures: HashMap<String, u64>,
    /// When the last request ended, from the run's start.
    pub last_end: Duration,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            latency_ns: histogram(),
            refusal_ns: histogram(),
            lag_ns: histogram(),
            busy_share: 0.0,
            waited: 0,
            failures: HashMap::new(),
            last_end: Duration::ZERO,
        }
    }
}

impl Recorder {
    /// A request ended after `latency`, at `end` from the run's start.
    pub fn ended(&mut self, result: &Result<(), Failure>, latency: Duration, end: Duration) {
        match result {
            Ok(()) => self.latency_ns.saturating_record(nanoseconds(latency)),
            Err(failure) => {
                if failure.is_refusal() {
                    self.refusal_ns.saturating_record(nanoseconds(latency));
                }
                self.count_failure(failure.to_string(), 1);
            }
        }
        self.last_end = self.last_end.max(end);
    }

    /// A request could be sent only `lag` after its time, because this program was late.
    pub fn lagged(&mut self, lag: Duration) {
        self.lag_ns.saturating_record(nanoseconds(lag));
    }

    /// Requests that were answered.
    pub fn answered(&self) -> u64 {
        self.latency_ns.len()
    }

    /// Requests that were answered within so long.
    pub fn answered_within(&self, objective: Duration) -> u64 {
        self.latency_ns.count_between(0, nanoseconds(objective))
    }

    /// Requests that were not answered.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Adds what another thread saw.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, so that nothing can be out of them.
        let _ = self.latency_ns.add(&other.latency_ns);
        let _ = self.refusal_ns.add(&other.refusal_ns);
        let _ = self.lag_ns.add(&other.lag_ns);
        self.busy_share = self.busy_share.max(other.busy_share);
        self.waited += other.waited;
        for (message, count) in &other.failures {
            self.count_failure(message.clone(), *count);
        }
        self.last_end = self.last_end.max(other.last_end);
    }

    fn count_failure(&mut self, message: String, count: u64) {
        let known = self.failures.contains_key(&message) || self.failures.len() < KINDS_MAX;
        let message = if known { message } else { "other failures".to_owned() };
        *self.failures.entry(message).or_default() += count;
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(NS_MAX)
}

#[expect(clippy::expect_used, reason = "the bounds are constants that the library accepts")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, NS_MAX, DIGITS).expect("bounds are right")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorders_add_up() {
        let mut first = Recorder::default();
        first.ended(&Ok(()), Duration::from_micros(10), Duration::from_secs(1));
        let mut second = Recorder::default();
        second.ended(&Ok(()), Duration::from_micros(30), Duration::from_secs(2));
        second.ended(&Err(Failure::Broken("x".into())), Duration::ZERO, Duration::from_secs(3));
        first.add(&second);
        assert_eq!((first.answered(), first.failed()), (2, 1));
        assert_eq!(first.last_end, Duration::from_secs(3));
        assert_eq!(first.latency_ns.max() / 100, 300);
    }

    #[test]
    fn answers_in_time_and_refusals_are_told_apart() {
        let mut first = Recorder::default();
        let busy = Failure::Refused { status: "503".into(), message: "busy".into() };
        first.ended(&Ok(()), Duration::from_millis(19), Duration::ZERO);
        first.ended(&Ok(()), Duration::from_millis(21), Duration::ZERO);
        first.ended(&Err(busy), Duration::from_millis(1), Duration::ZERO);
        first.ended(&Err(Failure::Broken("x".into())), Duration::from_millis(1), Duration::ZERO);
        let mut total = Recorder::default();
        total.add(&first);
        assert_eq!(total.answered_within(Duration::from_millis(20)), 1);
        assert_eq!((total.answered(), total.failed(), total.refusal_ns.len()), (2, 2, 1));
    }

    #[test]
    fn kinds_of_failure_are_limited() {
        let mut recorder = Recorder::default();
        for kind in 0..500 {
            let failure = Failure::Broken(kind.to_string());
            recorder.ended(&Err(failure), Duration::ZERO, Duration::ZERO);
        }
        assert_eq!(recorder.failures.len(), KINDS_MAX + 1);
        assert_eq!(recorder.failed(), 500);
    }

    #[test]
    fn a_latency_past_the_bounds_is_kept() {
        let mut recorder = Recorder::default();
        recorder.ended(&Ok(()), Duration::from_secs(1_000_000), Duration::ZERO);
        assert_eq!(recorder.answered(), 1);
    }
}
