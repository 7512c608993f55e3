//! Watchdog: checks all queues several times a second, and warns when one has requests but makes no
//! progress.

use crate::endpoint::Endpoint;
use crate::model::Model;
use skysail_policy::scheduler::Progress;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Period of the checks.
const PERIOD: Duration = Duration::from_millis(200);

/// Time without progress after which a queue counts as stalled. With [`PERIOD`] that is noticed
/// within a second.
const STALL_TIME: Duration = Duration::from_millis(700);

/// Multiple of the predicted run time that counts as no progress.
const PREDICTED_RUNS_MAX: u64 = 4;

/// The watchdog's thread, which ends when this is dropped.
pub(crate) struct Watchdog {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts to watch the models that `serving` returns.
    ///
    /// # Errors
    /// The system can not start a thread.
    pub(crate) fn start(
        serving: impl Fn() -> Vec<Arc<Endpoint>> + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            let mut watches = Watches::default();
            while stopped.recv_timeout(PERIOD) == Err(mpsc::RecvTimeoutError::Timeout) {
                watches.check(&serving(), Instant::now());
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watchdog had panicked");
        }
    }
}

/// Watched queues by model and version.
#[derive(Default)]
struct Watches(BTreeMap<(Arc<str>, u64), Watch>);

impl Watches {
    fn check(&mut self, endpoints: &[Arc<Endpoint>], now: Instant) {
        let key = |model: &Model| (Arc::clone(model.name()), model.version());
        let mut seen = BTreeMap::new();
        for model in endpoints.iter().map(|endpoint| endpoint.model()) {
            let progress = model.queue().progress();
            let known = self.0.remove(&key(model));
            let mut watch = known.unwrap_or_else(|| Watch::new(&progress, now));
            let was_stalled = watch.is_stalled;
            watch.check(&progress, now);
            if watch.is_stalled != was_stalled {
                report(model, &watch, &progress, now);
            }
            model.set_stalled(watch.is_stalled);
            seen.insert(key(model), watch);
        }
        self.0 = seen;
    }
}

fn report(model: &Model, watch: &Watch, progress: &Progress, now: Instant) {
    let (name, version) = (model.name(), model.version());
    if !watch.is_stalled {
        return tracing::warn!("the queue of model '{name}' version {version} moves again");
    }
    let (waiting, busy) = (progress.waiting, model.busy());
    let seconds = now.saturating_duration_since(watch.progressed).as_secs_f64();
    tracing::warn!(
        "the queue of model '{name}' version {version} does not move: {waiting} requests wait, \
         {busy} runs are under way on its replicas ({}), and none has ended for {seconds:.1} s",
        states(model)
    );
}

/// Counts the replicas of a model by their states: `2 ready, 1 ejected`.
fn states(model: &Model) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, state) in model.replica_states() {
        *counts.entry(state.name()).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    counts.join(", ")
}

/// A watched queue.
#[derive(Debug)]
struct Watch {
    finished: u64,
    /// Time of the last check with progress, or without a need for it.
    progressed: Instant,
    is_stalled: bool,
}

impl Watch {
    fn new(progress: &Progress, now: Instant) -> Self {
        Self { finished: progress.finished, progressed: now, is_stalled: false }
    }

    fn check(&mut self, progress: &Progress, now: Instant) {
        let has_progressed = progress.finished != self.finished;
        // A replica that hangs stays stalled when its callers leave.
        let needs_none = progress.waiting == 0 && (progress.is_idle || !self.is_stalled);
        if has_progressed || needs_none || progress.is_lingering {
            *self = Self::new(progress, now);
            return;
        }
        let predicted_us = progress.predicted_us.saturating_mul(PREDICTED_RUNS_MAX);
        let stall_time = STALL_TIME.max(Duration::from_micros(predicted_us));
        self.is_stalled = now.saturating_duration_since(self.progressed) >= stall_time;
    }
}
