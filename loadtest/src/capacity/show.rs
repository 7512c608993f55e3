//! Text form of a capacity.

use super::{Capacity, SearchedRate};
use crate::profile::{Level, Objective};
use crate::report::format_us;
use std::fmt;

impl fmt::Display for Capacity {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let profile = &self.profile;
        let Objective { ms, percentile, confidence } = profile.objective;
        writeln!(
            to,
            "{} at {}, {}: {percentile} % of the requests within {}",
            profile.model,
            profile.url,
            profile.protocol,
            format_us(ms * 1e3)
        )?;
        write!(
            to,
            "capacity     {:.1} requests/s, with {confidence} % confidence",
            profile.capacity_per_s
        )?;
        match self.not_met_per_s {
            Some(per_s) => writeln!(to, "; {per_s:.1} was not shown to meet the objective")?,
            None => writeln!(to, "; no higher rate was tried")?,
        }
        self.write_server(to)?;
        writeln!(to)?;
        writeln!(
            to,
            "{:>10} {:>10} {:>9} {:>15} {:>10} {:>10} {:>8} {:>10} {:>10}  objective",
            "requests/s",
            "answered/s",
            "in time",
            "",
            "p50",
            "p99",
            "rejected",
            "batch mean",
            "run mean"
        )?;
        profile.levels.iter().try_for_each(|level| self.write_level(to, level))
    }
}

impl Capacity {
    fn write_server(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.profile.server;
        let known = [
            (settings.replicas, "replica", ""),
            (settings.threads, "thread", " each"),
            (settings.batch_rows_max, "row", " a batch at most"),
        ];
        let counted = |(count, what, rest): (Option<u64>, &str, &str)| {
            let plural = if count? == 1 { "" } else { "s" };
            Some(format!("{} {what}{plural}{rest}", count?))
        };
        let known: Vec<String> = known.into_iter().filter_map(counted).collect();
        if known.is_empty() { Ok(()) } else { writeln!(to, "server       {}", known.join(", ")) }
    }

    fn write_level(&self, to: &mut fmt::Formatter<'_>, level: &Level) -> fmt::Result {
        let searched = self.search.iter().find(|searched| searched.per_s == level.per_s);
        let bounds = searched.map_or(String::new(), bounds);
        let runs: u64 = level.batches.iter().map(|batch| batch.runs).sum();
        let mean = |of: &dyn Fn(&crate::server_statistics::BatchSize) -> f64| {
            level.batches.iter().map(|batch| of(batch) * batch.runs as f64).sum::<f64>()
                / runs as f64
        };
        let (rows, run) = match runs {
            0 => ("-".to_owned(), "-".to_owned()),
            _ => (
                format!("{:.1}", mean(&|batch| batch.rows as f64)),
                format_us(mean(&|batch| batch.run_us)),
            ),
        };
        writeln!(
            to,
            "{:>10.1} {:>10.1} {:>7.2} % {bounds:>15} {:>10} {:>10} {:>8} {rows:>10} {run:>10}  {}",
            level.per_s,
            level.answered_per_s(),
            level.in_time_share() * 100.0,
            format_us(level.latency_us.at(0.5)),
            format_us(level.latency_us.at(0.99)),
            level.rejected,
            searched.map_or("", |searched| searched.verdict),
        )
    }
}

fn bounds(searched: &SearchedRate) -> String {
    format!("{:.2}..{:.2}", searched.in_time_low * 100.0, searched.in_time_high * 100.0)
}
