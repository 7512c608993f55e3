//! When a batch starts and how large it may be.

pub mod fixed;
pub mod gather;

/// What a batching policy may know of a queue. All rows counted share one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Rows that could go into the next batch, at least 1.
    pub rows_waiting: usize,
    /// When the oldest of them was queued.
    pub oldest_queued_us: u64,
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
}

/// A run that is over, while a replica is idle again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FinishedRun {
    /// Rows of its batch.
    pub rows: usize,
    /// How long it took.
    pub run_us: f64,
    /// Rows that wait now and share one shape.
    pub rows_waiting: usize,
}

/// A batching policy.
pub trait BatchPolicy: Send {
    /// Decides about a queue in which at least one row waits, at the time `now_us`.
    fn decide(&mut self, queue: &QueueView, now_us: u64) -> Decision;

    /// Learns that a run is over.
    fn finished(&mut self, _run: &FinishedRun, _now_us: u64) {}
}
