//! How long a request has waited before its I/O thread looks at it.
//!
//! What waits in a socket, or behind the other connections of its thread, is in no queue. So each
//! thread sends a task around: everything else that is ready has its turn, the system is asked for
//! what has come meanwhile, and the task is back. A request that comes now waits about as long as
//! the last round took, and that is taken off what it is allowed. The task rests while there are
//! no requests, and a thread that has nothing to do has no lag.
//!
//! A thread that turns requests down rests for a moment before it looks at its sockets again, as
//! network drivers do under load: to be woken for each request would take the cores that run
//! models longer than all else about a refusal.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// How long a thread rests that turns requests down: short beside the time in which they are told.
const REST: Duration = Duration::from_micros(500);

thread_local! {
    /// Of the I/O thread that asks; other threads have none.
    static LAG: OnceCell<Arc<Lag>> = const { OnceCell::new() };
}

/// Of one I/O thread.
#[derive(Debug, Default)]
struct Lag {
    /// How long the last round took.
    round_us: AtomicU64,
    /// Sends the task around.
    start: Notify,
    /// Whether a request was turned down since it last rested.
    has_refused: AtomicBool,
}

impl Lag {
    async fn go_around(self: Arc<Self>) {
        loop {
            self.start.notified().await;
            let start = Instant::now();
            tokio::task::yield_now().await;
            self.round_us.store(micros(start.elapsed()), Relaxed);
        }
    }

    /// Before the thread waits for something to do.
    fn rest(&self) {
        let rests = self.has_refused.swap(false, Relaxed);
        if rests {
            #[expect(clippy::disallowed_methods, reason = "a rest, not a wait for something")]
            std::thread::sleep(REST);
        }
        self.round_us.store(if rests { micros(REST) } else { 0 }, Relaxed);
    }
}

/// Starts the runtime of an I/O thread, whose lag is watched.
pub(crate) fn watched(builder: &mut Builder) -> std::io::Result<Runtime> {
    let lag = Arc::new(Lag::default());
    let (of_thread, parked) = (Arc::clone(&lag), Arc::clone(&lag));
    let runtime = builder
        .on_thread_start(move || LAG.with(|own| drop(own.set(Arc::clone(&of_thread)))))
        .on_thread_park(move || parked.rest())
        .build()?;
    runtime.spawn(lag.go_around());
    Ok(runtime)
}

/// A request is turned down on this thread, as there are too many.
pub(crate) fn refused() {
    LAG.with(|lag| {
        if let Some(lag) = lag.get() {
            lag.has_refused.store(true, Relaxed);
        }
    });
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// When a request came that its thread takes up now, as far as can be told.
pub(crate) fn arrival() -> Instant {
    let now = Instant::now();
    let lag = LAG.with(|lag| {
        let lag = lag.get()?;
        lag.start.notify_one();
        Some(Duration::from_micros(lag.round_us.load(Relaxed)))
    });
    lag.and_then(|lag| now.checked_sub(lag)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Duration = Duration::from_millis(20);

    /// Holds its thread up.
    #[expect(clippy::disallowed_methods, reason = "stands for work")]
    fn work() {
        std::thread::sleep(WORK);
    }

    fn runtime() -> Runtime {
        watched(Builder::new_multi_thread().worker_threads(1).enable_all()).unwrap()
    }

    /// How long before now a request counts as come.
    async fn waited() -> Duration {
        tokio::task::yield_now().await;
        let now = Instant::now();
        now.saturating_duration_since(arrival())
    }

    #[test]
    fn a_request_behind_others_counts_from_before_them() {
        let runtime = runtime();
        let longest = runtime.block_on(runtime.spawn(async {
            let mut longest = Duration::ZERO;
            for _ in 0..4 {
                // Another connection holds the thread up.
                tokio::spawn(async { work() });
                longest = longest.max(waited().await);
            }
            longest
        }));
        let longest = longest.unwrap();
        assert!(longest >= WORK, "{longest:?}");
    }

    #[test]
    fn a_thread_that_had_nothing_to_do_has_no_lag() {
        let runtime = runtime();
        let waited = runtime.block_on(runtime.spawn(async {
            waited().await;
            tokio::spawn(async { work() });
            tokio::time::sleep(2 * WORK).await;
            waited().await
        }));
        let waited = waited.unwrap();
        assert!(waited < WORK, "{waited:?}");
    }

    #[test]
    fn other_threads_have_none() {
        let now = Instant::now();
        assert!(arrival() >= now);
    }
}
