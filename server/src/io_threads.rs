//! The threads that talk to clients. Each has a runtime of its own, and a connection stays with
//! one thread: its requests and those that arrived with them meet without locks or wake-ups.

use crate::lag;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::runtime::{Builder, Handle, Runtime};

/// Runtimes with one thread each; they end when this is dropped.
pub(crate) struct IoThreads {
    runtimes: Vec<Runtime>,
}

/// Hands the threads out in turn.
#[derive(Clone)]
pub(crate) struct IoHandles {
    handles: Arc<[Handle]>,
    next: Arc<AtomicUsize>,
}

impl IoThreads {
    /// Starts so many threads, at least one.
    pub(crate) fn start(count: usize) -> std::io::Result<Self> {
        // The flavour for many threads, with one: only that lets long work move aside.
        let start = |_| {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(1).thread_name("io").enable_all();
            // Answers come from the threads that run models. By itself the runtime looks at what
            // comes from other threads now and then, and under load answers would wait behind
            // ten times as many new requests.
            builder.global_queue_interval(1);
            lag::watched(&mut builder)
        };
        Ok(Self { runtimes: (0..count.max(1)).map(start).collect::<Result<_, _>>()? })
    }

    pub(crate) fn handles(&self) -> IoHandles {
        let handles = self.runtimes.iter().map(|runtime| runtime.handle().clone()).collect();
        IoHandles { handles, next: Arc::default() }
    }
}

impl IoHandles {
    /// The thread whose turn it is.
    pub(crate) fn next(&self) -> &Handle {
        &self.handles[self.next.fetch_add(1, Relaxed) % self.handles.len()]
    }
}
