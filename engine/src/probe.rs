//! Probe: a version first meets ONNX Runtime in a child process. Some files end the process while
//! they load or run; a child that ends does not end the server.
//!
//! One thread runs the children, one at a time. It works ahead: while a version is loaded here, the
//! next one is probed there.

mod cache_key;
mod child;
mod pending;
mod process;
mod protocol;
mod verdict_cache;
mod worker;
mod zero_dims;

pub(crate) use cache_key::runtime_identity;
pub use child::{ChildError, probe_child};

use crate::config::ProbeSettings;
use crate::load::row_comparison::RowComparison;
use crate::load::{LoadTarget, is_package};
use crate::repository::source::FileState;
use crate::zero_elements::ZeroTrials;
use parking_lot::Mutex;
use pending::PendingProbe;
use protocol::SessionSettings;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak, mpsc};
use std::thread::{Builder, JoinHandle};
use worker::Worker;

/// Subject of a probe: a file in a given state, with the settings of its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject {
    file: PathBuf,
    folder: PathBuf,
    fingerprint: Vec<FileState>,
    settings: SessionSettings,
}

impl Subject {
    /// The subject of a version; `None` if it has no file.
    fn new(target: &LoadTarget<'_>) -> Option<Self> {
        Some(Self {
            file: target.source.file.clone().ok()?,
            folder: target.source.folder.clone(),
            fingerprint: target.source.fingerprint.clone(),
            settings: (&target.config.replicas).into(),
        })
    }
}

/// Probes versions in a child process.
pub(crate) struct Probe {
    /// Requests for the worker; `None` once dropped.
    requests: Option<mpsc::Sender<Weak<PendingProbe>>>,
    /// Probes that were requested early and are not waited for yet.
    early: Mutex<Vec<Arc<PendingProbe>>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    /// Starts the worker thread. Its children run models on `cores` threads; `runtime` is the
    /// result of [`runtime_identity`].
    ///
    /// # Errors
    /// The system can not start a thread.
    pub(crate) fn start(
        settings: ProbeSettings,
        cores: usize,
        runtime: String,
    ) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let work = move || Worker::new(settings, cores, runtime, stop).run(&inbox);
        let thread = Builder::new().name("probe".into()).spawn(work)?;
        let (requests, thread) = (Some(requests), Some(thread));
        Ok(Self { requests, early: Mutex::default(), stopping, thread })
    }

    /// Starts to probe a version that is to be loaded later.
    pub(crate) fn probe_early(&self, target: &LoadTarget<'_>) {
        let Some(subject) = Subject::new(target) else { return };
        if self.early.lock().iter().any(|probe| probe.subject == subject) {
            return;
        }
        let probe = self.request(subject);
        self.early.lock().push(probe);
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
        let Some(subject) = Subject::new(target) else { return Ok(None) };
        let mut early = self.early.lock();
        let index = early.iter().position(|probe| probe.subject == subject);
        let probe = index.map(|index| early.remove(index));
        drop(early);
        let probe = probe.unwrap_or_else(|| self.request(subject));
        probe.wait_load(&self.stopping)?;
        Ok(Some(ProbedVersion { probe, stopping: &self.stopping }))
    }

    fn request(&self, subject: Subject) -> Arc<PendingProbe> {
        let probe = Arc::new(PendingProbe::new(subject));
        let sent = self.requests.as_ref().map(|requests| requests.send(Arc::downgrade(&probe)));
        if !matches!(sent, Some(Ok(()))) {
            // The thread has ended, so nothing can be probed any more.
            probe.set_load(Ok(()));
            probe.set_zero_trials(None);
        }
        probe
    }

    /// Returns the flag that ends the probe that runs and those that wait.
    pub(crate) fn stopper(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopping)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stopping.store(true, Relaxed);
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A version that loaded and ran one row in a child, so that it may be loaded here.
pub(crate) struct ProbedVersion<'a> {
    probe: Arc<PendingProbe>,
    stopping: &'a AtomicBool,
}

impl ProbedVersion<'_> {
    /// Waits until the child has compared batched rows with rows run alone. Returns the result if
    /// the child used the same kernels that serve.
    ///
    /// # Errors
    /// The reason not to compare rows here.
    pub(crate) fn row_comparison(&self) -> Result<Option<RowComparison>, String> {
        let found = self.probe.wait_rows(self.stopping)?;
        // A child runs all layers of a package on the runtime. Here some run on our own kernels.
        Ok(found.filter(|_| !is_package(&self.probe.subject.file)))
    }

    /// Waits until all zero dimensions are tried; `None` if none were.
    pub(crate) fn zero_trials(&self) -> Option<ZeroTrials> {
        self.probe.wait_zero_trials(self.stopping)
    }
}
