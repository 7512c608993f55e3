//! What a run found, for people and for programs.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::arrival::Arrival;
use crate::record::Recorder;
use crate::run::{Load, Prepared};

/// Kinds of failure that are shown, the most frequent first.
const FAILURES_SHOWN: usize = 5;
/// A generator that was this late for a hundredth of the requests may have been the bottleneck...
const LAG_US_MAX: f64 = 1_000.0;
/// ...and was, if its lateness is more than this part of the latency.
const LAG_SHARE_MAX: f64 = 0.1;
/// A thread that is busier than this has nothing left to give...
const BUSY_SHARE_MAX: f64 = 0.95;
/// ...and was the bottleneck, if less than this part of the rate was reached.
const REACHED_SHARE_MIN: f64 = 0.95;

/// What a run found. Latencies are those of answered requests, and `None` when there are none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The server's address.
    pub url: String,
    /// The model's name.
    pub model: String,
    /// Its version, if one was asked for.
    pub version: Option<String>,
    /// `json`, `binary` or `grpc`.
    pub protocol: &'static str,
    /// `closed` or `open`.
    pub arrival: &'static str,
    /// The intended rate of an open loop.
    pub target_requests_per_s: Option<f64>,
    /// The most requests under way at once.
    pub connections: usize,
    /// Threads that sent.
    pub threads: usize,
    /// Rows of each request.
    pub rows_per_request: usize,
    /// How long was measured.
    pub elapsed_s: f64,
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
    /// The same a second.
    pub goodput_requests_per_s: Option<f64>,
    /// Answered requests a second.
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
}

/// How often requests failed in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureCount {
    /// What was seen.
    pub message: String,
    /// How often.
    pub count: u64,
}

impl Report {
    pub(crate) fn new(
        prepared: &Prepared,
        load: &Load,
        seen: &Recorder,
        elapsed: Duration,
    ) -> Self {
        let target = &prepared.target;
        let elapsed_s = elapsed.as_secs_f64();
        let rate = |count: f64| if elapsed_s > 0.0 { count / elapsed_s } else { 0.0 };
        let (latency, refusal, lag) = (&seen.latency_ns, &seen.refusal_ns, &seen.lag_ns);
        let in_time = load.objective.map(|objective| seen.answered_within(objective));
        let open_rate = match load.arrival {
            Arrival::Closed => None,
            Arrival::Open { requests_per_s } => Some(requests_per_s),
        };
        Self {
            url: target.address.to_string(),
            model: target.model.clone(),
            version: target.version.clone(),
            protocol: target.protocol.name(),
            arrival: if open_rate.is_some() { "open" } else { "closed" },
            target_requests_per_s: open_rate,
            connections: load.connections,
            threads: load.threads,
            rows_per_request: prepared.rows,
            elapsed_s,
            requests: seen.answered() + seen.failed(),
            answered: seen.answered(),
            failed: seen.failed(),
            refused: refusal.len(),
            objective_us: load.objective.map(|objective| objective.as_secs_f64() * 1e6),
            in_time,
            goodput_requests_per_s: in_time.map(|count| rate(count as f64)),
            requests_per_s: rate(seen.answered() as f64),
            rows_per_s: rate(seen.answered() as f64 * prepared.rows as f64),
            latency_us_mean: (!latency.is_empty()).then(|| latency.mean() / 1e3),
            latency_us_p50: quantile_us(latency, 0.5),
            latency_us_p90: quantile_us(latency, 0.9),
            latency_us_p99: quantile_us(latency, 0.99),
            latency_us_p999: quantile_us(latency, 0.999),
            latency_us_max: quantile_us(latency, 1.0),
            refusal_us_p50: quantile_us(refusal, 0.5),
            refusal_us_p99: quantile_us(refusal, 0.99),
            refusal_us_max: quantile_us(refusal, 1.0),
            lag_us_p99: quantile_us(lag, 0.99),
            lag_us_max: quantile_us(lag, 1.0),
            busy_share: seen.busy_share,
            waited_for_connection: open_rate.map(|_| seen.waited),
            invalid_because: open_rate.and_then(|wanted| {
                bottleneck(seen, rate((seen.answered() + seen.failed()) as f64) / wanted)
            }),
            failures: most_frequent(seen),
        }
    }
}

fn quantile_us(histogram: &Histogram<u64>, quantile: f64) -> Option<f64> {
    (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile) as f64 / 1e3)
}

/// How this program was slower than its own requests; `None` when the server was.
fn bottleneck(seen: &Recorder, reached_share: f64) -> Option<String> {
    let lag_us = quantile_us(&seen.lag_ns, 0.99)?;
    let latency_us = quantile_us(&seen.latency_ns, 0.99).unwrap_or(0.0);
    let late = lag_us > LAG_US_MAX && lag_us > latency_us * LAG_SHARE_MAX;
    let overworked = seen.busy_share > BUSY_SHARE_MAX && reached_share < REACHED_SHARE_MIN;
    let what = if late {
        format!("1 % of the requests were more than {} late", text_us(lag_us))
    } else if overworked {
        format!("it was busy all the time and reached {:.0} % of the rate", reached_share * 1e2)
    } else {
        return None;
    };
    let advice = "give it more threads or processors, or a lower rate";
    Some(format!("the load generator was the bottleneck: {what}; {advice}"))
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

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.target_requests_per_s {
            Some(rate) => format!("{rate} requests/s over {}", self.connections),
            None => format!("a closed loop over {}", self.connections),
        };
        writeln!(to, "{} at {}, {}: {how} connections", self.model, self.url, self.protocol)?;
        writeln!(to, "throughput   {:.1} requests/s", self.requests_per_s)?;
        if self.rows_per_request != 1 {
            writeln!(to, "             {:.1} rows/s", self.rows_per_s)?;
        }
        writeln!(
            to,
            "requests     {} in {:.2} s: {} answered, {} failed",
            self.requests, self.elapsed_s, self.answered, self.failed
        )?;
        self.write_objective(to)?;
        self.write_latency(to)?;
        self.write_generator(to)?;
        for failure in &self.failures {
            writeln!(to, "failed       {} times: {}", failure.count, failure.message)?;
        }
        if let Some(reason) = &self.invalid_because {
            writeln!(to, "INVALID      {reason}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_objective(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(objective_us), Some(in_time), Some(goodput)) =
            (self.objective_us, self.in_time, self.goodput_requests_per_s)
        {
            let share = in_time as f64 / self.requests.max(1) as f64 * 1e2;
            let objective = text_us(objective_us);
            writeln!(to, "goodput      {goodput:.1} requests/s within {objective}, {share:.1} %")?;
        }
        if let (Some(p50), Some(p99), Some(max)) =
            (self.refusal_us_p50, self.refusal_us_p99, self.refusal_us_max)
        {
            let (p50, p99, max) = (text_us(p50), text_us(p99), text_us(max));
            writeln!(to, "refused      {}, told in p50 {p50}, p99 {p99}, max {max}", self.refused)?;
        }
        Ok(())
    }

    fn write_latency(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in [
            ("mean", self.latency_us_mean),
            ("p50", self.latency_us_p50),
            ("p90", self.latency_us_p90),
            ("p99", self.latency_us_p99),
            ("p99.9", self.latency_us_p999),
            ("max", self.latency_us_max),
        ] {
            if let Some(value) = value {
                writeln!(to, "latency {name:<5}{:>10}", text_us(value))?;
            }
        }
        Ok(())
    }

    fn write_generator(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit =
            if self.busy_share > BUSY_SHARE_MAX { ": the limit may be its own" } else { "" };
        writeln!(to, "own load     {:.0} %{limit}", self.busy_share * 1e2)?;
        if let (Some(p99), Some(max)) = (self.lag_us_p99, self.lag_us_max) {
            writeln!(to, "own lag      p99 {}, max {}", text_us(p99), text_us(max))?;
        }
        match self.waited_for_connection {
            Some(waited @ 1..) => {
                writeln!(to, "waited       {waited} requests, for a free connection")
            }
            _ => Ok(()),
        }
    }
}

fn text_us(value_us: f64) -> String {
    if value_us < 1e3 {
        format!("{value_us:.1} us")
    } else if value_us < 1e6 {
        format!("{:.2} ms", value_us / 1e3)
    } else {
        format!("{:.2} s", value_us / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Failure;

    #[test]
    fn quantiles_are_in_microseconds() {
        let mut seen = Recorder::default();
        for ms in 1..=100 {
            seen.ended(&Ok(()), Duration::from_millis(ms), Duration::ZERO);
        }
        let p99 = quantile_us(&seen.latency_ns, 0.99).unwrap();
        assert!((98_900.0..=99_200.0).contains(&p99), "{p99}");
        assert_eq!(quantile_us(&Recorder::default().latency_ns, 0.99), None);
    }

    fn seen(latency: Duration, lag: Duration, busy_share: f64) -> Recorder {
        let mut seen = Recorder { busy_share, ..Recorder::default() };
        seen.ended(&Ok(()), latency, Duration::ZERO);
        seen.lagged(lag);
        seen
    }

    #[test]
    fn a_late_generator_is_the_bottleneck() {
        let ms = Duration::from_millis;
        assert_eq!(bottleneck(&Recorder::default(), 1.0), None);
        assert_eq!(bottleneck(&seen(ms(1), ms(1) * 9 / 10, 0.1), 1.0), None);
        assert_eq!(bottleneck(&seen(ms(50), ms(2), 0.1), 1.0), None);
        let reason = bottleneck(&seen(ms(4), ms(2), 0.1), 1.0).unwrap();
        assert!(reason.contains("more than 2.00 ms late"), "{reason}");
    }

    #[test]
    fn an_overworked_generator_is_the_bottleneck() {
        let ms = Duration::from_millis;
        assert_eq!(bottleneck(&seen(ms(1), ms(0), 0.98), 1.0), None);
        assert_eq!(bottleneck(&seen(ms(1), ms(0), 0.2), 0.5), None);
        let reason = bottleneck(&seen(ms(1), ms(0), 0.98), 0.5).unwrap();
        assert!(reason.contains("reached 50 % of the rate"), "{reason}");
    }

    #[test]
    fn the_most_frequent_failures_come_first() {
        let mut seen = Recorder::default();
        for kind in 1..=7 {
            for _ in 0..kind {
                let failure = Failure::Broken(kind.to_string());
                seen.ended(&Err(failure), Duration::ZERO, Duration::ZERO);
            }
        }
        let counts: Vec<_> = most_frequent(&seen).iter().map(|failure| failure.count).collect();
        assert_eq!(counts, [7, 6, 5, 4, 3]);
    }

    #[test]
    fn times_are_in_fitting_units() {
        assert_eq!(text_us(12.34), "12.3 us");
        assert_eq!(text_us(12_345.0), "12.35 ms");
        assert_eq!(text_us(1_500_000.0), "1.50 s");
    }
}
