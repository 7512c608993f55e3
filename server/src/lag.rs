//! Since when a request has waited that its I/O thread looks at now.
//!
//! What waits in a socket, or behind the other connections of its thread, is in no queue. But what
//! the thread sees now was not there when it asked the system the time before last, so it came
//! about then at the earliest, and that is the time from which it counts. To know when the system
//! was asked, a task is sent around: everything else that is ready has its turn, the system is
//! asked for what has come meanwhile, and the task is back. The task rests while there are no
//! requests, and a thread that waited for something to do has no lag.
//!
//! A thread that turns requests down rests for a moment before it looks at its sockets again, as
//! network drivers do under load. Each time that it wakes, its code and data have left the caches
//! for those of the models, and to bring them back costs more than all else about a refusal; the
//! more requests share that, the better.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// The part of the time that its requests have for which a thread rests that turns some down.
const REST_SHARE: u64 = 12;

/// The longest rest, short beside the five milliseconds in which refusals should be told.
const REST_US_MAX: u64 = 2_000;

/// What a request without a limit is taken to have.
const NO_LIMIT_US: u64 = 6_000;

/// A thread that waited for less than this had things to do when it asked...
const WAITED_US_MIN: u64 = 50;

/// ...and for less than so much more after a rest, when there is much to be told.
const AFTER_REST_US: u64 = 250;

thread_local! {
    /// Of the I/O thread that asks; other threads have none.
    static LAG: OnceCell<Arc<Lag>> = const { OnceCell::new() };
}

/// Of one I/O thread. Times are in microseconds since `epoch`.
#[derive(Debug)]
struct Lag {
    epoch: Instant,
    /// What the thread sees now came after this...
    since_us: AtomicU64,
    /// ...and what it sees after it has asked again, after this.
    asked_us: AtomicU64,
    /// When it began to wait for something to do.
    parked_us: AtomicU64,
    /// Sends the task around.
    start: Notify,
    /// Whether a request was turned down since it last rested...
    has_refused: AtomicBool,
    /// ...and the least time that a request of late was given.
    limit_us: AtomicU64,
}

impl Lag {
    fn new() -> Self {
        Self {
            epoch: Instant::now(),
            since_us: AtomicU64::new(0),
            asked_us: AtomicU64::new(0),
            parked_us: AtomicU64::new(0),
            start: Notify::new(),
            has_refused: AtomicBool::new(false),
            limit_us: AtomicU64::new(u64::MAX),
        }
    }

    fn now_us(&self) -> u64 {
        micros(self.epoch.elapsed())
    }

    async fn go_around(self: Arc<Self>) {
        loop {
            self.start.notified().await;
            let start_us = self.now_us();
            last_in_line().await;
            // This is back when the system was asked.
            tokio::task::yield_now().await;
            // The thread may have waited since: times never go back.
            let asked_us = self.asked_us.fetch_max(start_us, Relaxed);
            self.since_us.fetch_max(asked_us, Relaxed);
        }
    }

    /// Before the thread waits for something to do.
    fn park(&self) {
        let mut parked_us = self.now_us();
        if self.has_refused.swap(false, Relaxed) {
            let limit_us = self.limit_us.load(Relaxed);
            // A short limit that is not seen again is forgotten bit by bit.
            self.limit_us.store(limit_us.saturating_mul(2), Relaxed);
            #[expect(clippy::disallowed_methods, reason = "a rest, not a wait for something")]
            std::thread::sleep(rest(limit_us));
            parked_us = self.now_us() + AFTER_REST_US;
        }
        self.parked_us.store(parked_us, Relaxed);
    }

    /// When there is something to do.
    fn unpark(&self) {
        let now_us = self.now_us();
        if now_us.saturating_sub(self.parked_us.load(Relaxed)) >= WAITED_US_MIN {
            self.asked_us.store(now_us, Relaxed);
        } else {
            // If another thread woke this one, the system was not asked yet.
            self.start.notify_one();
        }
        self.since_us.store(self.asked_us.load(Relaxed), Relaxed);
    }
}

/// Is back when everything else that is ready has had its turn.
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

/// How long a thread rests whose requests have so much time at least.
fn rest(limit_us: u64) -> Duration {
    let limit_us = if limit_us == u64::MAX { NO_LIMIT_US } else { limit_us };
    Duration::from_micros((limit_us / REST_SHARE).min(REST_US_MAX))
}

/// Starts the runtime of an I/O thread, whose lag is watched.
pub(crate) fn watched(builder: &mut Builder) -> std::io::Result<Runtime> {
    let lag = Arc::new(Lag::new());
    let (of_thread, parked, unparked) = (Arc::clone(&lag), Arc::clone(&lag), Arc::clone(&lag));
    let runtime = builder
        .on_thread_start(move || LAG.with(|own| drop(own.set(Arc::clone(&of_thread)))))
        .on_thread_park(move || parked.park())
        .on_thread_unpark(move || unparked.unpark())
        .build()?;
    runtime.spawn(lag.go_around());
    Ok(runtime)
}

/// A request of this thread has so much time, if it has a limit.
pub(crate) fn given(limit_us: Option<u64>) {
    let limit_us = limit_us.unwrap_or(NO_LIMIT_US).max(1);
    with_lag(|lag| lag.limit_us.fetch_min(limit_us, Relaxed));
}

/// A piece of a request came: the thread may have much to do before the next request.
pub(crate) fn came() {
    with_lag(|lag| lag.start.notify_one());
}

/// A request is turned down on this thread, as there are too many.
pub(crate) fn refused() {
    with_lag(|lag| lag.has_refused.store(true, Relaxed));
}

/// When a request came, at the earliest, that its thread takes up now.
pub(crate) fn arrival() -> Instant {
    let came = with_lag(|lag| {
        lag.start.notify_one();
        lag.epoch + Duration::from_micros(lag.since_us.load(Relaxed))
    });
    came.unwrap_or_else(Instant::now)
}

fn with_lag<T>(with: impl FnOnce(&Lag) -> T) -> Option<T> {
    LAG.with(|lag| lag.get().map(|lag| with(lag)))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
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

    /// The same, when the thread has had nothing to do after this.
    fn waited_after(before: impl Future<Output = ()> + Send + 'static) -> Duration {
        let runtime = runtime();
        let waited = runtime.block_on(runtime.spawn(async {
            before.await;
            tokio::time::sleep(2 * WORK).await;
            waited().await
        }));
        waited.unwrap()
    }

    #[test]
    fn a_thread_that_had_nothing_to_do_has_no_lag() {
        let waited = waited_after(async {
            waited().await;
            tokio::spawn(async { work() });
        });
        assert!(waited < WORK, "{waited:?}");
    }

    #[test]
    fn what_comes_during_a_rest_counts_from_before_it() {
        let runtime = runtime();
        let (mut waited, mut tries) = (Duration::ZERO, 0);
        while waited < rest(12_000) && tries < 100 {
            let turned_down = runtime.spawn(async {
                given(Some(12_000));
                refused();
            });
            runtime.block_on(turned_down).unwrap();
            // From another thread, so that it comes while the thread rests.
            waited = runtime.block_on(runtime.spawn(self::waited())).unwrap();
            tries += 1;
        }
        assert!(waited >= rest(12_000), "{waited:?}");
    }

    #[test]
    fn a_rest_is_over_when_the_thread_waits_again() {
        let waited = waited_after(async {
            given(Some(12_000));
            refused();
        });
        assert!(waited < WORK, "{waited:?}");
    }

    #[test]
    fn the_shortest_limit_decides_how_long_a_rest_is() {
        assert_eq!(rest(12_000), Duration::from_millis(1));
        assert_eq!(rest(1_000_000), Duration::from_micros(REST_US_MAX));
        assert_eq!(rest(u64::MAX), Duration::from_micros(500));
    }

    #[test]
    fn other_threads_have_none() {
        let now = Instant::now();
        assert!(arrival() >= now);
    }
}
