//! The threads that serve connections.
//!
//! Each has a runtime of its own, and a connection stays on one thread: requests that arrive
//! together meet without locks or wake-ups.

use super::arrival_clock::ArrivalClock;
use skysail_engine::overload_pause::OverloadPause;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

/// Sockets that a thread takes in at once. The runtime's own queue holds 256 tasks; more would go
/// to a second queue that is served first, and those that came early would wait longest.
const EVENTS_MAX: usize = 128;

/// The same while it still has tasks to run. It looks again after 61 of them, which are those of
/// about 20 requests, so that its queue does not grow.
const EVENTS_WHILE_BUSY_MAX: usize = 20;

/// State of one I/O thread that all of its connections share.
#[derive(Debug, Default)]
pub(crate) struct IoThread {
    clock: ArrivalClock,
    pause: OverloadPause,
}

/// Runtimes with one thread each. Dropping them ends the threads.
pub(crate) struct IoThreads {
    runtimes: Vec<(Runtime, Arc<IoThread>)>,
}

/// Assigns connections to the threads in turn.
#[derive(Clone)]
pub(crate) struct IoHandles {
    threads: Arc<[(Handle, Arc<IoThread>)]>,
    next: Arc<AtomicUsize>,
}

impl IoThread {
    /// Estimates when requests arrived in their sockets.
    pub(crate) fn clock(&self) -> &ArrivalClock {
        &self.clock
    }

    /// Decides how long the thread pauses after it has shed requests.
    pub(crate) fn pause(&self) -> &OverloadPause {
        &self.pause
    }

    /// Called by the runtime before the thread waits for events.
    fn park(&self) {
        let pause_us = self.pause.before_poll();
        if let Some(us) = pause_us {
            #[expect(clippy::disallowed_methods, reason = "a pause, not a wait for an event")]
            std::thread::sleep(Duration::from_micros(us));
        }
        self.clock.park(pause_us.is_some());
    }
}

impl IoThreads {
    /// Starts `count` threads, at least one.
    pub(crate) fn start(count: usize) -> std::io::Result<Self> {
        Ok(Self { runtimes: (0..count.max(1)).map(|_| start()).collect::<Result<_, _>>()? })
    }

    pub(crate) fn handles(&self) -> IoHandles {
        let handle = |(runtime, thread): &(Runtime, Arc<IoThread>)| {
            (runtime.handle().clone(), Arc::clone(thread))
        };
        IoHandles { threads: self.runtimes.iter().map(handle).collect(), next: Arc::default() }
    }
}

fn start() -> std::io::Result<(Runtime, Arc<IoThread>)> {
    let thread = Arc::<IoThread>::default();
    let (parked, unparked) = (Arc::clone(&thread), Arc::clone(&thread));
    // A multi-thread runtime of one thread: only that flavour can move long work aside.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("io")
        .enable_all()
        // Responses come from the threads that run models. By default the runtime polls such
        // wake-ups rarely, and under load responses would wait behind ten times as many requests.
        .global_queue_interval(1)
        .max_io_events_per_tick(EVENTS_MAX)
        .max_io_events_per_busy_tick(EVENTS_WHILE_BUSY_MAX)
        .on_thread_park(move || parked.park())
        .on_thread_unpark(move || unparked.clock.unpark())
        .build()?;
    let probed = Arc::clone(&thread);
    runtime.spawn(async move { probed.clock.probe_forever().await });
    Ok((runtime, thread))
}

impl IoHandles {
    /// The thread for the next connection.
    pub(crate) fn next(&self) -> &(Handle, Arc<IoThread>) {
        &self.threads[self.next.fetch_add(1, Relaxed) % self.threads.len()]
    }
}
