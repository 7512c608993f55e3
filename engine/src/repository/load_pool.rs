//! The threads that load versions, several at a time. `policy/load_order.rs` decides the order.

use super::Shared;
use super::update::{Event, InService, Origin};
use crate::endpoint::Endpoint;
use crate::load::LoadTarget;
use crate::load::loader::Loader;
use parking_lot::{Condvar, Mutex};
use skysail_kernels::give_back_ends;
use skysail_policy::load_order::{LoadLimits, LoadOrder};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Microseconds after which a load no longer keeps others from starting.
const TURN_US: u64 = 1_500_000;

/// Microseconds of waiting after which a load goes before cheaper ones.
const PATIENCE_US: u64 = 10_000_000;

/// Loads that run beyond their turn, at most, so that threads and memory have a limit.
const LONG_LOADS_MAX: usize = 24;

/// Time without a load after which a thread ends.
const IDLE: Duration = Duration::from_secs(5);

/// Time after which a thread that could not be started is tried again.
const SPAWN_PAUSE: Duration = Duration::from_millis(500);

/// Name and version of a load.
pub(super) type LoadKey = (String, u64);

/// A version to be loaded, with all that decides the result.
pub(super) struct LoadJob {
    pub(super) name: String,
    pub(super) version: u64,
    /// Folder of the model.
    pub(super) folder: PathBuf,
    pub(super) origin: Origin,
}

/// Result of one load.
pub(super) struct Loaded {
    pub(super) name: String,
    pub(super) version: u64,
    pub(super) origin: Origin,
    pub(super) result: Result<InService, String>,
}

/// The loads that wait, which requests may ask for.
pub(super) struct LoadQueue {
    state: Mutex<State>,
    changed: Condvar,
    started: Instant,
    /// Time without a load after which a thread ends.
    idle_max: Duration,
}

struct State {
    order: LoadOrder<LoadKey>,
    jobs: BTreeMap<LoadKey, LoadJob>,
    /// Threads that wait for a load.
    idle: usize,
    is_closed: bool,
}

impl LoadQueue {
    /// A queue whose loads use this many cores.
    pub(super) fn new(cores: usize) -> Self {
        let (slots, running_max) = (cores, cores.saturating_add(LONG_LOADS_MAX));
        let limits = LoadLimits { slots, running_max, turn_us: TURN_US, patience_us: PATIENCE_US };
        let order = LoadOrder::new(limits);
        let state = State { order, jobs: BTreeMap::new(), idle: 0, is_closed: false };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Self { state, changed, started: Instant::now(), idle_max: IDLE }
    }

    /// Lets a model's waiting loads go first: all of them, or that of one version.
    pub(super) fn ask(&self, name: &str, version: Option<u64>) {
        let is_asked = |(model, number): &LoadKey| {
            model == name && version.is_none_or(|version| version == *number)
        };
        self.state.lock().order.ask(is_asked);
    }

    /// Adds a job, or replaces one that waits. Returns true if there are more than waiting threads.
    fn add(&self, job: LoadJob) -> bool {
        let key = (job.name.clone(), job.version);
        let mut state = self.state.lock();
        state.order.push(key.clone(), job.origin.bytes(), self.now_us());
        state.jobs.insert(key, job);
        let lacks_threads = state.jobs.len() > state.idle;
        drop(state);
        self.changed.notify_one();
        lacks_threads
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits for the next job; `None` if there has been none for a while, or no more will come.
    fn next(&self) -> Option<LoadJob> {
        let mut state = self.state.lock();
        let waits_since = Instant::now();
        loop {
            if state.is_closed {
                return None;
            }
            let now_us = self.now_us();
            if let Some(key) = state.order.start(now_us) {
                // Another may start too.
                self.changed.notify_one();
                return state.jobs.remove(&key);
            }
            let pause = if state.jobs.is_empty() {
                self.idle_max.saturating_sub(waits_since.elapsed())
            } else {
                // Jobs that wait for a turn need this thread then.
                let turn = state.order.next_turn_us(now_us);
                turn.map_or(IDLE, |at| Duration::from_micros(at.saturating_sub(now_us).max(1_000)))
            };
            if pause.is_zero() {
                return None;
            }
            state.idle += 1;
            self.changed.wait_for(&mut state, pause);
            state.idle -= 1;
        }
    }

    fn finish(&self, key: &LoadKey) {
        self.state.lock().order.finish(key);
        self.changed.notify_all();
    }
}

/// The threads that take loads from the shared queue, and send each result as an event.
pub(super) struct LoadPool {
    worker: Arc<Worker>,
    threads: Vec<JoinHandle<()>>,
    /// True if the system had no thread to give when one was needed.
    lacks_thread: bool,
}

/// Everything that a thread of the pool needs.
struct Worker {
    loader: Arc<Loader>,
    shared: Arc<Shared>,
    events: mpsc::Sender<Event>,
}

impl LoadPool {
    /// A pool that has no thread yet.
    pub(super) fn new(
        loader: Arc<Loader>,
        shared: Arc<Shared>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let worker = Arc::new(Worker { loader, shared, events });
        Self { worker, threads: Vec::new(), lacks_thread: false }
    }

    fn queue(&self) -> &LoadQueue {
        &self.worker.shared.loads
    }

    /// Adds a job, or replaces one that waits. The threads have the priority of the caller.
    pub(super) fn push(&mut self, job: LoadJob) {
        let lacks_threads = self.queue().add(job);
        self.threads.retain(|thread| !thread.is_finished());
        let threads_max = self.worker.loader.cores.saturating_add(LONG_LOADS_MAX);
        if lacks_threads && self.threads.len() < threads_max {
            self.spawn();
        }
    }

    /// Time after which [`keep_going`](Self::keep_going) is to be called; `None` if it need not be.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.lacks_thread.then_some(SPAWN_PAUSE)
    }

    /// Tries again to start a thread that the system did not give, if jobs still wait.
    pub(super) fn keep_going(&mut self) {
        if !self.lacks_thread {
            return;
        }
        self.threads.retain(|thread| !thread.is_finished());
        let jobs_wait = !self.queue().state.lock().jobs.is_empty();
        self.lacks_thread = jobs_wait;
        if jobs_wait {
            self.spawn();
        }
    }

    fn spawn(&mut self) {
        let worker = Arc::clone(&self.worker);
        let thread = Builder::new().name("load".into()).spawn(move || worker.run());
        let lacked_thread = std::mem::replace(&mut self.lacks_thread, thread.is_err());
        match thread {
            Ok(thread) => self.threads.push(thread),
            Err(error) if self.threads.is_empty() && !lacked_thread => {
                tracing::error!("models wait to be loaded, as no thread can be started: {error}");
            }
            Err(error) => tracing::debug!("one thread less loads models: {error}"),
        }
    }

    /// Takes a job back. Returns false if it runs already.
    pub(super) fn withdraw(&self, name: &str, version: u64) -> bool {
        let key = (name.to_owned(), version);
        let mut state = self.queue().state.lock();
        state.jobs.remove(&key);
        state.order.withdraw(&key)
    }

    /// Drops the jobs that wait, and starts no more.
    pub(super) fn stop(&self) {
        let dropped = {
            let mut state = self.queue().state.lock();
            state.is_closed = true;
            std::mem::take(&mut state.jobs)
        };
        drop(dropped);
        self.queue().changed.notify_all();
    }

    /// Drops the jobs that wait, and waits for those that run.
    pub(super) fn close(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that loads models had panicked");
            }
        }
    }
}

impl Worker {
    fn run(&self) {
        while let Some(job) = self.shared.loads.next() {
            let result = self.load(&job);
            give_back_ends(|| {});
            let LoadJob { name, version, origin, .. } = job;
            let key = (name, version);
            self.shared.loads.finish(&key);
            let (name, version) = key;
            // Without a receiver the repository is closing, which drops what was loaded.
            let loaded = Box::new(Loaded { name, version, origin, result });
            drop(self.events.send(Event::Loaded(loaded)));
        }
    }

    /// Loads a version, and lets threads run its batches.
    fn load(&self, job: &LoadJob) -> Result<InService, String> {
        let _running = self.shared.loading.start();
        let LoadJob { name, version, folder, origin } = job;
        let Origin { source, config } = origin;
        let target = LoadTarget { name, version: *version, folder, config, source };
        let model = self.loader.load(&target)?;
        let endpoint = Endpoint::new(Arc::clone(&model)).map_err(|error| error.to_string())?;
        model.queue().serve_with(self.loader.threads.handle(), &model);
        Ok(InService { endpoint: Arc::new(endpoint), origin: origin.clone() })
    }
}
