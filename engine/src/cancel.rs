//! Stops a run once all of its callers have left.
//! `tests/schedules.rs` tests it under many thread schedules.

use crate::executor::Stop;
use crate::sync::AtomicUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;
use std::task::{Context, Wake, Waker};
use tokio::sync::oneshot;

/// Counts the callers that still wait for a run. A reply's channel wakes this set when its caller
/// drops the other end, so no thread polls.
pub(crate) struct CallerSet {
    remaining: AtomicUsize,
    stop: Arc<Stop>,
}

impl CallerSet {
    /// Watches the callers at the other ends of these channels. Some may have left already; one
    /// without a channel has.
    ///
    /// Must not be called on an async runtime's thread. There a channel may wake its watcher only
    /// to be polled again, and that wake would count as a caller leaving.
    pub(crate) fn watch<'a, T: 'a>(
        replies: impl ExactSizeIterator<Item = Option<&'a mut oneshot::Sender<T>>>,
    ) -> Arc<Self> {
        let remaining = AtomicUsize::new(replies.len());
        let callers = Arc::new(Self { remaining, stop: Arc::default() });
        let waker = Waker::from(Arc::clone(&callers));
        let mut context = Context::from_waker(&waker);
        for reply in replies {
            if reply.is_none_or(|reply| reply.poll_closed(&mut context).is_ready()) {
                callers.caller_left();
            }
        }
        callers
    }

    /// The signal that stops the run.
    pub(crate) fn stop(&self) -> &Arc<Stop> {
        &self.stop
    }

    fn caller_left(&self) {
        if self.remaining.fetch_sub(1, AcqRel) == 1 {
            self.stop.stop();
        }
    }
}

/// A channel wakes its watcher once: when the caller leaves without a response.
impl Wake for CallerSet {
    fn wake(self: Arc<Self>) {
        self.caller_left();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.caller_left();
    }
}
