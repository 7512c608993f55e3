//! Builds a report from the threads' records.

use super::validity::generator_bottleneck;
use super::{FailureCount, Interval, KindReport, Percentile, Report, quantile_us};
use crate::arrival::Arrival;
use crate::load::Load;
use crate::prepare::Prepared;
use crate::record::Recorder;
use std::time::Duration;

/// Number of reported failures, the most frequent first.
const FAILURES_SHOWN: usize = 5;
/// Points of the distribution for each further nine: 90 %, 99 %, 99.9 %.
const POINTS_A_NINE: i32 = 20;

/// Duration of a run, from the end of the warm-up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elapsed {
    /// Time while requests were sent.
    pub(crate) measured: Duration,
    /// Time until the last of them ended.
    pub(crate) drained: Duration,
}

impl Report {
    pub(crate) fn new(
        prepared: &Prepared,
        load: &Load,
        recorded: &Recorder,
        elapsed: Elapsed,
        intervals: Vec<Interval>,
    ) -> Self {
        let (elapsed_s, drained_s) =
            (elapsed.measured.as_secs_f64(), elapsed.drained.as_secs_f64());
        let target_requests_per_s = target_rate(load, recorded, elapsed_s);
        let requests = recorded.answered() + recorded.failed();
        let requests_per_s = rate(recorded.answered_in_window() as f64, elapsed_s);
        let mut report = Self {
            elapsed_s,
            drained_s,
            target_requests_per_s,
            requests,
            answered: recorded.answered(),
            failed: recorded.failed(),
            rejected: recorded.rejected(),
            requests_per_s,
            rows_per_s: requests_per_s * rows_mean(prepared, recorded),
            slowest_connection_share: slowest_connection_share(load, recorded),
            utilization: recorded.utilization,
            waited_for_connection: target_requests_per_s.map(|_| recorded.waited),
            invalid_because: target_requests_per_s.and_then(|wanted| {
                // A late generator still sends after the measurement.
                generator_bottleneck(recorded, rate(requests as f64, drained_s) / wanted)
            }),
            failures: most_frequent(recorded),
            kinds: kinds(prepared, recorded),
            intervals: with_scheduled(intervals, recorded, load),
            percentiles: percentiles(recorded),
            ..Self::of(prepared, load)
        };
        report.add_latencies(recorded);
        report.in_time = load.objective.map(|objective| recorded.answered_within(objective));
        report.goodput_requests_per_s = report.in_time.map(|count| rate(count as f64, elapsed_s));
        report
    }

    /// Report with the load's settings.
    fn of(prepared: &Prepared, load: &Load) -> Self {
        let server = &prepared.server;
        let version = match &*prepared.kinds {
            [only] => only.version.clone(),
            _ => None,
        };
        let mut models: Vec<&str> = prepared.kinds.iter().map(|kind| &*kind.model).collect();
        models.dedup();
        Self {
            url: server.address.to_string(),
            model: models.join("+"),
            version,
            protocol: server.protocol.name().to_owned(),
            arrival: if load.arrival == Arrival::Closed { "closed" } else { "open" }.to_owned(),
            pattern: load.arrival.pattern(),
            connections: load.connections,
            threads: load.threads,
            rows_per_request: prepared.rows(),
            objective_us: load.objective.map(|objective| objective.as_secs_f64() * 1e6),
            ..Self::default()
        }
    }

    fn add_latencies(&mut self, recorded: &Recorder) {
        let (latency, refusal, lag) =
            (&recorded.latency_ns, &recorded.rejection_ns, &recorded.send_delay_ns);
        self.latency_us_mean = (!latency.is_empty()).then(|| latency.mean() / 1e3);
        self.latency_us_p50 = quantile_us(latency, 0.5);
        self.latency_us_p90 = quantile_us(latency, 0.9);
        self.latency_us_p99 = quantile_us(latency, 0.99);
        self.latency_us_p999 = quantile_us(latency, 0.999);
        self.latency_us_max = quantile_us(latency, 1.0);
        self.rejection_us_p50 = quantile_us(refusal, 0.5);
        self.rejection_us_p99 = quantile_us(refusal, 0.99);
        self.rejection_us_max = quantile_us(refusal, 1.0);
        self.send_delay_us_p99 = quantile_us(lag, 0.99);
        self.send_delay_us_max = quantile_us(lag, 1.0);
    }
}

impl Interval {
    /// Interval with the requests that ended in it.
    pub(crate) fn new(end_s: f64, length_s: f64, recorded: &Recorder) -> Self {
        Self {
            end_s,
            length_s,
            answered: recorded.answered(),
            failed: recorded.failed(),
            rejected: recorded.rejected(),
            latency_us_p50: quantile_us(&recorded.latency_ns, 0.5),
            latency_us_p99: quantile_us(&recorded.latency_ns, 0.99),
            latency_us_max: quantile_us(&recorded.latency_ns, 1.0),
            ..Self::default()
        }
    }
}

fn rate(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

/// Scheduled rate of an open loop, in requests a second; random and recorded arrivals are counted.
fn target_rate(load: &Load, recorded: &Recorder, elapsed_s: f64) -> Option<f64> {
    match load.arrival {
        Arrival::Closed => None,
        Arrival::Constant { requests_per_s } => Some(requests_per_s),
        Arrival::Process { .. } => (elapsed_s > 0.0 && !recorded.send_delay_ns.is_empty())
            .then(|| recorded.send_delay_ns.len() as f64 / elapsed_s),
    }
}

/// Fewest responses of a connection, relative to the mean. In an open loop a connection has no share
/// of its own: any free one takes the next request.
fn slowest_connection_share(load: &Load, recorded: &Recorder) -> Option<f64> {
    let by_connection = &recorded.answered_by_connection;
    let (total, fewest) = (recorded.answered_in_window(), by_connection.iter().min()?);
    let is_shared = load.arrival == Arrival::Closed && total > 0;
    is_shared.then(|| *fewest as f64 * by_connection.len() as f64 / total as f64)
}

/// Mean rows of a response.
fn rows_mean(prepared: &Prepared, recorded: &Recorder) -> f64 {
    match &*prepared.kinds {
        [only] => only.rows as f64,
        several => {
            let both = several.iter().zip(&recorded.kinds);
            let rows = both.map(|(kind, recorded)| recorded.latency_ns.len() * kind.rows as u64);
            rows.sum::<u64>() as f64 / recorded.answered().max(1) as f64
        }
    }
}

fn kinds(prepared: &Prepared, recorded: &Recorder) -> Vec<KindReport> {
    let total: f64 = prepared.kinds.iter().map(|kind| kind.weight).sum();
    let both = prepared.kinds.iter().zip(&recorded.kinds);
    both.map(|(kind, recorded)| KindReport {
        model: kind.model.clone(),
        version: kind.version.clone(),
        input: kind.input.clone(),
        share: kind.weight / total,
        answered: recorded.latency_ns.len(),
        failed: recorded.failed,
        latency_us_p50: quantile_us(&recorded.latency_ns, 0.5),
        latency_us_p99: quantile_us(&recorded.latency_ns, 0.99),
    })
    .collect()
}

/// Adds the requests scheduled in each interval.
fn with_scheduled(mut intervals: Vec<Interval>, recorded: &Recorder, load: &Load) -> Vec<Interval> {
    let length_s = load.window.interval().as_secs_f64();
    for (index, scheduled) in recorded.scheduled.iter().enumerate() {
        let middle_s = (index as f64 + 0.5) * length_s;
        if let Some(interval) = intervals.iter_mut().find(|interval| middle_s < interval.end_s) {
            interval.requests += scheduled.requests;
            interval.in_time += scheduled.in_time;
        }
    }
    intervals
}

fn percentiles(recorded: &Recorder) -> Vec<Percentile> {
    let latency = &recorded.latency_ns;
    let count = latency.len();
    if count == 0 {
        return Vec::new();
    }
    let point = |quantile: f64| Percentile {
        percent: quantile * 1e2,
        us: latency.value_at_quantile(quantile) as f64 / 1e3,
    };
    let above = |step: i32| 10_f64.powf(-f64::from(step) / f64::from(POINTS_A_NINE));
    // Beyond the number of requests every point would be the last one.
    let steps = (0..).map(above).take_while(|above| above * count as f64 >= 1.0);
    steps.map(|above| point(1.0 - above)).chain([point(1.0)]).collect()
}

fn most_frequent(recorded: &Recorder) -> Vec<FailureCount> {
    let mut failures: Vec<_> = recorded
        .failures
        .iter()
        .map(|(message, &count)| FailureCount { message: message.clone(), count })
        .collect();
    failures.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.message.cmp(&b.message)));
    failures.truncate(FAILURES_SHOWN);
    failures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::load;
    use crate::prepare::tests::prepared;
    use crate::record::Completion;
    use crate::target::Failure;

    fn record(latencies: impl Iterator<Item = Duration>) -> Recorder {
        let mut recorded = Recorder::new(&load(), 1);
        for end in latencies {
            recorded.record_completion(Completion {
                kind: 0,
                at: Duration::ZERO,
                end,
                result: &Ok(()),
            });
        }
        recorded
    }

    #[test]
    fn quantiles_are_in_microseconds() {
        let recorded = record((1..=100).map(Duration::from_millis));
        let p99 = quantile_us(&recorded.latency_ns, 0.99).unwrap();
        assert!((98_900.0..=99_200.0).contains(&p99), "{p99}");
        assert_eq!(quantile_us(&Recorder::new(&load(), 1).latency_ns, 0.99), None);
    }

    #[test]
    fn the_distribution_goes_as_far_as_the_count() {
        let points = percentiles(&record((1..=1000).map(Duration::from_millis)));
        assert_eq!(points.len(), 3 * 20 + 2);
        assert_eq!((points[0].percent, points[61].percent), (0.0, 100.0));
        assert!(points.is_sorted_by(|a, b| a.percent < b.percent && a.us <= b.us));
        let p90 = points.iter().find(|point| (point.percent - 90.0).abs() < 1e-9).unwrap();
        assert!((899_000.0..901_500.0).contains(&p90.us), "{p90:?}");
        assert!(percentiles(&Recorder::new(&load(), 1)).is_empty());
    }

    #[test]
    fn scheduled_requests_belong_to_the_interval_of_their_time() {
        let load = load();
        let length_s = load.window.interval().as_secs_f64();
        let mut recorded = Recorder::new(&load, 1);
        (
            recorded.scheduled[0].requests,
            recorded.scheduled[1].requests,
            recorded.scheduled[19].requests,
        ) = (3, 4, 5);
        let interval = |end_s| Interval { end_s, length_s, ..Interval::default() };
        let intervals = [1.0, 2.0, 30.0].map(|n| interval(n * length_s)).to_vec();
        let requests: Vec<_> =
            with_scheduled(intervals, &recorded, &load).iter().map(|i| i.requests).collect();
        assert_eq!(requests, [3, 4, 5]);
    }

    #[test]
    fn the_rate_of_random_arrivals_is_counted() {
        let mut load = load();
        assert_eq!(target_rate(&load, &Recorder::new(&load, 1), 0.0), Some(100.0));
        let arrivals = std::sync::Arc::new(skysail_policy::simulate::Arrivals::Recorded(vec![0]));
        load.arrival = Arrival::Process { arrivals, seed: 0 };
        let mut recorded = Recorder::new(&load, 1);
        assert_eq!(target_rate(&load, &recorded, 10.0), None);
        (0..50).for_each(|_| recorded.record_send_delay(Duration::ZERO));
        assert_eq!(target_rate(&load, &recorded, 10.0), Some(5.0));
    }

    #[test]
    fn one_hung_request_does_not_lower_the_rates() {
        let mut load = load();
        load.objective = Some(Duration::from_millis(20));
        let (ms, mut recorded) = (Duration::from_millis, Recorder::new(&load, 1));
        for n in 0..1_000 {
            let at = load.window.warm_up + ms(n * 10);
            let end = at + ms(5);
            recorded.count_answer(0, end);
            recorded.record_completion(Completion { kind: 0, at, end, result: &Ok(()) });
        }
        let (at, end) = (load.window.warm_up, load.window.end() + ms(10_000));
        recorded.record_completion(Completion {
            kind: 0,
            at,
            end,
            result: &Err(Failure::Timeout(ms(20_000))),
        });
        let elapsed = Elapsed { measured: load.window.duration, drained: ms(20_000) };
        let report = Report::new(&prepared(3), &load, &recorded, elapsed, Vec::new());
        assert_eq!((report.requests_per_s, report.rows_per_s), (100.0, 300.0));
        assert_eq!(report.goodput_requests_per_s, Some(100.0));
        assert_eq!((report.elapsed_s, report.drained_s), (10.0, 20.0));
    }

    #[test]
    fn responses_after_the_measurement_are_no_throughput() {
        let (load, ms) = (load(), Duration::from_millis);
        let mut recorded = Recorder::new(&load, 1);
        // The load is twice the server's throughput, so half of the requests wait until after the
        // measurement.
        for n in 0..1_000 {
            let at = load.window.warm_up + ms(n * 10);
            let end = load.window.warm_up + ms(n * 20);
            recorded.count_answer(0, end);
            recorded.record_completion(Completion { kind: 0, at, end, result: &Ok(()) });
        }
        let elapsed = Elapsed { measured: load.window.duration, drained: ms(20_000) };
        let report = Report::new(&prepared(1), &load, &recorded, elapsed, Vec::new());
        assert_eq!((report.answered, report.requests_per_s), (1_000, 50.0));
    }

    #[test]
    fn a_starved_connection_shows_in_a_closed_loop() {
        let mut load = Load { connections: 4, ..load() };
        let mut recorded = Recorder::new(&load, 1);
        for (connection, answered) in [30, 10, 40, 40].into_iter().enumerate() {
            (0..answered).for_each(|_| recorded.count_answer(connection, load.window.warm_up));
        }
        assert_eq!(slowest_connection_share(&load, &recorded), None);
        load.arrival = Arrival::Closed;
        let share = slowest_connection_share(&load, &recorded).unwrap();
        assert!((share - 10.0 / 30.0).abs() < 1e-9, "{share}");
        assert_eq!(slowest_connection_share(&load, &Recorder::new(&load, 1)), None);
    }

    #[test]
    fn the_most_frequent_failures_come_first() {
        let mut recorded = Recorder::new(&load(), 1);
        for kind in 1..=7 {
            for _ in 0..kind {
                let result = Err(Failure::Broken(kind.to_string()));
                let at = Duration::ZERO;
                recorded.record_completion(Completion { kind: 0, at, end: at, result: &result });
            }
        }
        let counts: Vec<_> = most_frequent(&recorded).iter().map(|failure| failure.count).collect();
        assert_eq!(counts, [7, 6, 5, 4, 3]);
    }
}
