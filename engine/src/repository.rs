//! The repository of models. One thread scans its folder and decides, others load versions, and it
//! frees versions that no request uses any more.

mod lifecycle;
mod load_pool;
mod load_stopwatch;
mod load_with;
mod places;
mod readiness;
mod roots;
mod sent_files;
mod serving_map;
pub(crate) mod source;
mod triton;
mod update;

use crate::backend::Backend;
use crate::config::{ControlMode, EngineConfig};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::load::loader::Loader;
use crate::probe::{self, Probe};
use crate::replica::thread_pool::ThreadPool;
use crate::thread_priority::{self, Role, Spawner};
use load_pool::LoadQueue;
use load_stopwatch::LoadStopwatch;
use parking_lot::{Mutex, RwLock};
use serving_map::ServingMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use update::{Done, Event, Updater};

pub use lifecycle::State;
pub use load_with::LoadWith;
pub use readiness::{Readiness, ReadyWhen};
pub use roots::{Copied, Mirror, Root, Roots};
pub use sent_files::{SentFiles, SentFilesError};
pub use source::is_model_name;

/// Time that a start waits for the first scan of the folder. A longer scan goes on beside it.
const FIRST_SCAN_MAX: Duration = Duration::from_secs(1);

/// Status of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// State of the version.
    pub state: State,
    /// Reason for the state; empty if there is none.
    pub reason: String,
}

impl Status {
    /// The status of a version that was unloaded and could be loaded again.
    fn unloaded() -> Self {
        Self { state: State::Unavailable, reason: "unloaded".into() }
    }

    /// Describes the status; version 0 stands for the model as a whole.
    fn words(&self, version: u64) -> String {
        let Self { state, reason } = self;
        let version = if version == 0 { String::new() } else { format!("version {version} ") };
        let colon = if reason.is_empty() { "" } else { ": " };
        format!("{version}is {state}{colon}{reason}")
    }
}

/// Error of a command to the repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// The control mode does not allow the command.
    #[error("models are loaded and unloaded by name in control mode `explicit` only")]
    NotExplicit,
    /// The repository has no folder of this name.
    #[error(
        "failed to load or unload '{0}': there is no folder '{0}' in any repository, and no model \
         of this name elsewhere"
    )]
    NoSuchModel(String),
    /// No version could be loaded.
    #[error("failed to load '{model}': {reason}")]
    NotLoaded {
        /// Name of the model.
        model: String,
        /// Reason of the failure.
        reason: String,
    },
    /// The server is stopping.
    #[error("the repository is closed")]
    Closed,
}

/// State that the updating thread shares with others.
pub(crate) struct Shared {
    serving: ServingMap,
    status: RwLock<BTreeMap<(String, u64), Status>>,
    /// Models that the folder has, or that commands have asked for.
    asked: RwLock<BTreeSet<String>>,
    /// Models that a failure keeps, or kept, from serving, until they serve again. Its lock is taken
    /// after that of the states.
    broken: RwLock<BTreeSet<String>>,
    loading: LoadStopwatch,
    loads: LoadQueue,
    /// True once the versions of the start are known.
    is_read: AtomicBool,
    /// Failures of models that were named for the start, once it is over.
    start: watch::Sender<Option<Vec<RepositoryError>>>,
}

impl Shared {
    fn new(cores: usize) -> Self {
        Self {
            serving: ServingMap::default(),
            status: RwLock::default(),
            asked: RwLock::default(),
            broken: RwLock::default(),
            loading: LoadStopwatch::default(),
            loads: LoadQueue::new(cores),
            is_read: AtomicBool::new(false),
            start: watch::Sender::new(None),
        }
    }

    fn is_started(&self) -> bool {
        self.start.borrow().is_some()
    }
}

/// Repository of the models in a folder.
pub struct Repository {
    shared: Arc<Shared>,
    roots: Roots,
    control: ControlMode,
    ready_when: ReadyWhen,
    /// Models that must serve, by the settings.
    named: Vec<String>,
    events: mpsc::Sender<Event>,
    /// Flag that ends probes, so that the thread does not wait for them.
    stop_probe: Option<Arc<AtomicBool>>,
    thread: Option<JoinHandle<()>>,
}

impl Repository {
    /// Starts to load the models of all roots.
    ///
    /// # Errors
    /// A repository can not be read, or the thread not be started.
    pub fn open(config: EngineConfig, backends: Vec<Arc<dyn Backend>>) -> std::io::Result<Self> {
        config.models.check()?;
        let (events, inbox) = mpsc::channel();
        let EngineConfig { cores, objective_ms, control, ready_when, .. } = config;
        let shared = Arc::new(Shared::new(cores));
        let start = |settings| Probe::start(settings, cores, probe::runtime_identity(cores));
        let probe = config.probe.clone().map(start).transpose()?;
        let stop_probe = probe.as_ref().map(Probe::stopper);
        let operator_libraries = config.operator_libraries.clone();
        for library in &operator_libraries {
            let library = library.display();
            tracing::warn!(
                "the operator library {library} runs in the server, with all its rights"
            );
        }
        let probe = probe.map(|probe| probe.with_libraries(operator_libraries.clone()));
        let (threads, comparing) = (ThreadPool::start(Spawner::start()?)?, Mutex::default());
        let loader =
            Loader { backends, threads, probe, cores, objective_ms, comparing, operator_libraries };
        let (roots, named) = (config.models.clone(), config.load_at_start.clone());
        let channel = (events.clone(), inbox);
        let updater = Updater::new(config, Arc::new(loader), Arc::clone(&shared), channel);
        let (read, is_read) = mpsc::channel();
        let thread = std::thread::Builder::new().name("repository".into()).spawn(move || {
            thread_priority::lower_priority(Role::Load);
            // Nobody waits for a scan that takes long.
            updater.run(|| _ = read.send(()));
        })?;
        // So that no client is told that a model is missing which lies in the folder.
        let _ = is_read.recv_timeout(FIRST_SCAN_MAX);
        let thread = Some(thread);
        Ok(Self { shared, roots, control, ready_when, named, events, stop_probe, thread })
    }

    /// Finds the endpoint of a model, or of one of its versions.
    ///
    /// # Errors
    /// When it is unknown or does not serve, with the states of its versions.
    pub fn lookup(&self, name: &str, version: Option<u64>) -> Result<Arc<Endpoint>, Error> {
        self.route(name, version, 0)
    }

    /// Finds the endpoint of a request. `key` is a hash of what stays the same between requests of
    /// one client; a rule that splits requests among versions goes by it.
    ///
    /// # Errors
    /// When the model is unknown or does not serve, with the states of its versions.
    pub fn route(
        &self,
        name: &str,
        version: Option<u64>,
        key: u64,
    ) -> Result<Arc<Endpoint>, Error> {
        match self.shared.serving.lookup(name, version, key) {
            Ok(Some(endpoint)) => Ok(endpoint),
            Ok(None) => {
                let error = self.not_serving(name, version);
                // A version may have begun to serve between the two looks.
                self.shared.serving.lookup(name, version, key).ok().flatten().ok_or(error)
            }
            Err(error) => Err(self.ask_for(name, version).unwrap_or(error)),
        }
    }

    /// Reason why no version of a model serves. Versions that wait to be loaded go first now.
    fn not_serving(&self, name: &str, version: Option<u64>) -> Error {
        self.shared.loads.ask(name, version);
        let status = self.shared.status.read();
        let versions = (name.to_owned(), 0)..=(name.to_owned(), u64::MAX);
        let mut states = status.range(versions).peekable();
        let model = name.into();
        if states.peek().is_some() {
            let words = states.map(|((_, version), status)| status.words(*version));
            let reason = words.collect::<Vec<_>>().join("; ");
            return Error::ModelNotReady { model, reason };
        }
        match self.shared.is_read.load(Ordering::Acquire) {
            true => Error::ModelNotFound { model },
            false => Error::ModelNotReady { model, reason: "the repository is being read".into() },
        }
    }

    /// Lets a version that is being loaded, beside others that serve, go first. Returns `None` if
    /// it is not.
    fn ask_for(&self, name: &str, version: Option<u64>) -> Option<Error> {
        let status = self.shared.status.read();
        let status = status.get(&(name.to_owned(), version?))?;
        if status.state != State::Loading {
            return None;
        }
        self.shared.loads.ask(name, version);
        let reason = status.words(version?);
        Some(Error::ModelNotReady { model: name.into(), reason })
    }

    /// Endpoints of all versions in service.
    pub fn serving(&self) -> Vec<Arc<Endpoint>> {
        self.shared.serving.all()
    }

    /// A function that returns the endpoints in service. It outlives the repository.
    pub(crate) fn serving_snapshot(&self) -> impl Fn() -> Vec<Arc<Endpoint>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.serving.all()
    }

    /// Cumulative microseconds of loading and unloading models at a time, which is now or a moment
    /// ago. The difference over a request is the time for which loading overlapped it.
    pub fn loading_us(&self, at: Instant) -> u64 {
        self.shared.loading.elapsed_us(at)
    }

    /// Status of every known version, and of every model that can be loaded by name. Version 0 stands
    /// for a model without known versions.
    pub fn index(&self) -> BTreeMap<(String, u64), Status> {
        let mut index = self.shared.status.read().clone();
        for (name, note) in self.roots.notes() {
            let versions = (name.clone(), 0)..=(name, u64::MAX);
            for (_, status) in index.range_mut(versions) {
                if status.reason.is_empty() {
                    status.reason.clone_from(&note);
                }
            }
        }
        if self.control != ControlMode::Explicit {
            return index;
        }
        for (name, problem) in self.roots.names() {
            let versions = (name.clone(), 0)..=(name.clone(), u64::MAX);
            if index.range(versions).next().is_none() {
                let reason = problem.unwrap_or_else(|| "not loaded".into());
                index.insert((name, 0), Status { state: State::Unavailable, reason });
            }
        }
        index
    }

    /// True once everything found at the start has been loaded, or has failed to.
    pub fn is_started(&self) -> bool {
        self.shared.is_started()
    }

    /// Waits until everything found at the start has been loaded or has failed to. Returns the
    /// failures of models that the settings name.
    pub async fn start_failures(&self) -> Vec<RepositoryError> {
        let mut start = self.shared.start.subscribe();
        // The sender lives as long as this repository.
        let failures = start.wait_for(Option::is_some).await;
        failures.ok().and_then(|failures| failures.clone()).unwrap_or_default()
    }

    /// Readiness by the rule of the settings.
    pub fn readiness(&self) -> Readiness {
        // The start's end is read first: states that follow it are newer.
        let is_started = self.is_started();
        let asked = self.shared.asked.read();
        let index = self.shared.status.read();
        let Self { ready_when, ref named, .. } = *self;
        let named = match self.control {
            // Commands ask for models, and unload those that were named for the start.
            ControlMode::Explicit if ready_when == ReadyWhen::All => &[],
            _ => named.as_slice(),
        };
        let (asked, index, broken) = (&*asked, &*index, &*self.shared.broken.read());
        let facts = readiness::Facts { ready_when, named, asked, index, broken, is_started };
        readiness::readiness(&facts)
    }

    /// True if models are loaded and unloaded by name.
    pub fn loads_by_name(&self) -> bool {
        self.control == ControlMode::Explicit
    }

    /// Loads or reloads a model, with the settings and files that replace those in its folder.
    /// Returns when that is done.
    ///
    /// # Errors
    /// The control mode does not allow it, or no version could be loaded.
    pub async fn load(
        &self,
        model: &str,
        with: impl Into<LoadWith>,
    ) -> Result<(), RepositoryError> {
        let with = with.into();
        self.send(|done| Event::Load { model: model.into(), with, done }).await
    }

    /// Takes all versions of a model out of service. Returns when they are freed, which waits for
    /// the requests that use them.
    ///
    /// # Errors
    /// The control mode does not allow it, or there is no such model.
    pub async fn unload(&self, model: &str) -> Result<(), RepositoryError> {
        self.send(|done| Event::Unload { model: model.into(), done }).await
    }

    /// Gives all loads up, as the server is about to stop. Whoever waits for one gets the error
    /// [`RepositoryError::Closed`]. What serves goes on, and no request waits for others any more.
    pub fn begin_to_stop(&self) {
        if let Some(stop) = &self.stop_probe {
            stop.store(true, Ordering::Relaxed);
        }
        // An error means that the thread has ended already.
        drop(self.events.send(Event::BeginToStop));
    }

    /// Refuses the requests that still wait, and all that come, as the time to stop is over.
    pub fn refuse_all(&self) {
        // An error means that the thread has ended already.
        drop(self.events.send(Event::RefuseAll));
    }

    /// Sends a command to the thread and waits for its result.
    async fn send(&self, command: impl FnOnce(Done) -> Event) -> Result<(), RepositoryError> {
        if self.control != ControlMode::Explicit {
            return Err(RepositoryError::NotExplicit);
        }
        let (done, result) = oneshot::channel();
        self.events.send(command(done)).map_err(|_| RepositoryError::Closed)?;
        result.await.map_err(|_| RepositoryError::Closed)?
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        if let Some(stop) = &self.stop_probe {
            stop.store(true, Ordering::Relaxed);
        }
        // An error means that the thread has ended already.
        drop(self.events.send(Event::Stop));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
