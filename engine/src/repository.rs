//! The repository of models. One thread scans its folder, loads and unloads versions, and frees
//! versions that no request uses any more.

mod lifecycle;
mod load_stopwatch;
mod load_with;
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
use crate::thread_priority::{self, Role, Spawner};
use load_stopwatch::LoadStopwatch;
use parking_lot::RwLock;
use serving_map::ServingMap;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::oneshot;
use update::{Command, Updater};

pub use lifecycle::State;
pub use load_with::LoadWith;
pub use roots::{Copied, Mirror, Root, Roots};
pub use sent_files::{SentFiles, SentFilesError};
pub use source::is_model_name;

/// Status of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// State of the version.
    pub state: State,
    /// Reason for the state; empty if there is none.
    pub reason: String,
}

/// Error of a command to the repository.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The control mode does not allow the command.
    #[error("models are loaded and unloaded by name in control mode `explicit` only")]
    NotExplicit,
    /// The repository has no folder of this name.
    #[error("there is no folder '{0}' in any repository, and no model of this name elsewhere")]
    NoSuchModel(String),
    /// No version could be loaded.
    #[error("model '{model}' was not loaded: {reason}")]
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
#[derive(Default)]
pub(crate) struct Shared {
    serving: ServingMap,
    status: RwLock<BTreeMap<(String, u64), Status>>,
    started: AtomicBool,
    loading: LoadStopwatch,
    /// True once loading is to end before the next version.
    stopping: AtomicBool,
}

/// Repository of the models in a folder.
pub struct Repository {
    shared: Arc<Shared>,
    roots: Roots,
    control: ControlMode,
    commands: mpsc::Sender<Command>,
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
        let shared = Arc::new(Shared::default());
        let (commands, inbox) = mpsc::channel();
        let EngineConfig { cores, objective_ms, .. } = config;
        let start = |settings| Probe::start(settings, cores, probe::runtime_identity(cores));
        let probe = config.probe.clone().map(start).transpose()?;
        let stop_probe = probe.as_ref().map(Probe::stopper);
        let loader = Loader { backends, spawner: Spawner::start()?, probe, cores, objective_ms };
        let (roots, control) = (config.models.clone(), config.control);
        let updater = Updater::new(config, loader, Arc::clone(&shared), inbox);
        let thread = std::thread::Builder::new().name("repository".into()).spawn(move || {
            thread_priority::lower_priority(Role::Load);
            updater.run();
        })?;
        Ok(Self { shared, roots, control, commands, stop_probe, thread: Some(thread) })
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
        if let Some(endpoint) = self.shared.serving.lookup(name, version, key)? {
            return Ok(endpoint);
        }
        let status = self.shared.status.read();
        let mut states = status.iter().filter(|((model, _), _)| model == name).peekable();
        if states.peek().is_none() {
            return Err(Error::ModelNotFound { model: name.into() });
        }
        let words = |((_, version), status): (&(String, u64), &Status)| {
            let Status { state, reason } = status;
            let version = if *version == 0 { String::new() } else { format!("version {version} ") };
            let colon = if reason.is_empty() { "" } else { ": " };
            format!("{version}is {state}{colon}{reason}")
        };
        let reason = states.map(words).collect::<Vec<_>>().join("; ");
        Err(Error::ModelNotReady { model: name.into(), reason })
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
        self.shared.started.load(Ordering::Acquire)
    }

    /// True if models are loaded and unloaded by name.
    pub fn loads_by_name(&self) -> bool {
        self.control == ControlMode::Explicit
    }

    /// Loads or reloads a model, with the settings and files that replace those in its folder.
    ///
    /// # Errors
    /// The control mode does not allow it, or no version could be loaded.
    pub async fn load(
        &self,
        model: &str,
        with: impl Into<LoadWith>,
    ) -> Result<(), RepositoryError> {
        let with = with.into();
        self.send(|done| Command::Load { model: model.into(), with, done }).await
    }

    /// Takes all versions of a model out of service.
    ///
    /// # Errors
    /// The control mode does not allow it, or there is no such model.
    pub async fn unload(&self, model: &str) -> Result<(), RepositoryError> {
        self.send(|done| Command::Unload { model: model.into(), done }).await
    }

    /// Sends a command to the thread and waits for its result.
    async fn send(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), RepositoryError>>) -> Command,
    ) -> Result<(), RepositoryError> {
        if self.control != ControlMode::Explicit {
            return Err(RepositoryError::NotExplicit);
        }
        let (done, result) = oneshot::channel();
        self.commands.send(command(done)).map_err(|_| RepositoryError::Closed)?;
        result.await.map_err(|_| RepositoryError::Closed)?
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        if let Some(stop) = &self.stop_probe {
            stop.store(true, Ordering::Relaxed);
        }
        // An error means that the thread has ended already.
        drop(self.commands.send(Command::Stop));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
