//! The end of a queue: first nothing waits for more requests, then none is taken.

use super::Queue;
use crate::error::Error;
use skysail_policy::ready_queue::QueuedRequest;

/// Requests that a queue still expects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Intake {
    /// Any number of them, so that a batch may wait for more.
    Open,
    /// The last ones, which nothing waits for.
    Ending,
    /// None.
    Closed {
        /// Why, as a client reads it.
        reason: &'static str,
    },
}

impl Intake {
    /// True if no request is taken any more.
    pub(super) fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

impl Queue {
    /// Runs what waits at once, from now on: few requests will still come, if any.
    pub(crate) fn expect_no_more(&self) {
        let mut state = self.state.lock();
        if state.intake == Intake::Open {
            state.intake = Intake::Ending;
        }
        self.work.notify_all();
        self.call_thread(&mut state);
    }

    /// Rejects requests from now on. Those that wait are still run.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.intake = Intake::Closed { reason: "it is being unloaded" };
        self.work.notify_all();
        self.call_thread(&mut state);
    }

    /// Rejects requests from now on, and those that wait. Batches that run go on.
    pub(crate) fn refuse_all(&self, reason: &'static str) {
        let mut state = self.state.lock();
        state.intake = Intake::Closed { reason };
        state.scheduler.remove_all();
        let refused = state.scheduler.take_removed();
        self.work.notify_all();
        self.tell_if_ended(&state);
        drop(state);
        for QueuedRequest { item: entry, .. } in refused {
            entry.reply.send(Err(self.closed(reason)));
        }
    }

    /// The error of a request that is not taken any more.
    pub(super) fn closed(&self, reason: &str) -> Error {
        Error::ModelNotReady { model: self.model.clone(), reason: reason.into() }
    }
}
