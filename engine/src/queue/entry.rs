//! A request that waits, with its limits of time.

use crate::reply::ReplySender;
use crate::validate::ValidRequest;
use skysail_policy::cause::BlockingBatch;
use skysail_policy::priority::Priority;
use skysail_policy::queue_policy::TimeoutAction;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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
    /// True while it runs, for others that wait for its response.
    pub(crate) is_running: Option<Arc<AtomicBool>>,
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
        let of_limit = self.wait_limit.and_then(|limit| limit.passed_us(now));
        of_limit.or_else(|| self.deadline?.passed_timeout_us(now))
    }

    pub(super) fn set_running(&self, is_running: bool) {
        if let Some(running) = &self.is_running {
            running.store(is_running, Relaxed);
        }
    }
}

impl Deadline {
    /// The timeout, in microseconds, if it is one and has passed.
    pub(crate) fn passed_timeout_us(&self, now: Instant) -> Option<u64> {
        (self.is_timeout && now > self.at).then_some(self.allowed_us)
    }
}

impl WaitLimit {
    /// The time that was allowed, in microseconds, if it has passed and the request is rejected.
    pub(crate) fn passed_us(&self, now: Instant) -> Option<u64> {
        (self.action == TimeoutAction::Reject && now > self.at).then_some(self.allowed_us)
    }
}
