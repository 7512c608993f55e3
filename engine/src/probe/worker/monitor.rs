//! Follows one job in a child: sets its results, and tells how it ended.

use super::super::pending::PendingProbe;
use super::super::process::{Ending, Limits, Process};
use super::super::protocol::Report;
use crate::load::row_comparison::RowComparison;
use crate::zero_elements::{ZeroDims, ZeroTrials};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Timeout of a run with zero dimensions, at least.
const ZERO_TIMEOUT_MIN: Duration = Duration::from_secs(10);

/// Timeout of a run with zero dimensions, as a multiple of the time for one row.
const ZERO_TIMEOUT_FACTOR: u32 = 20;

/// Outcome of one job in one child.
pub(super) enum JobOutcome {
    /// The job is complete, but for zero dimensions that it may have left.
    Done { zero_trials: ZeroTrials, rows: Option<RowComparison>, left_zero_dims: bool },
    /// The file can not be loaded, which a load here reports too; `always` if every attempt fails.
    Rejected { always: bool },
    /// The child ended at this step.
    Ended(Ending, Step),
    /// The child ended while these dimensions were zero.
    EndedAtZero(Ending, ZeroDims),
}

/// Step of a job at which its child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Load,
    Row,
    /// Rows were run together, to be compared with rows run alone.
    Rows,
    /// Anything after that, but zero dimensions.
    Later,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "when it loaded",
            Self::Row => "when it ran one row",
            Self::Rows => "after it ran one row",
            Self::Later => "then",
        })
    }
}

/// Follows one job in a child.
pub(super) struct JobMonitor<'a> {
    pub(super) probe: &'a PendingProbe,
    pub(super) child: &'a mut Process,
    pub(super) timeout: Duration,
}

impl JobMonitor<'_> {
    /// Reads reports and sets results until the job or the child ends.
    pub(super) fn follow(self, memory_bytes: u64, stopping: &AtomicBool) -> JobOutcome {
        let Self { probe, child, timeout } = self;
        let (mut time, mut step, mut started) = (timeout, Report::Loading, Instant::now());
        let (mut zero_trials, mut rows) = (ZeroTrials::default(), None);
        let mut left_zero_dims = false;
        loop {
            let report = match child.next(Limits { time, memory_bytes, stopping }) {
                Ok(report) => report,
                Err(ending) => return ended(ending, step),
            };
            match report {
                Report::Rejected { always } => return JobOutcome::Rejected { always },
                Report::Done => return JobOutcome::Done { zero_trials, rows, left_zero_dims },
                Report::LeftZeroDims => left_zero_dims = true,
                Report::RowTime { us } => probe.set_row_us(us),
                Report::Survived(dims) => drop(zero_trials.survived.insert(dims)),
                Report::RanRow => {
                    probe.set_load(Ok(()));
                    let by_row = started.elapsed() * ZERO_TIMEOUT_FACTOR;
                    time = timeout.min(ZERO_TIMEOUT_MIN.max(by_row));
                    step = Report::RanRow;
                }
                Report::ComparedRows(found) => {
                    rows.clone_from(&found);
                    probe.set_rows(found);
                    step = Report::ComparedRows(None);
                }
                Report::RunningRow => (step, started) = (Report::RunningRow, Instant::now()),
                Report::TryingZero(_) | Report::Loading | Report::MultiThreaded => step = report,
                Report::Ready => {}
            }
        }
    }
}

/// The outcome of a job whose child ended after its last report.
fn ended(ending: Ending, last: Report) -> JobOutcome {
    match (ending, last) {
        (ending @ Ending::Stopped, _) => JobOutcome::Ended(ending, Step::Later),
        (ending, Report::TryingZero(dims)) => JobOutcome::EndedAtZero(ending, dims),
        (ending, Report::RunningRow) => JobOutcome::Ended(ending, Step::Row),
        (ending, Report::RanRow) => JobOutcome::Ended(ending, Step::Rows),
        (ending, Report::ComparedRows(_) | Report::MultiThreaded) => {
            JobOutcome::Ended(ending, Step::Later)
        }
        (ending, _) => JobOutcome::Ended(ending, Step::Load),
    }
}
