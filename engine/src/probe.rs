//! Probe: a version first meets ONNX Runtime in a child process. Some files end the process while
//! they load or run; a child that ends does not end the server.
//!
//! Each load that waits for a probe has a worker, a thread with a child. What a version can serve
//! without, trials of zero dimensions that take long, comes when nothing is loaded.

mod cache_key;
mod child;
mod pending;
mod process;
mod protocol;
mod queue;
mod verdict_cache;
mod worker;
mod zero_dims;

pub(crate) use cache_key::runtime_identity;
pub use child::{ChildError, probe_child};

use crate::config::ProbeSettings;
use crate::load::row_comparison::RowComparison;
use crate::load::{LoadTarget, is_package};
use crate::repository::source::FileState;
use crate::zero_elements::TrialCell;
use parking_lot::Mutex;
use pending::PendingProbe;
use protocol::SessionSettings;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use worker::{Context, Worker};

/// Subject of a probe: a file in a given state, with the settings of its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject {
    file: PathBuf,
    folder: PathBuf,
    fingerprint: Vec<FileState>,
    settings: SessionSettings,
    /// Libraries of operators that it may use.
    libraries: Vec<PathBuf>,
}

impl Subject {
    /// The subject of a version; `None` if it has no file, or a library of it is missing.
    fn new(target: &LoadTarget<'_>, libraries: &[PathBuf]) -> Option<Self> {
        Some(Self {
            libraries: target.operator_libraries(libraries).ok()?,
            file: target.source.file.clone().ok()?,
            folder: target.source.folder.clone(),
            fingerprint: target.source.fingerprint.clone(),
            settings: (&target.config.replicas).into(),
        })
    }
}

/// Time that a load waits for trials of zero dimensions. A version serves without their results.
const ZERO_TRIALS_MAX: Duration = Duration::from_secs(1);

/// Probes versions in child processes.
pub(crate) struct Probe {
    context: Arc<Context>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    /// Libraries of operators that every version may use.
    libraries: Vec<PathBuf>,
}

impl Probe {
    /// Starts the first worker. Its child runs models on `cores` threads; `runtime` is the result of
    /// [`runtime_identity`].
    ///
    /// # Errors
    /// The system can not start a thread.
    pub(crate) fn start(
        settings: ProbeSettings,
        cores: usize,
        runtime: String,
    ) -> io::Result<Self> {
        let context = Arc::new(Context::new(settings, cores, runtime));
        let probe = Self { context, workers: Mutex::default(), libraries: Vec::new() };
        probe.add_worker()?;
        Ok(probe)
    }

    /// Lets every version use these libraries of operators.
    pub(crate) fn with_libraries(mut self, libraries: Vec<PathBuf>) -> Self {
        self.libraries = libraries;
        self
    }

    /// Waits until the version has loaded and run one row in a child. Returns `None` for a version
    /// without a file.
    ///
    /// # Errors
    /// The reason not to load the version here.
    pub(crate) fn wait(
        &self,
        target: &LoadTarget<'_>,
    ) -> Result<Option<ProbedVersion<'_>>, String> {
        let Some(subject) = Subject::new(target, &self.libraries) else { return Ok(None) };
        let probe = Arc::new(PendingProbe::new(subject));
        let version = ProbedVersion::new(probe, &self.context);
        if self.context.queue.push(&version.probe)
            && let Err(error) = self.add_worker()
        {
            tracing::debug!("a probe waits for another's end: {error}");
        }
        version.probe.wait_load(&self.context.stopping)?;
        Ok(Some(version))
    }

    fn add_worker(&self) -> io::Result<()> {
        let mut workers = self.workers.lock();
        workers.retain(|worker| !worker.is_finished());
        let is_first = workers.is_empty();
        let context = Arc::clone(&self.context);
        let work = move || Worker::new(context, is_first).run();
        workers.push(Builder::new().name("probe".into()).spawn(work)?);
        Ok(())
    }

    /// Returns the flag that ends the probes that run and those that wait.
    pub(crate) fn stopper(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.context.stopping)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.context.stopping.store(true, Relaxed);
        self.context.queue.close();
        for worker in self.workers.get_mut().drain(..) {
            drop(worker.join());
        }
    }
}

/// A version that loaded and ran one row in a child, so that it may be loaded here. While this
/// lives, the version counts as being loaded.
pub(crate) struct ProbedVersion<'a> {
    probe: Arc<PendingProbe>,
    context: &'a Context,
}

impl<'a> ProbedVersion<'a> {
    fn new(probe: Arc<PendingProbe>, context: &'a Context) -> Self {
        context.queue.begin_load();
        Self { probe, context }
    }

    /// Microseconds of the child's run of one row, if it was made now.
    pub(crate) fn row_us(&self) -> Option<f64> {
        // A child runs all layers of a package on the runtime. Here some run on our own kernels.
        let row_us = self.probe.row_us().filter(|_| !is_package(&self.probe.subject.file));
        row_us.map(|us| us as f64)
    }

    /// Waits until the child has compared batched rows with rows run alone. Returns the result if
    /// the child used the same kernels that serve.
    ///
    /// # Errors
    /// The reason not to compare rows here.
    pub(crate) fn row_comparison(&self) -> Result<Option<RowComparison>, String> {
        let found = self.probe.wait_rows(&self.context.stopping)?;
        Ok(found.filter(|_| !is_package(&self.probe.subject.file)))
    }

    /// Results for zero dimensions. Waits for those that come soon.
    pub(crate) fn zero_trials(&self) -> TrialCell {
        self.probe.wait_zero_trials(&self.context.stopping, ZERO_TRIALS_MAX);
        Arc::clone(&self.probe.zero_trials)
    }
}

impl Drop for ProbedVersion<'_> {
    fn drop(&mut self) {
        self.context.queue.end_load();
    }
}
