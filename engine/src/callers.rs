//! The callers of a run: when the last of them has left, the run is stopped.
//! `tests/schedules.rs` tests it.

use crate::executor::Stop;
use crate::sync::AtomicUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;
use std::task::{Context, Wake, Waker};
use tokio::sync::oneshot;

/// Those who wait for a run. A reply's channel tells when its caller drops the other end, so no
/// thread looks after them.
pub(crate) struct Callers {
    here: AtomicUsize,
    stop: Stop,
}

impl Callers {
    /// Watches the callers at the other ends of these channels, some of whom may have left. The
    /// thread must be no runtime's: there a channel may ask to be looked at again, by a wake that
    /// would count as leaving.
    pub(crate) fn watch<'a, T: 'a>(
        replies: impl ExactSizeIterator<Item = &'a mut oneshot::Sender<T>>,
    ) -> Arc<Self> {
        let here = AtomicUsize::new(replies.len());
        let callers = Arc::new(Self { here, stop: Stop::default() });
        let waker = Waker::from(Arc::clone(&callers));
        let mut context = Context::from_waker(&waker);
        for reply in replies {
            if reply.poll_closed(&mut context).is_ready() {
                callers.one_left();
            }
        }
        callers
    }

    /// The signal that the run is to stop.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    fn one_left(&self) {
        if self.here.fetch_sub(1, AcqRel) == 1 {
            self.stop.stop();
        }
    }
}

/// A channel wakes whoever watches it once, when its caller leaves without an answer.
impl Wake for Callers {
    fn wake(self: Arc<Self>) {
        self.one_left();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.one_left();
    }
}
