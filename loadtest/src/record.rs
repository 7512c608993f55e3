//! What one thread of a run saw: latencies, lags, failures.

use crate::arrival::Window;
use crate::load::Load;
use crate::target::Failure;
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::time::Duration;

/// Longer latencies are recorded as this one.
const NS_MAX: u64 = 3_600_000_000_000;
/// The histograms' precision: a thousandth of each value.
const DIGITS: u8 = 3;
/// Further kinds of failure are counted together; their texts are the server's.
const KINDS_MAX: usize = 100;

/// How a request went.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Which of the run's kinds of request it was.
    pub kind: usize,
    /// When it was meant to go out, from the run's start.
    pub at: Duration,
    /// When it ended.
    pub end: Duration,
    /// What came of it.
    pub result: &'a Result<(), Failure>,
}

/// Counts and histograms (in nanoseconds) of the requests that count.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Of the answered requests, from the intended send to the answer's last byte.
    pub latency_ns: Histogram<u64>,
    /// Of the requests that the server turned down, measured alike.
    pub refusal_ns: Histogram<u64>,
    /// From the intended send to the moment when this program was ready to send.
    pub lag_ns: Histogram<u64>,
    /// By kind of request where there are several; else it is empty.
    pub kinds: Vec<KindSeen>,
    /// By the interval in which requests were meant to go out.
    pub meant: Vec<Meant>,
    /// The part of the time in which the busiest thread had work to do, 0 to 1.
    pub busy_share: f64,
    /// Answers that came within the measurement, whenever their requests went out.
    pub answered_inside: u64,
    /// Requests that were due while every connection was busy.
    pub waited: u64,
    /// Failed requests by their message.
    pub failures: HashMap<String, u64>,
    /// When the last request ended, from the run's start.
    pub last_end: Duration,
    window: Window,
    interval: Duration,
    objective: Option<Duration>,
}

/// What is seen of one kind of request.
#[derive(Clone, Debug)]
pub struct KindSeen {
    /// Of the answered requests.
    pub latency_ns: Histogram<u64>,
    /// Requests that were not answered.
    pub failed: u64,
}

/// Requests that were meant to go out in the same interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meant {
    /// All of them.
    pub requests: u64,
    /// Those that were answered within the objective.
    pub in_time: u64,
}

impl Recorder {
    /// Of a load with so many kinds of request.
    pub fn new(load: &Load, kinds: usize) -> Self {
        let kind = || KindSeen { latency_ns: histogram(), failed: 0 };
        let interval = load.window.interval();
        let intervals = load.window.duration.div_duration_f64(interval).ceil() as usize;
        Self {
            latency_ns: histogram(),
            refusal_ns: histogram(),
            lag_ns: histogram(),
            kinds: if kinds > 1 { (0..kinds).map(|_| kind()).collect() } else { Vec::new() },
            // All of it now, for nothing may need memory later.
            meant: vec![Meant::default(); intervals],
            busy_share: 0.0,
            answered_inside: 0,
            waited: 0,
            failures: HashMap::new(),
            last_end: Duration::ZERO,
            window: load.window,
            interval,
            objective: load.objective,
        }
    }

    /// An answer came, to a request that counts or to another one.
    pub fn answer_came(&mut self, end: Duration) {
        self.answered_inside += u64::from(self.window.counts(end));
    }

    /// A request that counts ended.
    pub fn ended(&mut self, Ended { kind, at, end, result }: Ended<'_>) {
        let latency = end.saturating_sub(at);
        self.last_end = self.last_end.max(end);
        let since = at.saturating_sub(self.window.warm_up).div_duration_f64(self.interval) as usize;
        if let Some(meant) = self.meant.get_mut(since) {
            meant.requests += 1;
            let is_in_time = result.is_ok() && self.objective.is_some_and(|most| latency <= most);
            meant.in_time += u64::from(is_in_time);
        }
        let ns = nanoseconds(latency);
        match result {
            Ok(()) => self.latency_ns.saturating_record(ns),
            Err(failure) => {
                if failure.is_refusal() {
                    self.refusal_ns.saturating_record(ns);
                }
                self.count_failure(failure.to_string(), 1);
            }
        }
        if let Some(seen) = self.kinds.get_mut(kind) {
            match result {
                Ok(()) => seen.latency_ns.saturating_record(ns),
                Err(_) => seen.failed += 1,
            }
        }
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

    /// Requests that the server turned down.
    pub fn refused(&self) -> u64 {
        self.refusal_ns.len()
    }

    /// Adds what was seen by another thread, or at another time.
    pub fn add(&mut self, other: &Self) {
        // All have the same bounds, so that nothing can be out of them.
        let _ = self.latency_ns.add(&other.latency_ns);
        let _ = self.refusal_ns.add(&other.refusal_ns);
        let _ = self.lag_ns.add(&other.lag_ns);
        for (mine, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            let _ = mine.latency_ns.add(&theirs.latency_ns);
            mine.failed += theirs.failed;
        }
        for (mine, theirs) in self.meant.iter_mut().zip(&other.meant) {
            mine.requests += theirs.requests;
            mine.in_time += theirs.in_time;
        }
        self.busy_share = self.busy_share.max(other.busy_share);
        self.answered_inside += other.answered_inside;
        self.waited += other.waited;
        for (message, count) in &other.failures {
            self.count_failure(message.clone(), *count);
        }
        self.last_end = self.last_end.max(other.last_end);
    }

    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.latency_ns.reset();
        self.refusal_ns.reset();
        self.lag_ns.reset();
        for kind in &mut self.kinds {
            kind.latency_ns.reset();
            kind.failed = 0;
        }
        self.meant.fill(Meant::default());
        (self.busy_share, self.last_end) = (0.0, Duration::ZERO);
        (self.answered_inside, self.waited) = (0, 0);
        self.failures.clear();
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
    use crate::load::tests::load;

    const SECOND: Duration = Duration::from_secs(1);

    fn ended<'a>(result: &'a Result<(), Failure>, latency: Duration) -> Ended<'a> {
        Ended { kind: 0, at: SECOND, end: SECOND + latency, result }
    }

    fn broken(what: &str) -> Result<(), Failure> {
        Err(Failure::Broken(what.to_owned()))
    }

    #[test]
    fn recorders_add_up() {
        let mut first = Recorder::new(&load(), 1);
        first.ended(ended(&Ok(()), Duration::from_micros(10)));
        let mut second = Recorder::new(&load(), 1);
        second.ended(ended(&Ok(()), Duration::from_micros(30)));
        second.ended(ended(&broken("x"), SECOND));
        first.add(&second);
        assert_eq!((first.answered(), first.failed()), (2, 1));
        assert_eq!(first.last_end, 2 * SECOND);
        assert_eq!(first.latency_ns.max() / 100, 300);
        first.clear();
        assert_eq!((first.answered(), first.failed(), first.last_end), (0, 0, Duration::ZERO));
    }

    #[test]
    fn answers_in_time_and_refusals_are_told_apart() {
        let mut first = Recorder::new(&load(), 1);
        let busy = Err(Failure::Refused { status: "503".into(), message: "busy".into() });
        first.ended(ended(&Ok(()), Duration::from_millis(19)));
        first.ended(ended(&Ok(()), Duration::from_millis(21)));
        first.ended(ended(&busy, Duration::from_millis(1)));
        first.ended(ended(&broken("x"), Duration::from_millis(1)));
        let mut total = Recorder::new(&load(), 1);
        total.add(&first);
        assert_eq!(total.answered_within(Duration::from_millis(20)), 1);
        assert_eq!((total.answered(), total.failed(), total.refused()), (2, 2, 1));
    }

    #[test]
    fn requests_are_counted_when_they_were_meant_to_go_out() {
        let mut load = load();
        load.objective = Some(Duration::from_millis(20));
        let mut recorder = Recorder::new(&load, 1);
        let interval = load.window.interval();
        for (at, latency_ms) in [(0, 1), (1, 30), (1, 20)] {
            let at = load.window.warm_up + interval * at;
            let end = at + Duration::from_millis(latency_ms);
            recorder.ended(Ended { kind: 0, at, end, result: &Ok(()) });
        }
        let counts: Vec<_> = recorder.meant.iter().map(|m| (m.requests, m.in_time)).collect();
        assert_eq!(counts[..3], [(1, 1), (2, 1), (0, 0)]);
        assert_eq!(counts.len(), 20);
    }

    #[test]
    fn an_answer_is_inside_when_it_comes_within_the_measurement() {
        let mut first = Recorder::new(&load(), 1);
        // From 1 s to 11 s.
        for ms in [999, 1_000, 10_999, 11_000] {
            first.answer_came(Duration::from_millis(ms));
        }
        let mut total = Recorder::new(&load(), 1);
        total.add(&first);
        assert_eq!((total.answered_inside, total.answered()), (2, 0));
        first.clear();
        assert_eq!(first.answered_inside, 0);
    }

    #[test]
    fn several_kinds_are_seen_apart() {
        let mut recorder = Recorder::new(&load(), 2);
        recorder.ended(ended(&Ok(()), SECOND));
        recorder.ended(Ended { kind: 1, ..ended(&broken("x"), SECOND) });
        let seen: Vec<_> =
            recorder.kinds.iter().map(|kind| (kind.latency_ns.len(), kind.failed)).collect();
        assert_eq!(seen, [(1, 0), (0, 1)]);
        assert!(Recorder::new(&load(), 1).kinds.is_empty());
    }

    #[test]
    fn kinds_of_failure_are_limited() {
        let mut recorder = Recorder::new(&load(), 1);
        for kind in 0..500 {
            recorder.ended(ended(&broken(&kind.to_string()), Duration::ZERO));
        }
        assert_eq!(recorder.failures.len(), KINDS_MAX + 1);
        assert_eq!(recorder.failed(), 500);
    }

    #[test]
    fn a_latency_past_the_bounds_is_kept() {
        let mut recorder = Recorder::new(&load(), 1);
        recorder.ended(ended(&Ok(()), Duration::from_secs(1_000_000)));
        assert_eq!(recorder.answered(), 1);
    }
}
