//! When a batch starts, how large it may be, and which requests can no longer be met.

pub mod aimd;
pub mod max_delay;
pub mod fixed;
pub mod predictive;
pub mod quantile;
mod linger;

use crate::run_time::RunTime;

/// What a batching policy may know of a queue. All rows counted can share a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Rows that could go into the next batch, at least 1.
    pub rows_waiting: usize,
    /// When the most urgent of them was queued, or whoever a wait under way began for.
    pub queued_us: u64,
    /// Its deadline.
    pub deadline_us: Option<u64>,
}

/// What to do with a queue that has something in it while a replica is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start a batch of at most so many rows (at least 1).
    Run {
        /// Limit of the batch; a single request larger than it runs alone.
        rows_max: usize,
    },
    /// Ask again at this time, or earlier if something arrives.
    Wait {
        /// In the same clock as `now_us`.
        until_us: u64,
    },
    /// Give up those whose deadlines are before this time, as long as others wait behind them,
    /// and ask again.
    Expire {
        /// In the same clock as `now_us`.
        deadlines_before_us: u64,
    },
}

/// A run that is over, while a replica is idle again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FinishedRun {
    /// Rows of its batch.
    pub rows: usize,
    /// How long it took.
    pub run_us: f64,
    /// Whether the deadline of its most urgent member had passed when it was over; `None` without
    /// a deadline.
    pub missed: Option<bool>,
    /// Rows that wait now and share a batch key.
    pub rows_waiting: usize,
}

/// A batching policy.
pub trait BatchPolicy: Send {
    /// Decides about a queue in which at least one row waits, at the time `now_us`.
    fn decide(&mut self, queue: &QueueView, run_time: &RunTime, now_us: u64) -> Decision;

    /// Learns that a run is over.
    fn finished(&mut self, _run: &FinishedRun, _run_time: &RunTime, _now_us: u64) {}

    /// Rows of the batches that it makes of a long queue.
    fn rows_max(&self) -> usize;

    /// How many sigmas above the mean a run is taken to last, when a promise hangs on it.
    fn sigmas(&self) -> f64 {
        2.0
    }
}

/// How large batches may become, and what they are to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Rows of the largest batch; 0 counts as 1.
    pub rows_max: usize,
    /// How soon an answer should be there, from when the request was queued.
    pub objective_us: Option<f64>,
    /// Replicas that take batches from the queue; 0 counts as 1.
    pub replicas: usize,
}

impl Limits {
    /// How long a run may be so that whoever comes just after one has started is answered in
    /// time by the next: the rest of a run, and a run. With several replicas one is free sooner.
    pub fn run_us_max(&self) -> Option<f64> {
        let replicas = self.replicas.max(1) as f64;
        self.objective_us.map(|objective_us| objective_us / (1.0 + 1.0 / replicas))
    }
}
