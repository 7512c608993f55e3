//! Report of a run, for people and for programs.

mod build;
mod validity;
mod text;
mod csv;
mod plots;
mod html;

pub(crate) use build::Elapsed;
pub use text::format_us;

use crate::server_statistics::Statistics;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Report of a run. Latencies are those of answered requests, and `None` without any.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Address of the server.
    pub url: String,
    /// Name of the model; several are joined with `+`.
    pub model: String,
    /// Version of the model, if one was requested.
    pub version: Option<String>,
    /// `json`, `binary`, `grpc` or `grpc-stream`.
    pub protocol: String,
    /// `closed` or `open`.
    pub arrival: String,
    /// Arrival process of an open loop: constant, poisson, bursts, a ramp, a trace.
    pub pattern: Option<String>,
    /// Scheduled rate of an open loop during the measurement.
    pub target_requests_per_s: Option<f64>,
    /// Most requests in flight.
    pub connections: usize,
    /// Number of sending threads.
    pub threads: usize,
    /// Rows of each request; of the first kind if there are several.
    pub rows_per_request: usize,
    /// Length of the measurement, in seconds.
    pub elapsed_s: f64,
    /// Time until the last measured request ended, in seconds.
    pub drained_s: f64,
    /// Number of measured requests.
    pub requests: u64,
    /// Measured requests that were answered.
    pub answered: u64,
    /// Measured requests that were not.
    pub failed: u64,
    /// Requests that the server rejected because of overload: HTTP's 503 and 429, gRPC's
    /// `Unavailable` and `ResourceExhausted`.
    pub rejected: u64,
    /// Latency objective, if given.
    pub objective_us: Option<f64>,
    /// Requests answered within the objective.
    pub in_time: Option<u64>,
    /// Requests answered within the objective, a second of `elapsed_s`.
    pub goodput_requests_per_s: Option<f64>,
    /// Responses a second within `elapsed_s`, including those to the last requests of the warm-up.
    /// Later responses do not count, so that one slow response makes no difference.
    pub requests_per_s: f64,
    /// Rows a second of the same responses.
    pub rows_per_s: f64,
    /// Fewest responses of a connection in a closed loop, relative to the mean of all connections.
    pub slowest_connection_share: Option<f64>,
    /// Mean latency.
    pub latency_us_mean: Option<f64>,
    /// Median latency.
    pub latency_us_p50: Option<f64>,
    /// 90th percentile of latency.
    pub latency_us_p90: Option<f64>,
    /// 99th percentile of latency.
    pub latency_us_p99: Option<f64>,
    /// 99.9th percentile of latency.
    pub latency_us_p999: Option<f64>,
    /// Greatest latency.
    pub latency_us_max: Option<f64>,
    /// Median time from the scheduled send to a rejection.
    pub rejection_us_p50: Option<f64>,
    /// 99th percentile of the same.
    pub rejection_us_p99: Option<f64>,
    /// Greatest of the same.
    pub rejection_us_max: Option<f64>,
    /// 99th percentile of this program's delay to send a request of an open loop.
    pub send_delay_us_p99: Option<f64>,
    /// Greatest of the same.
    pub send_delay_us_max: Option<f64>,
    /// Utilization of this program's busiest thread, 0 to 1.
    pub utilization: f64,
    /// Requests of an open loop that were due while every connection was in use.
    pub waited_for_connection: Option<u64>,
    /// Reason why the latencies are this program's rather than the server's; `None` if they are
    /// valid.
    pub invalid_because: Option<String>,
    /// Most frequent failures.
    pub failures: Vec<FailureCount>,
    /// Reports by kind of request, if there are several.
    pub kinds: Vec<KindReport>,
    /// Counters of the server itself for each model, if it has statistics, including the warm-up.
    pub server: Vec<ServerReport>,
    /// Intervals of the measurement.
    pub intervals: Vec<Interval>,
    /// Distribution of the latencies: 20 points for each further nine, and both ends.
    pub percentiles: Vec<Percentile>,
}

/// Report of one kind of request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KindReport {
    /// Name of the model.
    pub model: String,
    /// Version of the model, if one was requested.
    pub version: Option<String>,
    /// File of the request, if any.
    pub input: Option<String>,
    /// Share of all requests by weight.
    pub share: f64,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were not.
    pub failed: u64,
    /// Median latency.
    pub latency_us_p50: Option<f64>,
    /// 99th percentile of latency.
    pub latency_us_p99: Option<f64>,
}

impl KindReport {
    /// Model, with the file if there is one.
    pub fn name(&self) -> String {
        match &self.input {
            Some(input) => format!("{} ({input})", self.model),
            None => self.model.clone(),
        }
    }
}

/// Counters of the server itself for a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerReport {
    /// Name of the model.
    pub model: String,
    /// Counters from before the run to after it.
    #[serde(flatten)]
    pub statistics: Statistics,
}

impl ServerReport {
    /// Summary line: rows of a run, time in the queue, time in the server.
    pub fn summary(&self) -> String {
        let Statistics { requests, failed, runs, queue_us_mean, request_us_mean, .. } =
            self.statistics;
        let us = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), format_us);
        let rows = self.statistics.mean_batch_rows();
        let rows = rows.map_or_else(|| "-".to_owned(), |rows| format!("{rows:.1}"));
        let (queue, whole) = (us(queue_us_mean), us(request_us_mean));
        format!(
            "{requests} requests, {failed} failed, {runs} runs of {rows} rows; \
             mean in the server {whole}, of it in the queue {queue}"
        )
    }
}

/// Interval of the measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interval {
    /// End of the interval, from the measurement's start.
    pub end_s: f64,
    /// Length of the interval.
    pub length_s: f64,
    /// Requests scheduled in the interval that have ended.
    pub requests: u64,
    /// Requests of these that were answered within the objective.
    pub in_time: u64,
    /// Requests answered in the interval.
    pub answered: u64,
    /// Requests that failed in the interval.
    pub failed: u64,
    /// Requests that the server rejected in the interval.
    pub rejected: u64,
    /// Median latency of the requests answered in the interval.
    pub latency_us_p50: Option<f64>,
    /// 99th percentile of the same.
    pub latency_us_p99: Option<f64>,
    /// Greatest of the same.
    pub latency_us_max: Option<f64>,
}

impl Interval {
    /// Responses a second.
    pub fn requests_per_s(&self) -> f64 {
        if self.length_s > 0.0 { self.answered as f64 / self.length_s } else { 0.0 }
    }
}

/// Point of the latency distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// Percentage of the requests.
    pub percent: f64,
    /// Latency that they do not exceed.
    pub us: f64,
}

/// Number of requests with the same failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    /// Failure message.
    pub message: String,
    /// Number of requests.
    pub count: u64,
}

impl Report {
    /// Quantile of the latency, interpolated between points of the distribution.
    pub fn latency_us(&self, quantile: f64) -> Option<f64> {
        let percent = quantile.clamp(0.0, 1.0) * 1e2;
        let next = self.percentiles.partition_point(|point| point.percent < percent);
        let after = self.percentiles.get(next).or(self.percentiles.last())?;
        let before = next.checked_sub(1).map_or(*after, |at| self.percentiles[at]);
        let width = after.percent - before.percent;
        let part = if width > 0.0 { (percent - before.percent) / width } else { 1.0 };
        Some(before.us + (after.us - before.us) * part.min(1.0))
    }
}

impl Report {
    /// Intervals of about full length. The last one may be shorter, and those after the measurement
    /// have only slow requests.
    pub(crate) fn whole_intervals(&self) -> impl Iterator<Item = &Interval> {
        let inside = || {
            let begins_s = |interval: &Interval| interval.end_s - interval.length_s;
            self.intervals.iter().filter(move |interval| begins_s(interval) < self.elapsed_s)
        };
        let longest = inside().map(|interval| interval.length_s).fold(0.0, f64::max);
        inside().filter(move |interval| interval.length_s > longest / 2.0)
    }
}

/// Quantile in microseconds; `None` without values.
fn quantile_us(histogram: &Histogram<u64>, quantile: f64) -> Option<f64> {
    (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile) as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_points_of_the_distribution() {
        let points = [(0.0, 10.0), (50.0, 20.0), (90.0, 100.0), (100.0, 200.0)];
        let percentiles = points.map(|(percent, us)| Percentile { percent, us }).to_vec();
        let report = Report { percentiles, ..Report::default() };
        for (quantile, us) in [(0.0, 10.0), (0.25, 15.0), (0.5, 20.0), (0.7, 60.0), (2.0, 200.0)] {
            assert_eq!(report.latency_us(quantile), Some(us));
        }
        assert_eq!(Report::default().latency_us(0.5), None);
    }

    #[test]
    fn a_short_last_interval_and_later_ones_are_not_whole() {
        let interval = |end_s, length_s| Interval { end_s, length_s, ..Interval::default() };
        let intervals = [(0.5, 0.5), (1.0, 0.5), (1.1, 0.1), (9.0, 7.9)];
        let intervals = intervals.map(|(end_s, length_s)| interval(end_s, length_s)).to_vec();
        let report = Report { elapsed_s: 1.05, intervals, ..Report::default() };
        let ends: Vec<_> = report.whole_intervals().map(|interval| interval.end_s).collect();
        assert_eq!(ends, [0.5, 1.0]);
    }

    #[test]
    fn a_report_is_read_again_and_an_older_one_too() {
        let kinds = vec![KindReport { model: "m".into(), ..KindReport::default() }];
        let report =
            Report { requests: 3, pattern: Some("poisson".into()), kinds, ..Report::default() };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        let older: Report =
            serde_json::from_str(r#"{"url": "http://h:1", "answered": 5}"#).unwrap();
        assert_eq!((&*older.url, older.answered, older.intervals.len()), ("http://h:1", 5, 0));
    }
}
