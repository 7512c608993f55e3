//! A report is made of what the threads recorded.

use super::judge::bottleneck;
use super::{FailureCount, Interval, KindReport, Percentile, Report, quantile_us};
use crate::arrival::Arrival;
use crate::load::Load;
use crate::prepare::Prepared;
use crate::record::Recorder;
use std::time::Duration;

/// Kinds of failure that are shown, the most frequent first.
const FAILURES_SHOWN: usize = 5;
/// Points of the distribution for each further nine: 90 %, 99 %, 99.9 %.
const POINTS_A_NINE: i32 = 20;

/// How long a run lasted, from the warm-up's end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lasted {
    /// While requests went out.
    pub(crate) measured: Duration,
    /// Until the last of them had ended.
    pub(crate) drained: Duration,
}

impl Report {
    pub(crate) fn new(
        prepared: &Prepared,
        load: &Load,
        seen: &Recorder,
        lasted: Lasted,
        intervals: Vec<Interval>,
    ) -> Self {
        let (elapsed_s, drained_s) = (lasted.measured.as_secs_f64(), lasted.drained.as_secs_f64());
        let target_requests_per_s = target_rate(load, seen, elapsed_s);
        let requests = seen.answered() + seen.failed();
        let requests_per_s = rate(seen.answered_inside as f64, elapsed_s);
        let mut report = Self {
            elapsed_s,
            drained_s,
            target_requests_per_s,
            requests,
            answered: seen.answered(),
            failed: seen.failed(),
            refused: seen.refused(),
            requests_per_s,
            rows_per_s: requests_per_s * rows_mean(prepared, seen),
            busy_share: seen.busy_share,
            waited_for_connection: target_requests_per_s.map(|_| seen.waited),
            invalid_because: target_requests_per_s.and_then(|wanted| {
                // Who is behind its times is not done when they are over.
                bottleneck(seen, rate(requests as f64, drained_s) / wanted)
            }),
            failures: most_frequent(seen),
            kinds: kinds(prepared, seen),
            intervals: with_meant(intervals, seen, load),
            percentiles: percentiles(seen),
            ..Self::of(prepared, load)
        };
        report.add_latencies(seen);
        report.in_time = load.objective.map(|objective| seen.answered_within(objective));
        report.goodput_requests_per_s = report.in_time.map(|count| rate(count as f64, elapsed_s));
        report
    }

    /// What was asked for.
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

    fn add_latencies(&mut self, seen: &Recorder) {
        let (latency, refusal, lag) = (&seen.latency_ns, &seen.refusal_ns, &seen.lag_ns);
        self.latency_us_mean = (!latency.is_empty()).then(|| latency.mean() / 1e3);
        self.latency_us_p50 = quantile_us(latency, 0.5);
        self.latency_us_p90 = quantile_us(latency, 0.9);
        self.latency_us_p99 = quantile_us(latency, 0.99);
        self.latency_us_p999 = quantile_us(latency, 0.999);
        self.latency_us_max = quantile_us(latency, 1.0);
        self.refusal_us_p50 = quantile_us(refusal, 0.5);
        self.refusal_us_p99 = quantile_us(refusal, 0.99);
        self.refusal_us_max = quantile_us(refusal, 1.0);
        self.lag_us_p99 = quantile_us(lag, 0.99);
        self.lag_us_max = quantile_us(lag, 1.0);
    }
}

impl Interval {
    /// Of what ended in a part of the measurement.
    pub(crate) fn new(end_s: f64, length_s: f64, seen: &Recorder) -> Self {
        Self {
            end_s,
            length_s,
            answered: seen.answered(),
            failed: seen.failed(),
            refused: seen.refused(),
            latency_us_p50: quantile_us(&seen.latency_ns, 0.5),
            latency_us_p99: quantile_us(&seen.latency_ns, 0.99),
            latency_us_max: quantile_us(&seen.latency_ns, 1.0),
            ..Self::default()
        }
    }
}

fn rate(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

/// What an open loop was meant to send, a second; what chance or a recording sends is counted.
fn target_rate(load: &Load, seen: &Recorder, elapsed_s: f64) -> Option<f64> {
    match load.arrival {
        Arrival::Closed => None,
        Arrival::Open { requests_per_s } => Some(requests_per_s),
        Arrival::Drawn { .. } => (elapsed_s > 0.0 && !seen.lag_ns.is_empty())
            .then(|| seen.lag_ns.len() as f64 / elapsed_s),
    }
}

/// Rows of an answer on average.
fn rows_mean(prepared: &Prepared, seen: &Recorder) -> f64 {
    match &*prepared.kinds {
        [only] => only.rows as f64,
        several => {
            let both = several.iter().zip(&seen.kinds);
            let rows = both.map(|(kind, seen)| seen.latency_ns.len() * kind.rows as u64);
            rows.sum::<u64>() as f64 / seen.answered().max(1) as f64
        }
    }
}

fn kinds(prepared: &Prepared, seen: &Recorder) -> Vec<KindReport> {
    let total: f64 = prepared.kinds.iter().map(|kind| kind.weight).sum();
    let both = prepared.kinds.iter().zip(&seen.kinds);
    both.map(|(kind, seen)| KindReport {
        model: kind.model.clone(),
        version: kind.version.clone(),
        input: kind.input.clone(),
        share: kind.weight / total,
        answered: seen.latency_ns.len(),
        failed: seen.failed,
        latency_us_p50: quantile_us(&seen.latency_ns, 0.5),
        latency_us_p99: quantile_us(&seen.latency_ns, 0.99),
    })
    .collect()
}

/// The intervals with what was meant to go out in each of them.
fn with_meant(mut intervals: Vec<Interval>, seen: &Recorder, load: &Load) -> Vec<Interval> {
    let length_s = load.window.interval().as_secs_f64();
    for (index, meant) in seen.meant.iter().enumerate() {
        let middle_s = (index as f64 + 0.5) * length_s;
        if let Some(interval) = intervals.iter_mut().find(|interval| middle_s < interval.end_s) {
            interval.requests += meant.requests;
            interval.in_time += meant.in_time;
        }
    }
    intervals
}

fn percentiles(seen: &Recorder) -> Vec<Percentile> {
    let latency = &seen.latency_ns;
    let count = latency.len();
    if count == 0 {
        return Vec::new();
    }
    let point = |quantile: f64| Percentile {
        percent: quantile * 1e2,
        us: latency.value_at_quantile(quantile) as f64 / 1e3,
    };
    let above = |step: i32| 10_f64.powf(-f64::from(step) / f64::from(POINTS_A_NINE));
    // Beyond the count's own limit every point would be the last one.
    let steps = (0..).map(above).take_while(|above| above * count as f64 >= 1.0);
    steps.map(|above| point(1.0 - above)).chain([point(1.0)]).collect()
}

fn most_frequent(seen: &Recorder) -> Vec<FailureCount> {
    let mut failures: Vec<_> = seen
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
    use crate::record::Ended;
    use crate::target::Failure;

    fn seen(latencies: impl Iterator<Item = Duration>) -> Recorder {
        let mut seen = Recorder::new(&load(), 1);
        for end in latencies {
            seen.ended(Ended { kind: 0, at: Duration::ZERO, end, result: &Ok(()) });
        }
        seen
    }

    #[test]
    fn quantiles_are_in_microseconds() {
        let seen = seen((1..=100).map(Duration::from_millis));
        let p99 = quantile_us(&seen.latency_ns, 0.99).unwrap();
        assert!((98_900.0..=99_200.0).contains(&p99), "{p99}");
        assert_eq!(quantile_us(&Recorder::new(&load(), 1).latency_ns, 0.99), None);
    }

    #[test]
    fn the_distribution_goes_as_far_as_the_count() {
        let points = percentiles(&seen((1..=1000).map(Duration::from_millis)));
        assert_eq!(points.len(), 3 * 20 + 2);
        assert_eq!((points[0].percent, points[61].percent), (0.0, 100.0));
        assert!(points.is_sorted_by(|a, b| a.percent < b.percent && a.us <= b.us));
        let p90 = points.iter().find(|point| (point.percent - 90.0).abs() < 1e-9).unwrap();
        assert!((899_000.0..901_500.0).contains(&p90.us), "{p90:?}");
        assert!(percentiles(&Recorder::new(&load(), 1)).is_empty());
    }

    #[test]
    fn what_was_meant_is_put_to_the_interval_that_it_fell_into() {
        let load = load();
        let length_s = load.window.interval().as_secs_f64();
        let mut seen = Recorder::new(&load, 1);
        (seen.meant[0].requests, seen.meant[1].requests, seen.meant[19].requests) = (3, 4, 5);
        let interval = |end_s| Interval { end_s, length_s, ..Interval::default() };
        let intervals = [1.0, 2.0, 30.0].map(|n| interval(n * length_s)).to_vec();
        let requests: Vec<_> =
            with_meant(intervals, &seen, &load).iter().map(|i| i.requests).collect();
        assert_eq!(requests, [3, 4, 5]);
    }

    #[test]
    fn the_rate_of_what_chance_sends_is_counted() {
        let mut load = load();
        assert_eq!(target_rate(&load, &Recorder::new(&load, 1), 0.0), Some(100.0));
        let arrivals = std::sync::Arc::new(skysail_policy::simulate::Arrivals::Recorded(vec![0]));
        load.arrival = Arrival::Drawn { arrivals, seed: 0 };
        let mut seen = Recorder::new(&load, 1);
        assert_eq!(target_rate(&load, &seen, 10.0), None);
        (0..50).for_each(|_| seen.lagged(Duration::ZERO));
        assert_eq!(target_rate(&load, &seen, 10.0), Some(5.0));
    }

    #[test]
    fn one_hung_request_does_not_lower_the_rates() {
        let mut load = load();
        load.objective = Some(Duration::from_millis(20));
        let (ms, mut seen) = (Duration::from_millis, Recorder::new(&load, 1));
        for n in 0..1_000 {
            let at = load.window.warm_up + ms(n * 10);
            let end = at + ms(5);
            seen.answer_came(end);
            seen.ended(Ended { kind: 0, at, end, result: &Ok(()) });
        }
        let (at, end) = (load.window.warm_up, load.window.end() + ms(10_000));
        seen.ended(Ended { kind: 0, at, end, result: &Err(Failure::Timeout(ms(20_000))) });
        let lasted = Lasted { measured: load.window.duration, drained: ms(20_000) };
        let report = Report::new(&prepared(3), &load, &seen, lasted, Vec::new());
        assert_eq!((report.requests_per_s, report.rows_per_s), (100.0, 300.0));
        assert_eq!(report.goodput_requests_per_s, Some(100.0));
        assert_eq!((report.elapsed_s, report.drained_s), (10.0, 20.0));
    }

    #[test]
    fn what_is_answered_after_the_measurement_is_no_throughput() {
        let (load, ms) = (load(), Duration::from_millis);
        let mut seen = Recorder::new(&load, 1);
        // Twice as many as the server can answer: half of them have to wait until it is over.
        for n in 0..1_000 {
            let at = load.window.warm_up + ms(n * 10);
            let end = load.window.warm_up + ms(n * 20);
            seen.answer_came(end);
            seen.ended(Ended { kind: 0, at, end, result: &Ok(()) });
        }
        let lasted = Lasted { measured: load.window.duration, drained: ms(20_000) };
        let report = Report::new(&prepared(1), &load, &seen, lasted, Vec::new());
        assert_eq!((report.answered, report.requests_per_s), (1_000, 50.0));
    }

    #[test]
    fn the_most_frequent_failures_come_first() {
        let mut seen = Recorder::new(&load(), 1);
        for kind in 1..=7 {
            for _ in 0..kind {
                let result = Err(Failure::Broken(kind.to_string()));
                let at = Duration::ZERO;
                seen.ended(Ended { kind: 0, at, end: at, result: &result });
            }
        }
        let counts: Vec<_> = most_frequent(&seen).iter().map(|failure| failure.count).collect();
        assert_eq!(counts, [7, 6, 5, 4, 3]);
    }
}
