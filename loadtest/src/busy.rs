//! How busy a sending thread is, whether it sleeps when it has nothing to do or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::yield_now;

/// A round of a thread that does not sleep, in which nothing but looking for something to do was
/// done, takes less than so many times the shortest one.
const IDLE_ROUND: u32 = 3;

/// A round that is longer than this was never one of the shortest.
const SHORTEST_MAX: Duration = Duration::from_micros(5);

/// A thread's work since a moment.
pub(crate) enum Busy {
    /// It sleeps, and its runtime knows how long it did not.
    Sleeping {
        /// What it had done by then.
        before: Duration,
    },
    /// It does not.
    Polling {
        /// Nanoseconds in which nothing was to be done.
        idle_ns: Arc<AtomicU64>,
    },
}

impl Busy {
    /// Counts from now on; with `poll` the thread does not sleep any more.
    pub(crate) fn start(poll: bool) -> Self {
        if !poll {
            return Self::Sleeping { before: worked() };
        }
        let idle_ns = Arc::<AtomicU64>::default();
        tokio::spawn(keep_awake(idle_ns.clone()));
        Self::Polling { idle_ns }
    }

    /// The part of the time `elapsed` since the start in which it had work.
    pub(crate) fn share(&self, elapsed: Duration) -> f64 {
        let busy = match self {
            Self::Sleeping { before } => worked() - *before,
            Self::Polling { idle_ns } => {
                elapsed.saturating_sub(Duration::from_nanos(idle_ns.load(Relaxed)))
            }
        };
        busy.div_duration_f64(elapsed).min(1.0)
    }
}

/// How long this thread has not been waiting for anything.
fn worked() -> Duration {
    Handle::current().metrics().worker_total_busy_duration(0)
}

/// There is always this task to do, so the thread never sleeps. It runs once a round: after all
/// others that are ready, and after the system was asked for what has come.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn share(poll: bool, work: Duration) -> f64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            let busy = Busy::start(poll);
            while start.elapsed() < Duration::from_millis(200) {
                let begun = Instant::now();
                while begun.elapsed() < work {}
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            busy.share(start.elapsed())
        })
    }

    #[test]
    fn a_thread_that_polls_tells_its_work_from_its_waiting() {
        for poll in [false, true] {
            let (some, much) =
                (share(poll, Duration::ZERO), share(poll, Duration::from_millis(20)));
            assert!(much > some + 0.2, "{some} {much}, polling: {poll}");
        }
    }
}
