//! Separates run times by batch size and by rate. The result is a curve for an idle machine, and a
//! slowdown at each rate.

use crate::profile::Level;
use std::collections::BTreeMap;

/// Fewest runs of a size that count.
const RUNS_MIN: u64 = 5;
/// Greatest weight of a size, in runs, so that others count, too.
const RUNS_MAX: f64 = 500.0;
/// Alternations of both fits.
const ROUNDS: usize = 12;

/// Fitted run times.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RunTimes {
    /// Rows and microseconds, by rising rows.
    pub(super) curve: Vec<(usize, f64)>,
    /// Slowdown of runs at each level, relative to the first.
    pub(super) times: Vec<f64>,
}

/// Observed run time: level, rows, microseconds, weight.
type Observation = (usize, usize, f64, f64);

/// Fits both in turn; `None` when the server counted no runs.
pub(super) fn fit(levels: &[Level]) -> Option<RunTimes> {
    let observations = observations(levels);
    if observations.is_empty() {
        return None;
    }
    let mut times = vec![1.0; levels.len()];
    let mut curve = BTreeMap::new();
    for _ in 0..ROUNDS {
        let of_rows = |rows: usize| observations.iter().filter(move |one| one.1 == rows);
        let rows: Vec<usize> = observations.iter().map(|one| one.1).collect();
        curve = rows
            .into_iter()
            .map(|rows| (rows, ratio(of_rows(rows).map(|one| (one.2, times[one.0], one.3)))))
            .collect();
        for (level, times) in times.iter_mut().enumerate() {
            let here = observations.iter().filter(|one| one.0 == level).peekable();
            *times = ratio(here.map(|one| (one.2, curve[&one.1], one.3)));
        }
        // Slowdowns are relative to the lowest rate.
        let first = times[0];
        times.iter_mut().for_each(|times| *times /= first);
    }
    Some(RunTimes { curve: curve.into_iter().collect(), times })
}

fn observations(levels: &[Level]) -> Vec<Observation> {
    let mut runs: BTreeMap<u64, u64> = BTreeMap::new();
    for batch in levels.iter().flat_map(|level| &level.batches) {
        *runs.entry(batch.rows).or_default() += batch.runs;
    }
    let often = runs.values().copied().max().unwrap_or(0).min(RUNS_MIN);
    let mut observations = Vec::new();
    for (level, of_level) in levels.iter().enumerate() {
        let known = of_level
            .batches
            .iter()
            .filter(|batch| batch.runs > 0 && batch.total_us() > 0.0 && runs[&batch.rows] >= often);
        observations.extend(known.map(|batch| {
            (level, batch.rows as usize, batch.total_us(), (batch.runs as f64).min(RUNS_MAX))
        }));
    }
    observations
}

/// Weighted mean of the ratios; 1 without any.
fn ratio(pairs: impl Iterator<Item = (f64, f64, f64)>) -> f64 {
    let (mut sum, mut weight) = (0.0, 0.0);
    for (value, of, counts) in pairs {
        sum += counts * value / of;
        weight += counts;
    }
    if weight > 0.0 { sum / weight } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_statistics::BatchSize;

    fn level(times: f64, sizes: &[(u64, u64)]) -> Level {
        let batch = |&(rows, runs): &(u64, u64)| BatchSize {
            rows,
            runs,
            input_us: 10.0 * times,
            run_us: (90.0 + 20.0 * rows as f64) * times,
            output_us: 0.0,
        };
        Level { batches: sizes.iter().map(batch).collect(), ..Level::default() }
    }

    #[test]
    fn size_and_rate_are_separated() {
        let levels = [
            level(1.0, &[(1, 400), (2, 50)]),
            level(1.1, &[(1, 300), (2, 200), (3, 80)]),
            level(1.4, &[(2, 100), (3, 400), (8, 90)]),
        ];
        let found = fit(&levels).unwrap();
        for (found, wanted) in found.times.iter().zip([1.0, 1.1, 1.4]) {
            assert!((found / wanted - 1.0).abs() < 0.02, "{found} {wanted}");
        }
        for (found, wanted) in found.curve.iter().zip([120.0, 140.0, 160.0, 260.0]) {
            assert!((found.1 / wanted - 1.0).abs() < 0.02, "{found:?} {wanted}");
        }
    }

    #[test]
    fn rare_sizes_are_ignored_unless_all_are_rare() {
        let rare = fit(&[level(1.0, &[(1, 400), (7, 1)])]).unwrap();
        assert_eq!(rare.curve, [(1, 120.0)]);
        let all = fit(&[level(1.0, &[(1, 2), (7, 2)])]).unwrap();
        assert_eq!(all.curve.len(), 2);
        assert_eq!(fit(&[level(1.0, &[])]), None);
    }
}
