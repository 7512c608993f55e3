//! Calibration: measures a version's run time by batch size before it is ready. What follows is the
//! largest batch worth a wait, and which of two executors is faster.

use super::synthetic::{self, INPUT_BYTES_MAX, Input};
use super::trial_run;
use crate::batching::Batching;
use crate::config::BATCH_ROWS_MAX;
use crate::executor::{ExecuteError, Executor};
use crate::run_clock::RunClock;
use crate::signature::Signature;
use skysail_policy::replicas::Certainty;
use smallvec::{SmallVec, smallvec};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Longest useful run without an objective. A longer batch makes its requests wait more than it
/// saves them.
const RUN_MAX: Duration = Duration::from_millis(50);

/// Share of the objective that a run may take. A request that just misses a run waits for its end,
/// and then for the end of its own.
const OBJECTIVE_SHARE: f64 = 0.5;

/// Longest useful run of a model with a configured batch size. Trying longer runs would make
/// loading take minutes.
const CONFIGURED_RUN_MAX: Duration = Duration::from_secs(1);

/// Runs of one batch size, at most.
const RUNS_MAX: usize = 3;

/// Total time of runs of one size after which another run adds little.
const RUNS_ENOUGH: Duration = Duration::from_millis(5);

/// Run so long that what a first run does beside it does not count: one of each size is enough.
pub(crate) const ONCE_ENOUGH: Duration = Duration::from_millis(250);

/// Share of the run time that a batch of twice the size is expected to have, at least.
const EXPECTED_MIN: f64 = 0.8;

/// The same for comparing two executors, whose difference is smaller than their run times.
const COMPARISON_ENOUGH: Duration = Duration::from_millis(100);

/// Runs of one size on each of two executors that are compared, at most.
const COMPARISONS_MAX: usize = 10;

/// Measured batches: rows and microseconds.
pub(crate) type BatchTimes = Vec<(usize, f64)>;

/// The longest run that calibration tries.
pub(crate) fn run_max(batching: &Batching, objective_ms: Option<f64>) -> Duration {
    let share = |ms: f64| Duration::try_from_secs_f64(ms * OBJECTIVE_SHARE / 1e3).ok();
    let run_max = objective_ms.and_then(share).unwrap_or(RUN_MAX);
    match batching.larger_requests_run_alone {
        true => run_max,
        false => run_max.max(CONFIGURED_RUN_MAX),
    }
}

/// Microseconds of the longest run of a row for which requests share runs unasked.
pub(crate) fn shared_run_max_us(objective_ms: Option<f64>) -> f64 {
    let batching = Batching { larger_requests_run_alone: true, ..Batching::default() };
    micros(run_max(&batching, objective_ms))
}

/// Calibration of one executor with synthetic inputs.
pub(crate) struct Calibration<'a> {
    executor: &'a mut dyn Executor,
    row: Result<Vec<Input>, ExecuteError>,
    clock: RunClock,
}

impl<'a> Calibration<'a> {
    /// Prepares the calibration of an executor whose runs this clock measures.
    pub(crate) fn new(
        executor: &'a mut dyn Executor,
        signature: &Signature,
        clock: RunClock,
    ) -> Self {
        Self { executor, row: synthetic::row(signature, 3), clock }
    }

    /// Measures the run time of a batch in microseconds; `None` if the run fails.
    pub(crate) fn measure(&mut self, rows: usize) -> Option<f64> {
        let (mut fastest, mut spent) = (Duration::MAX, Duration::ZERO);
        // The first run of a shape allocates and the second plans. Later ones are like requests'.
        for _ in 0..RUNS_MAX {
            let time = self.run(rows)?;
            fastest = fastest.min(time);
            spent += time;
            if spent > RUNS_ENOUGH {
                break;
            }
        }
        Some(micros(fastest))
    }

    /// Runs a batch once; `None` if it fails or would take too much memory.
    fn run(&mut self, rows: usize) -> Option<Duration> {
        let row = self.row.as_ref().ok()?;
        let row_bytes: usize = row.iter().map(|(_, data)| data.len()).sum();
        if row_bytes.saturating_mul(rows) > INPUT_BYTES_MAX {
            return None;
        }
        let batch: SmallVec<[_; 64]> = smallvec![row; rows];
        let started = self.clock.now();
        trial_run::run(self.executor, &batch).ok()?;
        Some(self.clock.now().saturating_sub(started))
    }

    /// Measures the sizes 1, 2, 4 and so on up to `rows_max`, which comes last. Stops before the
    /// first size that is surely too long, or after one that fails or is too long. Sizes that are
    /// `known` do not run again.
    pub(crate) fn sweep(
        &mut self,
        rows_max: usize,
        run_max: Duration,
        known: &[(usize, f64)],
    ) -> BatchTimes {
        let mut times = BatchTimes::new();
        let mut rows = 1;
        loop {
            let known_us = known.iter().find(|(of, _)| *of == rows).map(|(_, run_us)| *run_us);
            let Some(run_us) = known_us.or_else(|| self.measure(rows)) else { return times };
            let growth = times.last().map_or(1.0, |(_, before_us)| run_us / before_us);
            times.push((rows, run_us));
            let next_us = run_us * growth.clamp(1.0, 2.0) * EXPECTED_MIN;
            if rows >= rows_max || run_us.max(next_us) > micros(run_max) {
                return times;
            }
            rows = (rows * 2).min(rows_max);
        }
    }

    /// Runs sizes that another executor of the same model was measured with. Short ones run twice,
    /// to allocate and to plan. Of long ones only the largest runs, for its memory.
    pub(crate) fn rerun(&mut self, times: &[(usize, f64)], run_max: Duration) {
        let rows_max = largest_batch_within(times, run_max);
        for (rows, run_us) in times.iter().filter(|(rows, _)| *rows <= rows_max) {
            let is_short = *run_us <= micros(RUNS_ENOUGH);
            let is_largest = *rows == rows_max && *run_us <= micros(ONCE_ENOUGH);
            let runs = if is_short { 2 } else { usize::from(is_largest) };
            for _ in 0..runs {
                self.run(*rows);
            }
        }
    }

    /// Gives back memory that larger batches have left.
    pub(crate) fn shrink(&mut self) {
        if let Ok(row) = &self.row {
            trial_run::shrink(self.executor, row);
        }
    }
}

/// A comparison of two executors of one model.
pub(crate) struct Comparison<'a> {
    /// Signature of the model.
    pub(crate) signature: &'a Signature,
    /// Rows of the largest batch.
    pub(crate) rows_max: usize,
    /// Clock of the runs.
    pub(crate) clock: RunClock,
    /// Batch sizes to compare, growing.
    pub(crate) rows: &'a [usize],
    /// The longest run that is tried.
    pub(crate) run_max: Duration,
    /// Certainty of what follows from the times so far.
    pub(crate) certainty: &'a dyn Fn(&[BatchTimes; 2]) -> Certainty,
}

impl Comparison<'_> {
    /// Measures each size on both executors in turn, so that other load on the machine slows both.
    /// Stops after the first size that is too long, or once more runs would change nothing.
    pub(crate) fn run(&self, executors: [&mut dyn Executor; 2]) -> [BatchTimes; 2] {
        let Self { signature, rows_max, clock, rows, run_max, certainty } = *self;
        let mut calibrations =
            executors.map(|executor| Calibration::new(executor, signature, clock));
        let mut times = [BatchTimes::new(), BatchTimes::new()];
        for rows in rows.iter().copied().filter(|rows| *rows <= rows_max.max(1)) {
            let (mut fastest, mut spent) = ([Duration::MAX; 2], Duration::ZERO);
            for round in 0..COMPARISONS_MAX {
                for (calibration, fastest) in calibrations.iter_mut().zip(&mut fastest) {
                    let Some(time) = calibration.run(rows) else { return times };
                    *fastest = time.min(*fastest);
                    spent += time;
                }
                for (times, fastest) in times.iter_mut().zip(fastest) {
                    times.retain(|(of, _)| *of != rows);
                    times.push((rows, micros(fastest)));
                }
                // The first round allocates.
                let counts = round > 0 || fastest.iter().all(|time| *time > ONCE_ENOUGH);
                let is_enough = spent > COMPARISON_ENOUGH || certainty(&times) != Certainty::Open;
                if counts && is_enough {
                    break;
                }
            }
            let is_long = fastest.iter().any(|time| *time > run_max);
            if is_long || certainty(&times) == Certainty::Final {
                break;
            }
        }
        times
    }
}

/// The largest measured batch that runs for at most `run_max`, at least one row. Without a
/// measurement it is [`BATCH_ROWS_MAX`].
pub(crate) fn largest_batch_within(times: &[(usize, f64)], run_max: Duration) -> usize {
    let short = times.iter().filter(|(_, run_us)| *run_us <= micros(run_max));
    let largest = short.map(|(rows, _)| *rows).max();
    if times.is_empty() { BATCH_ROWS_MAX } else { largest.unwrap_or(1) }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
