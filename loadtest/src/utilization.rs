//! Utilization of a sending thread, whether it sleeps or polls when idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::yield_now;

/// A polling round is idle if it takes less than this multiple of the shortest one.
const IDLE_ROUND: u32 = 3;

/// Longest round that may be the shortest one.
const SHORTEST_MAX: Duration = Duration::from_micros(5);

/// Utilization of a thread since a moment.
pub(crate) enum Utilization {
    /// The thread sleeps when idle; its runtime counts the busy time.
    Sleeping {
        /// Busy time at the beginning.
        before: Duration,
    },
    /// The thread polls.
    Polling {
        /// Idle time, in nanoseconds.
        idle_ns: Arc<AtomicU64>,
    },
}

impl Utilization {
    /// Begins to count; with `poll` the thread does not sleep any more.
    pub(crate) fn start(poll: bool) -> Self {
        if !poll {
            return Self::Sleeping { before: busy_time() };
        }
        let idle_ns = Arc::<AtomicU64>::default();
        tokio::spawn(keep_awake(idle_ns.clone()));
        Self::Polling { idle_ns }
    }

    /// Share of the time `elapsed` since the start in which the thread had work.
    pub(crate) fn share(&self, elapsed: Duration) -> f64 {
        let busy = match self {
            Self::Sleeping { before } => busy_time() - *before,
            Self::Polling { idle_ns } => {
                elapsed.saturating_sub(Duration::from_nanos(idle_ns.load(Relaxed)))
            }
        };
        busy.div_duration_f64(elapsed).min(1.0)
    }
}

/// Time for which this thread's runtime had work.
fn busy_time() -> Duration {
    Handle::current().metrics().worker_total_busy_duration(0)
}

/// Task that is always ready, so that the thread never sleeps. It runs once a round: after all
/// other ready tasks, and after the system was polled for events.
async fn keep_awake(idle_ns: Arc<AtomicU64>) {
    let mut shortest = SHORTEST_MAX;
    let mut last = Instant::now();
    loop {
        yield_now().await;
        let now = Instant::now();
        let round = now - last;
        last = now;
        shortest = shortest.min(round);
        if round < shortest * IDLE_ROUND {
            idle_ns.fetch_add(u64::try_from(round.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        }
    }
}

/// Shares of real time are compared, and a stall of the machine is such a share.
#[cfg(test)]
mod wall_clock {
    use super::*;

    fn share(poll: bool, work: Duration) -> f64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            let utilization = Utilization::start(poll);
            while start.elapsed() < Duration::from_millis(200) {
                let begun = Instant::now();
                while begun.elapsed() < work {}
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            utilization.share(start.elapsed())
        })
    }

    #[test]
    fn a_polling_thread_distinguishes_work_from_waiting() {
        for poll in [false, true] {
            let (some, much) =
                (share(poll, Duration::ZERO), share(poll, Duration::from_millis(20)));
            assert!(much > some + 0.2, "{some} {much}, polling: {poll}");
        }
    }
}
