//! Estimates when the request that an I/O thread handles now arrived in its socket.
//!
//! A request that waits in a socket, or behind other connections of its thread, is in no queue.
//! The estimate is a lower bound: data that poll N of the sockets returned arrived after poll N-1.
//! A marker task measures when each poll happened. It queues itself behind everything that is ready,
//! the runtime polls, and the task runs again. The marker rests while there are no requests. A
//! request that wakes an idle thread has just arrived.
//!
//! This relies on tokio: tasks run first in, first out, and `yield_now` returns after a poll.

use crate::call::micros;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A shorter wait for events means that the thread was not idle.
const IDLE_US_MIN: u64 = 50;

/// The same after a pause, in which many responses gather.
const IDLE_AFTER_PAUSE_US_MIN: u64 = IDLE_US_MIN + 250;

/// Arrival times on one I/O thread.
#[derive(Debug)]
pub(crate) struct ArrivalClock {
    epoch: Instant,
    bounds: Bounds,
    /// Starts the marker task.
    probe: Notify,
}

impl Default for ArrivalClock {
    fn default() -> Self {
        Self { epoch: Instant::now(), bounds: Bounds::default(), probe: Notify::new() }
    }
}

impl ArrivalClock {
    /// Earliest arrival of the request that the thread handles now.
    pub(crate) fn arrival(&self) -> Instant {
        self.probe.notify_one();
        self.epoch + Duration::from_micros(self.bounds.arrival_us())
    }

    /// Notes that a part of a request came: the thread may be busy before the next one.
    pub(crate) fn on_frame(&self) {
        self.probe.notify_one();
    }

    /// Notes that the thread is about to wait for events, and whether it has just paused.
    pub(super) fn park(&self, after_pause: bool) {
        self.bounds.park(self.now_us(), after_pause);
    }

    /// Notes that the thread has events to handle.
    pub(super) fn unpark(&self) {
        if !self.bounds.unpark(self.now_us()) {
            // If another thread woke this one, the sockets were not polled yet.
            self.probe.notify_one();
        }
    }

    /// Runs the marker task.
    pub(super) async fn probe_forever(&self) {
        loop {
            self.probe.notified().await;
            let start_us = self.now_us();
            last_in_line().await;
            // This returns after the runtime has polled the sockets.
            tokio::task::yield_now().await;
            self.bounds.polled_after(start_us);
        }
    }

    fn now_us(&self) -> u64 {
        micros(self.epoch.elapsed())
    }
}

/// Bounds of arrival times, in microseconds since an epoch. It reads no clock.
#[derive(Debug, Default)]
struct Bounds {
    /// Bound for data that is visible now.
    visible_us: AtomicU64,
    /// Bound for data that the next poll returns.
    next_us: AtomicU64,
    /// Time at which the thread counts as idle if it still waits for events.
    idle_us: AtomicU64,
}

impl Bounds {
    fn arrival_us(&self) -> u64 {
        self.visible_us.load(Relaxed)
    }

    /// The sockets were polled at some time after `start_us`.
    fn polled_after(&self, start_us: u64) {
        // The thread may have waited since then: bounds never go back.
        let bound_us = self.next_us.fetch_max(start_us, Relaxed);
        self.visible_us.fetch_max(bound_us, Relaxed);
    }

    fn park(&self, now_us: u64, after_pause: bool) {
        let idle_us = if after_pause { IDLE_AFTER_PAUSE_US_MIN } else { IDLE_US_MIN };
        self.idle_us.store(now_us + idle_us, Relaxed);
    }

    /// Ends a wait for events. Returns true if the thread was idle, so that nothing has waited.
    fn unpark(&self, now_us: u64) -> bool {
        let was_idle = now_us >= self.idle_us.load(Relaxed);
        if was_idle {
            self.next_us.store(now_us, Relaxed);
        }
        self.visible_us.store(self.next_us.load(Relaxed), Relaxed);
        was_idle
    }
}

/// Returns when everything else that is ready has run.
async fn last_in_line() {
    let mut is_last = false;
    poll_fn(|cx| {
        if is_last {
            return Poll::Ready(());
        }
        is_last = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Bounds of a thread that woke from idleness at this time.
    fn woken(at_us: u64) -> Bounds {
        let bounds = Bounds::default();
        bounds.park(0, false);
        assert!(bounds.unpark(at_us));
        bounds
    }

    #[test]
    fn a_request_that_wakes_an_idle_thread_has_just_arrived() {
        assert_eq!(woken(1_000).arrival_us(), 1_000);
    }

    #[test]
    fn a_request_behind_others_counts_from_the_poll_before_the_last() {
        let bounds = woken(1_000);
        // The thread works until 20,000 and polls; data of that poll arrived after 1,000.
        bounds.polled_after(1_100);
        assert_eq!(bounds.arrival_us(), 1_000);
        bounds.polled_after(20_000);
        assert_eq!(bounds.arrival_us(), 1_100);
        bounds.polled_after(40_000);
        assert_eq!(bounds.arrival_us(), 20_000);
    }

    #[test]
    fn a_short_wait_keeps_the_bound_and_a_long_one_ends_it() {
        let bounds = woken(1_000);
        bounds.polled_after(1_100);
        bounds.park(5_000, false);
        assert!(!bounds.unpark(5_000 + IDLE_US_MIN - 1));
        assert_eq!(bounds.arrival_us(), 1_100);
        bounds.park(6_000, false);
        assert!(bounds.unpark(6_000 + IDLE_US_MIN));
        assert_eq!(bounds.arrival_us(), 6_000 + IDLE_US_MIN);
    }

    #[test]
    fn requests_that_come_during_a_pause_count_from_before_it() {
        let bounds = woken(1_000);
        bounds.polled_after(1_100);
        // A pause of 2,000 us ends here.
        bounds.park(3_200, true);
        assert!(!bounds.unpark(3_200 + IDLE_US_MIN));
        assert_eq!(bounds.arrival_us(), 1_100);
        bounds.park(9_000, true);
        assert!(bounds.unpark(9_000 + IDLE_AFTER_PAUSE_US_MIN));
        assert_eq!(bounds.arrival_us(), 9_000 + IDLE_AFTER_PAUSE_US_MIN);
    }

    #[test]
    fn a_late_marker_does_not_move_the_bounds_back() {
        let bounds = woken(1_000);
        bounds.park(2_000, false);
        bounds.unpark(9_000);
        bounds.polled_after(1_500);
        assert_eq!(bounds.arrival_us(), 9_000);
    }

    #[tokio::test]
    async fn the_marker_task_runs_behind_everything_that_is_ready() {
        let order = RefCell::new(Vec::new());
        let note = |name: &'static str| order.borrow_mut().push(name);
        let marker = async {
            last_in_line().await;
            note("marker");
        };
        let other = async { note("other") };
        tokio::join!(marker, other);
        assert_eq!(*order.borrow(), ["other", "marker"]);
    }
}
