//! Records of one thread of a run: latencies, send delays, failures.

use crate::arrival::Window;
use crate::load::Load;
use crate::target::Failure;
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::time::Duration;

/// Longest latency in a histogram, in nanoseconds; longer ones count as this one.
const NS_MAX: u64 = 3_600_000_000_000;
/// Significant digits of the histograms.
const DIGITS: u8 = 3;
/// Most distinct failure messages; further ones are counted together.
const KINDS_MAX: usize = 100;

/// Completion of a request.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// Index of the request's kind.
    pub kind: usize,
    /// Scheduled time, from the run's start.
    pub at: Duration,
    /// End, from the run's start.
    pub end: Duration,
    /// Result of the request.
    pub result: &'a Result<(), Failure>,
}

/// Counts and histograms (in nanoseconds) of the requests that count.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Latencies of answered requests, from the scheduled time to the last byte of the response.
    pub latency_ns: Histogram<u64>,
    /// Latencies of rejections by an overloaded server.
    pub rejection_ns: Histogram<u64>,
    /// Delays from the scheduled time until this program was ready to send.
    pub send_delay_ns: Histogram<u64>,
    /// Statistics by kind of request; empty if there is only one.
    pub kinds: Vec<KindStats>,
    /// Requests by the interval of their scheduled time.
    pub scheduled: Vec<Scheduled>,
    /// Utilization of the busiest thread, 0 to 1.
    pub utilization: f64,
    /// Responses of each connection within the measurement, whenever their requests were sent.
    pub answered_by_connection: Vec<u64>,
    /// Requests that were due while every connection was in use.
    pub waited: u64,
    /// Failed requests by message.
    pub failures: HashMap<String, u64>,
    /// End of the last request, from the run's start.
    pub last_end: Duration,
    window: Window,
    interval: Duration,
    objective: Option<Duration>,
}

/// Statistics of one kind of request.
#[derive(Clone, Debug)]
pub struct KindStats {
    /// Latencies of answered requests.
    pub latency_ns: Histogram<u64>,
    /// Requests that were not answered.
    pub failed: u64,
}

/// Requests that were scheduled in the same interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduled {
    /// Number of requests.
    pub requests: u64,
    /// Requests answered within the objective.
    pub in_time: u64,
}

impl Recorder {
    /// Creates an empty recorder for a load of several kinds of request.
    pub fn new(load: &Load, kinds: usize) -> Self {
        let kind = || KindStats { latency_ns: histogram(), failed: 0 };
        let interval = load.window.interval();
        let intervals = load.window.duration.div_duration_f64(interval).ceil() as usize;
        Self {
            latency_ns: histogram(),
            rejection_ns: histogram(),
            send_delay_ns: histogram(),
            kinds: if kinds > 1 { (0..kinds).map(|_| kind()).collect() } else { Vec::new() },
            // All memory is allocated now, and none during the run.
            scheduled: vec![Scheduled::default(); intervals],
            utilization: 0.0,
            answered_by_connection: vec![0; load.connections],
            waited: 0,
            failures: HashMap::new(),
            last_end: Duration::ZERO,
            window: load.window,
            interval,
            objective: load.objective,
        }
    }

    /// Counts a response on a connection, whether or not its request counts.
    pub fn count_answer(&mut self, connection: usize, end: Duration) {
        if let Some(answered) = self.answered_by_connection.get_mut(connection) {
            *answered += u64::from(self.window.counts(end));
        }
    }

    /// Responses within the measurement, whenever their requests were sent.
    pub fn answered_in_window(&self) -> u64 {
        self.answered_by_connection.iter().sum()
    }

    /// Records the completion of a request that counts.
    pub fn record_completion(&mut self, Completion { kind, at, end, result }: Completion<'_>) {
        let latency = end.saturating_sub(at);
        self.last_end = self.last_end.max(end);
        let since = at.saturating_sub(self.window.warm_up).div_duration_f64(self.interval) as usize;
        if let Some(scheduled) = self.scheduled.get_mut(since) {
            scheduled.requests += 1;
            let is_in_time = result.is_ok() && self.objective.is_some_and(|most| latency <= most);
            scheduled.in_time += u64::from(is_in_time);
        }
        let ns = nanoseconds(latency);
        match result {
            Ok(()) => self.latency_ns.saturating_record(ns),
            Err(failure) => {
                if failure.is_rejection() {
                    self.rejection_ns.saturating_record(ns);
                }
                self.count_failure(failure.to_string(), 1);
            }
        }
        if let Some(recorded) = self.kinds.get_mut(kind) {
            match result {
                Ok(()) => recorded.latency_ns.saturating_record(ns),
                Err(_) => recorded.failed += 1,
            }
        }
    }

    /// Records how late this program was for a request.
    pub fn record_send_delay(&mut self, delay: Duration) {
        self.send_delay_ns.saturating_record(nanoseconds(delay));
    }

    /// Number of answered requests.
    pub fn answered(&self) -> u64 {
        self.latency_ns.len()
    }

    /// Number of requests answered within an objective.
    pub fn answered_within(&self, objective: Duration) -> u64 {
        self.latency_ns.count_between(0, nanoseconds(objective))
    }

    /// Number of requests that were not answered.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Number of requests that the server rejected.
    pub fn rejected(&self) -> u64 {
        self.rejection_ns.len()
    }

    /// Adds the records of another thread or interval.
    pub fn add(&mut self, other: &Self) {
        // All histograms have the same bounds, so adding cannot fail.
        let _ = self.latency_ns.add(&other.latency_ns);
        let _ = self.rejection_ns.add(&other.rejection_ns);
        let _ = self.send_delay_ns.add(&other.send_delay_ns);
        for (mine, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            let _ = mine.latency_ns.add(&theirs.latency_ns);
            mine.failed += theirs.failed;
        }
        for (mine, theirs) in self.scheduled.iter_mut().zip(&other.scheduled) {
            mine.requests += theirs.requests;
            mine.in_time += theirs.in_time;
        }
        self.utilization = self.utilization.max(other.utilization);
        let both = self.answered_by_connection.iter_mut().zip(&other.answered_by_connection);
        both.for_each(|(mine, theirs)| *mine += theirs);
        self.waited += other.waited;
        for (message, count) in &other.failures {
            self.count_failure(message.clone(), *count);
        }
        self.last_end = self.last_end.max(other.last_end);
    }

    /// Clears all records, and keeps the memory.
    pub fn clear(&mut self) {
        self.latency_ns.reset();
        self.rejection_ns.reset();
        self.send_delay_ns.reset();
        for kind in &mut self.kinds {
            kind.latency_ns.reset();
            kind.failed = 0;
        }
        self.scheduled.fill(Scheduled::default());
        (self.utilization, self.last_end) = (0.0, Duration::ZERO);
        self.answered_by_connection.fill(0);
        self.waited = 0;
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

    fn completion<'a>(result: &'a Result<(), Failure>, latency: Duration) -> Completion<'a> {
        Completion { kind: 0, at: SECOND, end: SECOND + latency, result }
    }

    fn broken(what: &str) -> Result<(), Failure> {
        Err(Failure::Broken(what.to_owned()))
    }

    #[test]
    fn recorders_add_up() {
        let mut first = Recorder::new(&load(), 1);
        first.record_completion(completion(&Ok(()), Duration::from_micros(10)));
        let mut second = Recorder::new(&load(), 1);
        second.record_completion(completion(&Ok(()), Duration::from_micros(30)));
        second.record_completion(completion(&broken("x"), SECOND));
        first.add(&second);
        assert_eq!((first.answered(), first.failed()), (2, 1));
        assert_eq!(first.last_end, 2 * SECOND);
        assert_eq!(first.latency_ns.max() / 100, 300);
        first.clear();
        assert_eq!((first.answered(), first.failed(), first.last_end), (0, 0, Duration::ZERO));
    }

    #[test]
    fn answers_in_time_and_rejections_are_counted_apart() {
        let mut first = Recorder::new(&load(), 1);
        let busy = Err(Failure::Status { status: "503".into(), message: "busy".into() });
        first.record_completion(completion(&Ok(()), Duration::from_millis(19)));
        first.record_completion(completion(&Ok(()), Duration::from_millis(21)));
        first.record_completion(completion(&busy, Duration::from_millis(1)));
        first.record_completion(completion(&broken("x"), Duration::from_millis(1)));
        let mut total = Recorder::new(&load(), 1);
        total.add(&first);
        assert_eq!(total.answered_within(Duration::from_millis(20)), 1);
        assert_eq!((total.answered(), total.failed(), total.rejected()), (2, 2, 1));
    }

    #[test]
    fn requests_are_counted_by_their_scheduled_time() {
        let mut load = load();
        load.objective = Some(Duration::from_millis(20));
        let mut recorder = Recorder::new(&load, 1);
        let interval = load.window.interval();
        for (at, latency_ms) in [(0, 1), (1, 30), (1, 20)] {
            let at = load.window.warm_up + interval * at;
            let end = at + Duration::from_millis(latency_ms);
            recorder.record_completion(Completion { kind: 0, at, end, result: &Ok(()) });
        }
        let counts: Vec<_> = recorder.scheduled.iter().map(|m| (m.requests, m.in_time)).collect();
        assert_eq!(counts[..3], [(1, 1), (2, 1), (0, 0)]);
        assert_eq!(counts.len(), 20);
    }

    #[test]
    fn an_answer_is_inside_when_it_comes_within_the_measurement() {
        let mut first = Recorder::new(&load(), 1);
        // The measurement is from 1 s to 11 s.
        for ms in [999, 1_000, 10_999, 11_000] {
            first.count_answer(0, Duration::from_millis(ms));
        }
        let mut total = Recorder::new(&load(), 1);
        total.add(&first);
        assert_eq!((total.answered_in_window(), total.answered()), (2, 0));
        first.clear();
        assert_eq!(first.answered_in_window(), 0);
    }

    #[test]
    fn several_kinds_are_recorded_apart() {
        let mut recorder = Recorder::new(&load(), 2);
        recorder.record_completion(completion(&Ok(()), SECOND));
        recorder.record_completion(Completion { kind: 1, ..completion(&broken("x"), SECOND) });
        let recorded: Vec<_> =
            recorder.kinds.iter().map(|kind| (kind.latency_ns.len(), kind.failed)).collect();
        assert_eq!(recorded, [(1, 0), (0, 1)]);
        assert!(Recorder::new(&load(), 1).kinds.is_empty());
    }

    #[test]
    fn kinds_of_failure_are_limited() {
        let mut recorder = Recorder::new(&load(), 1);
        for kind in 0..500 {
            recorder.record_completion(completion(&broken(&kind.to_string()), Duration::ZERO));
        }
        assert_eq!(recorder.failures.len(), KINDS_MAX + 1);
        assert_eq!(recorder.failed(), 500);
    }

    #[test]
    fn a_latency_beyond_the_bounds_is_recorded() {
        let mut recorder = Recorder::new(&load(), 1);
        recorder.record_completion(completion(&Ok(()), Duration::from_secs(1_000_000)));
        assert_eq!(recorder.answered(), 1);
    }
}
