//! Report as text.

use super::validity::UTILIZATION_MAX;
use super::{KindReport, Report};
use std::fmt;

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match (self.target_requests_per_s, self.pattern.as_deref()) {
            (Some(rate), None | Some("constant")) => format!("{rate} requests/s"),
            (Some(rate), Some(pattern)) => format!("{rate:.1} requests/s, {pattern},"),
            (None, _) => "a closed loop".to_owned(),
        };
        let how = format!("{how} over {}", self.connections);
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
        self.write_kinds(to)?;
        for server in &self.server {
            writeln!(to, "server       {}: {}", server.model, server.summary())?;
        }
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
            let objective = format_us(objective_us);
            writeln!(to, "goodput      {goodput:.1} requests/s within {objective}, {share:.1} %")?;
        }
        if let (Some(p50), Some(p99), Some(max)) =
            (self.rejection_us_p50, self.rejection_us_p99, self.rejection_us_max)
        {
            let (p50, p99, max) = (format_us(p50), format_us(p99), format_us(max));
            writeln!(to, "rejected     {}, after p50 {p50}, p99 {p99}, max {max}", self.rejected)?;
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
                writeln!(to, "latency {name:<5}{:>10}", format_us(value))?;
            }
        }
        Ok(())
    }

    fn write_kinds(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in &self.kinds {
            let KindReport { answered, failed, .. } = kind;
            let us = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), format_us);
            let (p50, p99) = (us(kind.latency_us_p50), us(kind.latency_us_p99));
            let name = kind.name();
            writeln!(to, "{name}: {answered} answered, {failed} failed, p50 {p50}, p99 {p99}")?;
        }
        Ok(())
    }

    fn write_generator(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit =
            if self.utilization > UTILIZATION_MAX { ", perhaps the bottleneck" } else { "" };
        writeln!(to, "generator    {:.0} % busy{limit}", self.utilization * 1e2)?;
        if let (Some(p99), Some(max)) = (self.send_delay_us_p99, self.send_delay_us_max) {
            writeln!(to, "send delay   p99 {}, max {}", format_us(p99), format_us(max))?;
        }
        if let Some(share) = self.slowest_connection_share.filter(|_| self.connections > 1) {
            writeln!(
                to,
                "fairness     the slowest connection had {share:.2} of the mean's responses"
            )?;
        }
        match self.waited_for_connection {
            Some(waited @ 1..) => {
                writeln!(to, "waited       {waited} requests, for a free connection")
            }
            _ => Ok(()),
        }
    }
}

/// Formats a time in a fitting unit.
pub fn format_us(value_us: f64) -> String {
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

    #[test]
    fn times_are_in_fitting_units() {
        assert_eq!(format_us(12.34), "12.3 us");
        assert_eq!(format_us(12_345.0), "12.35 ms");
        assert_eq!(format_us(1_500_000.0), "1.50 s");
    }
}
