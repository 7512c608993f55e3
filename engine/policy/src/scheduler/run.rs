//! A batch that starts, and the end of its run.

use crate::ready_queue::QueuedRequest;
use crate::replica_set::ReplicaId;

/// A batch that starts.
#[derive(Debug)]
pub struct Batch<T> {
    /// Members, the most urgent first; at least one.
    pub members: Vec<QueuedRequest<T>>,
    /// Identity of the run, to be given to [`Scheduler::finish`].
    pub run: RunId,
    /// Replica that runs it.
    pub replica: ReplicaId,
    /// Rows of all members.
    pub rows: usize,
    /// Predicted run time, unless nothing is known of the replica's class.
    pub predicted_us: Option<f64>,
}

/// Identity of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunId(pub(super) u64);

impl RunId {
    /// Number of the run, counted from 0.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// Rows and time of a run that succeeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunSample {
    /// Rows of the batch.
    pub rows: usize,
    /// Run time.
    pub run_us: f64,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RunEnd {
    /// The run succeeded.
    Succeeded(RunSample),
    /// The run failed by the fault of the request or the model.
    Failed,
    /// The replica failed: it is ejected for a time.
    ReplicaFailed {
        /// Time after which the replica may work again, if it is known.
        retry_in_us: Option<u64>,
    },
}
