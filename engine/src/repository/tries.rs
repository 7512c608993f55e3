//! Times batches of growing size before a version serves. So every size it will run in has been
//! run, and its queue knows how long each takes.

use super::warm_up::{INPUT_BYTES_MAX, Input, made_up_row, run};
use crate::config::BATCH_ROWS_MAX;
use crate::executor::{ExecuteError, Executor};
use crate::signature::Signature;
use rustix::time::{ClockId, clock_gettime};
use smallvec::{SmallVec, smallvec};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// A batch that runs for longer than this makes its members wait more than it saves them.
const RUN_MAX: Duration = Duration::from_millis(50);

/// Part of the objective that a run may take: those who have just missed it wait for its end, and
/// then for that of their own.
const OBJECTIVE_SHARE: f64 = 0.5;

/// The same for a model whose owner says how large its batches may be. Who wants more than that
/// loads for minutes.
const WANTED_RUN_MAX: Duration = Duration::from_secs(1);

/// Runs of one size, at most.
const RUNS_MAX: usize = 3;

/// Once the runs of one size took so long together, another would not tell much.
const RUNS_ENOUGH: Duration = Duration::from_millis(5);

/// The same where two executors are compared: their difference is smaller than their times.
const COMPARISON_ENOUGH: Duration = Duration::from_millis(100);

/// Runs of one size and executor, where two are compared.
const COMPARISONS_MAX: usize = 10;

/// Rows and microseconds of batches that were tried.
pub(super) type RunTimes = Vec<(usize, f64)>;

/// The longest run worth trying.
pub(super) fn run_max(signature: &Signature, objective_ms: Option<f64>) -> Duration {
    let of_objective = |ms: f64| Duration::try_from_secs_f64(ms * OBJECTIVE_SHARE / 1e3).ok();
    let run_max = objective_ms.and_then(of_objective).unwrap_or(RUN_MAX);
    match signature.larger_requests_run_alone {
        true => run_max,
        false => run_max.max(WANTED_RUN_MAX),
    }
}

/// Tries an executor whose runs use so many threads.
pub(super) struct Tries<'a> {
    executor: &'a mut dyn Executor,
    row: Result<Vec<Input>, ExecuteError>,
    clock: ClockId,
}

impl<'a> Tries<'a> {
    pub(super) fn new(
        executor: &'a mut dyn Executor,
        signature: &Signature,
        threads: usize,
    ) -> Self {
        // While loading, this thread has a low priority, and others wait for it in vain. A run
        // that is all its own takes the time it has a core.
        let clock = if threads == 1 { ClockId::ThreadCPUTime } else { ClockId::Monotonic };
        Self { executor, row: made_up_row(signature, 3), clock }
    }

    /// How long a batch runs, in microseconds, when it runs on made-up inputs.
    pub(super) fn time(&mut self, rows: usize) -> Option<f64> {
        let (mut fastest, mut spent) = (Duration::MAX, Duration::ZERO);
        // The first run of a shape allocates, and the second plans; requests see the others.
        for _ in 0..RUNS_MAX {
            let took = self.run(rows)?;
            fastest = fastest.min(took);
            spent += took;
            if spent > RUNS_ENOUGH {
                break;
            }
        }
        Some(micros(fastest))
    }

    /// Runs a batch once, unless it would take too much memory.
    fn run(&mut self, rows: usize) -> Option<Duration> {
        let row = self.row.as_ref().ok()?;
        let row_bytes: usize = row.iter().map(|(_, data)| data.len()).sum();
        if row_bytes.saturating_mul(rows) > INPUT_BYTES_MAX {
            return None;
        }
        let together: SmallVec<[_; 64]> = smallvec![row; rows];
        let started = now(self.clock);
        run(self.executor, &together).ok()?;
        Some(now(self.clock).saturating_sub(started))
    }

    /// Times the sizes 1, 2, 4 and so on up to the largest, which comes last, until one fails or
    /// is too long.
    pub(super) fn grow(&mut self, rows_max: usize, run_max: Duration) -> RunTimes {
        let mut tried = Vec::new();
        let mut rows = 1;
        while let Some(run_us) = self.time(rows) {
            tried.push((rows, run_us));
            if rows >= rows_max || run_us > micros(run_max) {
                break;
            }
            rows = (rows * 2).min(rows_max);
        }
        tried
    }

    /// Runs the sizes that another executor of the same model was tried with and is to run in: once
    /// to allocate, and once to plan; but a long run only once, as the other did.
    pub(super) fn repeat(&mut self, tried: &[(usize, f64)], run_max: Duration) {
        let rows_max = rows_worth_waiting_for(tried, run_max);
        for (rows, _) in tried.iter().filter(|(rows, _)| *rows <= rows_max) {
            if self.run(*rows).is_some_and(|took| took <= RUNS_ENOUGH) {
                self.run(*rows);
            }
        }
    }
}

/// A comparison of two executors of one model.
pub(super) struct Race<'a> {
    pub(super) signature: &'a Signature,
    /// Their runs use up to so many.
    pub(super) threads: usize,
    /// Sizes of batches, growing.
    pub(super) rows: &'a [usize],
    /// The longest run worth trying.
    pub(super) run_max: Duration,
}

impl Race<'_> {
    /// Times each size on both in turn, so that whatever else runs on the machine slows both; up to
    /// the first that is too long.
    pub(super) fn run(&self, executors: [&mut dyn Executor; 2]) -> [RunTimes; 2] {
        let Self { signature, threads, rows, run_max } = *self;
        let mut tries = executors.map(|executor| Tries::new(executor, signature, threads));
        let mut run_times = [RunTimes::new(), RunTimes::new()];
        for rows in rows.iter().copied().filter(|rows| *rows <= signature.batch_rows_max.max(1)) {
            let (mut fastest, mut spent) = ([Duration::MAX; 2], Duration::ZERO);
            for round in 0..COMPARISONS_MAX {
                for (tries, fastest) in tries.iter_mut().zip(&mut fastest) {
                    let Some(took) = tries.run(rows) else { return run_times };
                    *fastest = took.min(*fastest);
                    spent += took;
                }
                // The first round allocates.
                if round > 0 && spent > COMPARISON_ENOUGH {
                    break;
                }
            }
            for (run_times, fastest) in run_times.iter_mut().zip(fastest) {
                run_times.push((rows, micros(fastest)));
            }
            if fastest.iter().any(|took| *took > run_max) {
                break;
            }
        }
        run_times
    }
}

/// The largest batch that was tried and does not run for too long, at least one row. Without a
/// try it is the usual one.
pub(super) fn rows_worth_waiting_for(tried: &[(usize, f64)], run_max: Duration) -> usize {
    let short = tried.iter().filter(|(_, run_us)| *run_us <= micros(run_max));
    let largest = short.map(|(rows, _)| *rows).max();
    if tried.is_empty() { BATCH_ROWS_MAX } else { largest.unwrap_or(1) }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn now(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(time.tv_sec.unsigned_abs(), nanos)
}
