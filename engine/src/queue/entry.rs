//! A request that waits, with its limits of time.

use crate::reply::ReplySender;
use crate::validate::ValidRequest;
use skysail_policy::cause::BlockingBatch;
use skysail_policy::priority::Priority;
use skysail_policy::queue_policy::TimeoutAction;
use std::time::Instant;

/// A request that waits.
pub(crate) struct Entry {
    pub(crate) request: ValidRequest,
    pub(crate) queued: Instant,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) wait_limit: Option<WaitLimit>,
    /// Batch that ran when it was queued, if no replica was free.
    pub(crate) behind: Option<BlockingBatch>,
    /// Requests that waited when it was queued.
    pub(crate) ahead: usize,
    /// Replicas that have failed it.
    pub(crate) attempts: u32,
    pub(crate) reply: ReplySender,
}

/// When a response is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// Time that was allowed in total.
    pub(crate) allowed_us: u64,
    /// True for a timeout of the request or of its model, false for the latency objective.
    pub(crate) is_timeout: bool,
}

/// When the time in the queue ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitLimit {
    pub(crate) at: Instant,
    /// Time that was allowed in total.
    pub(crate) allowed_us: u64,
    /// Treatment of the request then.
    pub(crate) action: TimeoutAction,
}

impl Entry {
    /// The timeout that has ended its time in the queue, in microseconds.
    pub(super) fn passed_timeout_us(&self, now: Instant) -> Option<u64> {
        let deadline = self.deadline.filter(|deadline| deadline.is_timeout && now > deadline.at);
        let wait_limit = self.wait_limit;
        let wait_limit =
            wait_limit.filter(|limit| limit.action == TimeoutAction::Reject && now > limit.at);
        let of_limit = wait_limit.map(|limit| limit.allowed_us);
        of_limit.or(deadline.map(|deadline| deadline.allowed_us))
    }
}
