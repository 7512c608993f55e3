//! Calibration: measures a version's run time by batch size before it is ready. What follows is the
//! largest batch worth a wait, and which of two executors is faster.

use super::synthetic::{self, INPUT_BYTES_MAX, Input};
use super::trial_run;
use crate::batching::Batching;
use crate::config::BATCH_ROWS_MAX;
use crate::executor::{ExecuteError, Executor};
use crate::run_clock::RunClock;
use crate::signature::Signature;
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

    /// Measures the sizes 1, 2, 4 and so on up to `rows_max`, which comes last. Stops after the
    /// first size that fails or is too long.
    pub(crate) fn sweep(&mut self, rows_max: usize, run_max: Duration) -> BatchTimes {
        let mut times = Vec::new();
        let mut rows = 1;
        while let Some(run_us) = self.measure(rows) {
            times.push((rows, run_us));
            if rows >= rows_max || run_us > micros(run_max) {
                break;
            }
            rows = (rows * 2).min(rows_max);
        }
        times
    }

    /// Runs the sizes that another executor of the same model was measured with. Each runs twice,
    /// to allocate and to plan; a long run is made once, as on the other executor.
    pub(crate) fn rerun(&mut self, times: &[(usize, f64)], run_max: Duration) {
        let rows_max = largest_batch_within(times, run_max);
        for (rows, _) in times.iter().filter(|(rows, _)| *rows <= rows_max) {
            if self.run(*rows).is_some_and(|time| time <= RUNS_ENOUGH) {
                self.run(*rows);
            }
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
}

impl Comparison<'_> {
    /// Measures each size on both executors in turn, so that other load on the machine slows both.
    /// Stops after the first size that is too long.
    pub(crate) fn run(&self, executors: [&mut dyn Executor; 2]) -> [BatchTimes; 2] {
        let Self { signature, rows_max, clock, rows, run_max } = *self;
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
                // The first round allocates.
                if round > 0 && spent > COMPARISON_ENOUGH {
                    break;
                }
            }
            for (times, fastest) in times.iter_mut().zip(fastest) {
                times.push((rows, micros(fastest)));
            }
            if fastest.iter().any(|time| *time > run_max) {
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
