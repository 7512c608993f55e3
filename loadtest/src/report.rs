//! What a run found, for people and for programs.

mod build;
mod judge;
mod text;
mod csv;
mod plots;
mod html;

pub(crate) use build::Lasted;
pub use text::text_us;

use crate::server_statistics::Statistics;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// What a run found. Latencies are those of answered requests, and `None` when there are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The server's address.
    pub url: String,
    /// The model's name; of several, all with `+` between them.
    pub model: String,
    /// Its version, if one was asked for.
    pub version: Option<String>,
    /// `json`, `binary`, `grpc` or `grpc-stream`.
    pub protocol: String,
    /// `closed` or `open`.
    pub arrival: String,
    /// The kind of an open loop: constant, poisson, bursts, a ramp, a trace.
    pub pattern: Option<String>,
    /// The intended rate of an open loop, over the measurement.
    pub target_requests_per_s: Option<f64>,
    /// The most requests under way at once.
    pub connections: usize,
    /// Threads that sent.
    pub threads: usize,
    /// Rows of each request; of the first kind where there are several.
    pub rows_per_request: usize,
    /// How long was measured: while requests went out that count.
    pub elapsed_s: f64,
    /// The same and until the last of them was answered or had failed.
    pub drained_s: f64,
    /// Requests that were measured.
    pub requests: u64,
    /// Those of them that were answered.
    pub answered: u64,
    /// Those of them that were not.
    pub failed: u64,
    /// Those of them that the server turned down because it had too much to do: HTTP's 503 and
    /// 429, gRPC's `Unavailable` and `ResourceExhausted`.
    pub refused: u64,
    /// How soon an answer should be there, if that was said.
    pub objective_us: Option<f64>,
    /// Requests that were answered within the objective.
    pub in_time: Option<u64>,
    /// The same a second of `elapsed_s`.
    pub goodput_requests_per_s: Option<f64>,
    /// Answers a second that came within `elapsed_s`, those of the warm-up's last requests too. What
    /// comes later does not count, so that one slow answer makes no difference.
    pub requests_per_s: f64,
    /// Their rows a second.
    pub rows_per_s: f64,
    /// The mean latency.
    pub latency_us_mean: Option<f64>,
    /// Half of the latencies are at most this.
    pub latency_us_p50: Option<f64>,
    /// 90 % are at most this.
    pub latency_us_p90: Option<f64>,
    /// 99 % are at most this.
    pub latency_us_p99: Option<f64>,
    /// 99.9 % are at most this.
    pub latency_us_p999: Option<f64>,
    /// All are at most this.
    pub latency_us_max: Option<f64>,
    /// From the intended send to a refusal: half are at most this.
    pub refusal_us_p50: Option<f64>,
    /// 99 % are at most this.
    pub refusal_us_p99: Option<f64>,
    /// All are at most this.
    pub refusal_us_max: Option<f64>,
    /// How late this program was for a request in an open loop: 99 % are at most this.
    pub lag_us_p99: Option<f64>,
    /// All are at most this.
    pub lag_us_max: Option<f64>,
    /// The part of the time in which the busiest of this program's threads had work to do, 0 to 1.
    pub busy_share: f64,
    /// Requests of an open loop that were due while every connection was busy.
    pub waited_for_connection: Option<u64>,
    /// Why the latencies are this program's more than the server's; `None` when they are not.
    pub invalid_because: Option<String>,
    /// The most frequent failures.
    pub failures: Vec<FailureCount>,
    /// Each kind of request, where there are several.
    pub kinds: Vec<KindReport>,
    /// What the server itself counted of each model, where it has statistics, warm-up included.
    pub server: Vec<ServerReport>,
    /// The measurement's course.
    pub intervals: Vec<Interval>,
    /// The latencies' whole distribution: 20 points for each further nine, and both ends.
    pub percentiles: Vec<Percentile>,
}

/// What was seen of one kind of request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KindReport {
    /// The model's name.
    pub model: String,
    /// Its version, if one was asked for.
    pub version: Option<String>,
    /// The file that the request is from, if it is from one.
    pub input: Option<String>,
    /// How often it was meant to come, as a part of all.
    pub share: f64,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were not.
    pub failed: u64,
    /// Half of the latencies are at most this.
    pub latency_us_p50: Option<f64>,
    /// 99 % are at most this.
    pub latency_us_p99: Option<f64>,
}

impl KindReport {
    /// The model, and the file where there is one.
    pub fn name(&self) -> String {
        match &self.input {
            Some(input) => format!("{} ({input})", self.model),
            None => self.model.clone(),
        }
    }
}

/// What the server itself counted of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerReport {
    /// The model's name.
    pub model: String,
    /// Its counters, from before the run to after it.
    #[serde(flatten)]
    pub statistics: Statistics,
}

impl ServerReport {
    /// In a line: rows of a run, and the time in the queue and in runs.
    pub fn summary(&self) -> String {
        let Statistics { requests, failed, runs, queue_us_mean, request_us_mean, .. } =
            self.statistics;
        let us = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), text_us);
        let rows = self.statistics.mean_batch_rows();
        let rows = rows.map_or_else(|| "-".to_owned(), |rows| format!("{rows:.1}"));
        let (queue, whole) = (us(queue_us_mean), us(request_us_mean));
        format!(
            "{requests} requests, {failed} failed, {runs} runs of {rows} rows; \
             mean in the server {whole}, of it in the queue {queue}"
        )
    }
}

/// A part of the measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interval {
    /// When it ended, from the measurement's start.
    pub end_s: f64,
    /// How long it was.
    pub length_s: f64,
    /// Requests that were meant to go out in it, and ended in it or later.
    pub requests: u64,
    /// Those of them that were answered within the objective.
    pub in_time: u64,
    /// Requests that were answered in it.
    pub answered: u64,
    /// Requests that failed in it.
    pub failed: u64,
    /// Those of them that the server turned down.
    pub refused: u64,
    /// Half of the latencies of what was answered in it are at most this.
    pub latency_us_p50: Option<f64>,
    /// 99 % are at most this.
    pub latency_us_p99: Option<f64>,
    /// All are at most this.
    pub latency_us_max: Option<f64>,
}

impl Interval {
    /// Answers a second.
    pub fn requests_per_s(&self) -> f64 {
        if self.length_s > 0.0 { self.answered as f64 / self.length_s } else { 0.0 }
    }
}

/// A point of the latencies' distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// So many of a hundred...
    pub percent: f64,
    /// ...took at most this long.
    pub us: f64,
}

/// How often requests failed in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    /// What was seen.
    pub message: String,
    /// How often.
    pub count: u64,
}

impl Report {
    /// So large a part of the latencies, from 0 to 1, is at most this: between two points of the
    /// distribution on the line between them.
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
    /// The intervals that are about as long as the others. The last one may be a short rest, and
    /// those after the measurement have only what was slow.
    pub(crate) fn whole_intervals(&self) -> impl Iterator<Item = &Interval> {
        let inside = || {
            let begins_s = |interval: &Interval| interval.end_s - interval.length_s;
            self.intervals.iter().filter(move |interval| begins_s(interval) < self.elapsed_s)
        };
        let longest = inside().map(|interval| interval.length_s).fold(0.0, f64::max);
        inside().filter(move |interval| interval.length_s > longest / 2.0)
    }
}

/// In microseconds; `None` without values.
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
    fn a_rest_and_what_ended_after_the_measurement_are_no_whole_intervals() {
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
