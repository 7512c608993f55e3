//! Combines all windows of one rate.

use crate::confidence::Block;
use crate::profile::{Level, Spread};
use crate::quantiles::{Quantiles, SHARES, sorted_quantile};
use crate::report::Report;
use crate::server_statistics::{BatchSize, Statistics};
use std::collections::BTreeMap;

/// Measurements of one window.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Report of the load generator.
    pub report: Report,
    /// Counters of the server, if it has any.
    pub statistics: Option<Statistics>,
    /// Single runs seen on the server: rows and microseconds.
    pub runs: Vec<(u64, f64)>,
}

/// Blocks of a window, the samples of the confidence bounds.
const BLOCKS: f64 = 5.0;
/// Runs of a size from which its mean is known well enough to compare single runs with it.
const RUNS_MIN: u64 = 10;

impl Window {
    /// Requests of the window in a few blocks that are long compared with a stall.
    pub fn blocks(&self) -> Vec<Block> {
        let long_s = self.report.elapsed_s / BLOCKS * (1.0 - 1e-6);
        let (mut batches, mut batch, mut seconds) = (Vec::new(), Block::default(), 0.0);
        for interval in &self.report.intervals {
            batch.requests += interval.requests;
            batch.in_time += interval.in_time;
            seconds += interval.length_s;
            if seconds >= long_s {
                batches.push(std::mem::take(&mut batch));
                seconds = 0.0;
            }
        }
        if batch.requests > 0 {
            batches.push(batch);
        }
        batches
    }

    fn latency_us(&self) -> Quantiles {
        let at = |share: f64| self.report.latency_us(share);
        Quantiles::from_shares(SHARES.map(|share| at(share).unwrap_or(f64::NAN)))
    }

    fn level(&self, per_s: f64) -> Level {
        let statistics = self.statistics.clone().unwrap_or_default();
        Level {
            per_s,
            // The time includes the drain: a rate is sustained only if all requests are answered by
            // then.
            seconds: self.report.drained_s,
            requests: self.report.requests,
            answered: self.report.answered,
            in_time: self.report.in_time.unwrap_or(0),
            rejected: self.report.rejected,
            latency_us: self.latency_us(),
            queue_us_mean: statistics.queue_us_mean,
            engine_us_mean: statistics.request_us_mean,
            outside_us_mean: self
                .report
                .latency_us_mean
                .zip(statistics.request_us_mean)
                .map(|(all_us, engine_us)| (all_us - engine_us).max(0.0)),
            batches: statistics.batches,
        }
    }
}

/// Combines the windows of a rate.
pub fn level(per_s: f64, windows: &[Window]) -> Level {
    let levels: Vec<Level> = windows.iter().map(|window| window.level(per_s)).collect();
    let sum = |of: fn(&Level) -> u64| levels.iter().map(of).sum::<u64>();
    let answered = |level: &Level| level.answered as f64;
    Level {
        per_s,
        seconds: levels.iter().map(|level| level.seconds).sum(),
        requests: sum(|level| level.requests),
        answered: sum(|level| level.answered),
        in_time: sum(|level| level.in_time),
        rejected: sum(|level| level.rejected),
        latency_us: typical_latency(&levels),
        queue_us_mean: mean(levels.iter().map(|level| (level.queue_us_mean, answered(level)))),
        engine_us_mean: mean(levels.iter().map(|level| (level.engine_us_mean, answered(level)))),
        outside_us_mean: mean(levels.iter().map(|level| (level.outside_us_mean, answered(level)))),
        batches: merged(levels.iter().flat_map(|level| &level.batches)),
    }
}

/// Least number of windows for which medians are taken.
const MIDDLE_OF: usize = 3;

/// Typical latencies of a window. Below three windows all are pooled; from three on each quantile
/// is a median, so that one disturbed window does not count.
fn typical_latency(levels: &[Level]) -> Quantiles {
    let known: Vec<&Level> = levels.iter().filter(|level| level.answered > 0).collect();
    if known.len() < MIDDLE_OF {
        let tables = known.iter().map(|level| (&level.latency_us, level.answered as f64));
        return Quantiles::mixture(&tables.collect::<Vec<_>>());
    }
    let middle = |share: f64| {
        let mut values: Vec<f64> = known.iter().map(|level| level.latency_us.at(share)).collect();
        values.sort_by(f64::total_cmp);
        sorted_quantile(&values, 0.5)
    };
    Quantiles::from_rising(SHARES.iter().map(|&share| middle(share)))
}

fn mean(values: impl Iterator<Item = (Option<f64>, f64)>) -> Option<f64> {
    let known = values.filter_map(|(value, weight)| Some((value? * weight, weight)));
    let (sum, weight) = known.fold((0.0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1));
    (weight > 0.0).then(|| sum / weight)
}

/// Sums the runs of each size.
fn merged<'a>(batches: impl Iterator<Item = &'a BatchSize>) -> Vec<BatchSize> {
    let mut by_rows: BTreeMap<u64, BatchSize> = BTreeMap::new();
    for batch in batches {
        let all = by_rows
            .entry(batch.rows)
            .or_insert(BatchSize { rows: batch.rows, ..BatchSize::default() });
        let runs = (all.runs + batch.runs).max(1) as f64;
        let both = |a: f64, b: f64| (a * all.runs as f64 + b * batch.runs as f64) / runs;
        *all = BatchSize {
            rows: batch.rows,
            runs: all.runs + batch.runs,
            input_us: both(all.input_us, batch.input_us),
            run_us: both(all.run_us, batch.run_us),
            output_us: both(all.output_us, batch.output_us),
        };
    }
    by_rows.into_values().collect()
}

/// Spread of run times: each run over the mean of its size in its own window.
pub fn spread<'a>(windows: impl Iterator<Item = &'a Window>) -> Spread {
    let mut times = Vec::new();
    for window in windows {
        let Some(statistics) = &window.statistics else { continue };
        let known = statistics.batches.iter().filter(|batch| batch.runs >= RUNS_MIN);
        let means: BTreeMap<u64, f64> = known.map(|batch| (batch.rows, batch.total_us())).collect();
        let over_mean = |(rows, us): &(u64, f64)| Some(us / means.get(rows)?);
        times.extend(window.runs.iter().filter_map(over_mean));
    }
    Spread { runs: times.len() as u64, times: Quantiles::from_values(times) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Interval;

    fn window(lengths: usize, runs: u64, run_us: f64) -> Window {
        let interval = Interval { length_s: 0.25, requests: 10, in_time: 9, ..Interval::default() };
        let batch = BatchSize { rows: 2, runs, run_us, ..BatchSize::default() };
        let report = Report {
            elapsed_s: lengths as f64 * 0.25,
            drained_s: lengths as f64 * 0.25,
            requests: 100,
            answered: 100,
            in_time: Some(90),
            intervals: vec![interval; lengths],
            ..Report::default()
        };
        let statistics = Statistics { batches: vec![batch], ..Statistics::default() };
        Window { report, statistics: Some(statistics), runs: vec![(2, run_us * 2.0), (3, 1.0)] }
    }

    #[test]
    fn a_window_has_five_parts() {
        let batches = window(20, 1, 1.0).blocks();
        assert_eq!(batches, [Block { requests: 40, in_time: 36 }; 5]);
        let left = window(22, 1, 1.0).blocks();
        assert_eq!(left.iter().map(|batch| batch.requests).sum::<u64>(), 220);
    }

    #[test]
    fn windows_of_a_rate_are_combined() {
        let level = level(40.0, &[window(20, 10, 100.0), window(20, 30, 200.0)]);
        assert_eq!((level.requests, level.in_time, level.seconds), (200, 180, 10.0));
        assert_eq!((level.batches[0].runs, level.batches[0].run_us), (40, 175.0));
        assert_eq!((level.in_time_share(), level.queue_us_mean), (0.9, None));
    }

    #[test]
    fn one_disturbed_window_of_three_does_not_count() {
        let at = |us: f64| Level {
            answered: 100,
            latency_us: Quantiles::from_values(vec![1.0, us]),
            ..Level::default()
        };
        let found = typical_latency(&[at(10.0), at(900.0), at(12.0)]);
        assert_eq!((found.at(0.0), found.at(1.0)), (1.0, 12.0));
        let both = typical_latency(&[at(10.0), at(900.0)]);
        assert!(both.at(1.0) > 800.0, "{both:?}");
        assert!(typical_latency(&[Level::default()]).is_empty());
    }

    #[test]
    fn single_runs_are_compared_with_the_mean_of_their_size() {
        let windows = [window(20, 10, 100.0), window(20, 3, 100.0)];
        let spread = spread(windows.iter());
        assert_eq!((spread.runs, spread.times.at(0.5)), (1, 2.0));
    }
}
