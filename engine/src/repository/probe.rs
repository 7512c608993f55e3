//! The first meeting of a version with ONNX Runtime, in a child: some files end the process while
//! they load, and some while they run. What ends the child does not end the server.
//!
//! One thread has the children, one at a time, and goes ahead of the one that loads: while a
//! version is loaded here, the next is tried there.

mod child;
mod digest;
mod meeting;
mod places;
mod process;
mod prober;
mod remembered;
mod talk;

pub use child::{ChildError, probe_child};
pub(super) use digest::runtime;

use super::load::{Wanted, is_package};
use super::row_trial::RowTrial;
use super::source::FileState;
use crate::config::ProbeSettings;
use crate::empty::Zeros;
use meeting::Meeting;
use parking_lot::Mutex;
use prober::Prober;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak, mpsc};
use std::thread::{Builder, JoinHandle};
use talk::SessionSettings;

/// What is tried: a file in a state, with settings of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject {
    file: PathBuf,
    folder: PathBuf,
    fingerprint: Vec<FileState>,
    settings: SessionSettings,
}

impl Subject {
    /// Of a version that has a file.
    fn of(wanted: &Wanted<'_>) -> Option<Self> {
        Some(Self {
            file: wanted.source.file.clone().ok()?,
            folder: wanted.source.folder.clone(),
            fingerprint: wanted.source.fingerprint.clone(),
            settings: (&wanted.config.replicas).into(),
        })
    }
}

/// Lets versions meet the runtime in a child, and tells what came of it.
pub(super) struct Probe {
    /// Until this is dropped.
    meetings: Option<mpsc::Sender<Weak<Meeting>>>,
    /// Those that were asked for and are not waited for yet.
    ahead: Mutex<Vec<Arc<Meeting>>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    /// Starts the thread that has the children, in which `cores` threads run models of a runtime
    /// as [`runtime`] tells it.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn start(
        settings: ProbeSettings,
        cores: usize,
        runtime: String,
    ) -> io::Result<Self> {
        let (meetings, inbox) = mpsc::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let work = move || Prober::new(settings, cores, runtime, stop).run(&inbox);
        let thread = Builder::new().name("probe".into()).spawn(work)?;
        let (meetings, thread) = (Some(meetings), Some(thread));
        Ok(Self { meetings, ahead: Mutex::default(), stopping, thread })
    }

    /// Lets a version that is to be loaded later be met in the meantime.
    pub(super) fn look_ahead(&self, wanted: &Wanted<'_>) {
        let Some(subject) = Subject::of(wanted) else { return };
        if self.ahead.lock().iter().any(|meeting| meeting.subject == subject) {
            return;
        }
        let meeting = self.ask(subject);
        self.ahead.lock().push(meeting);
    }

    /// Forgets what was looked ahead at and not loaded.
    pub(super) fn forget_ahead(&self) {
        self.ahead.lock().clear();
    }

    /// Waits until the version has loaded and run one row elsewhere.
    ///
    /// # Errors
    /// Why it is not to be loaded here.
    pub(super) fn meet(&self, wanted: &Wanted<'_>) -> Result<Option<Met<'_>>, String> {
        // Without a file there is nothing to load either.
        let Some(subject) = Subject::of(wanted) else { return Ok(None) };
        let mut ahead = self.ahead.lock();
        let index = ahead.iter().position(|meeting| meeting.subject == subject);
        let meeting = index.map(|index| ahead.remove(index));
        drop(ahead);
        let meeting = meeting.unwrap_or_else(|| self.ask(subject));
        meeting.loads(&self.stopping)?;
        Ok(Some(Met { meeting, stopping: &self.stopping }))
    }

    fn ask(&self, subject: Subject) -> Arc<Meeting> {
        let meeting = Arc::new(Meeting::new(subject));
        let sent = self.meetings.as_ref().map(|meetings| meetings.send(Arc::downgrade(&meeting)));
        if !matches!(sent, Some(Ok(()))) {
            // The thread is gone: nothing can be tried any more.
            meeting.tell_loads(Ok(()));
            meeting.tell_zeros(None);
        }
        meeting
    }

    /// Ends what waits and what runs.
    pub(super) fn stopper(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopping)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stopping.store(true, Relaxed);
        self.meetings = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A version that may be loaded.
pub(super) struct Met<'a> {
    meeting: Arc<Meeting>,
    stopping: &'a AtomicBool,
}

impl Met<'_> {
    /// Waits until rows of all kinds of values were run together and apart elsewhere, and says what
    /// came of that, where it was tried with the very kernels that serve.
    ///
    /// # Errors
    /// Why that is not to be done here.
    pub(super) fn compares(&self) -> Result<Option<RowTrial>, String> {
        let found = self.meeting.compares(self.stopping)?;
        // Of a package, the runtime has tried the layers that are our own here.
        Ok(found.filter(|_| !is_package(&self.meeting.subject.file)))
    }

    /// Waits until nothing more is found out of dimensions that are zero; `None` where nothing was
    /// tried.
    pub(super) fn zeros(&self) -> Option<Zeros> {
        self.meeting.zeros(self.stopping)
    }
}
