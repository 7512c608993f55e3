//! The repository of models: one thread looks at its folder, loads and unloads versions, and
//! frees what no request uses any more.

mod lifecycle;
mod load_stopwatch;
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
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::oneshot;
use update::{Command, Updater};

pub use lifecycle::State;

/// What the repository says of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// Why, when that needs words.
    pub reason: String,
}

/// Why the repository did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The mode does not allow it.
    #[error("models are loaded and unloaded by name in control mode `explicit` only")]
    NotExplicit,
    /// The name is no folder of the repository.
    #[error("the repository has no folder '{0}'")]
    NoSuchModel(String),
    /// No wanted version could be loaded.
    #[error("model '{model}' was not loaded: {reason}")]
    NotLoaded {
        /// Its name.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// The server is stopping.
    #[error("the repository is closed")]
    Closed,
}

/// What the updating thread shares with everyone else.
#[derive(Default)]
pub(crate) struct Shared {
    serving: ServingMap,
    status: RwLock<BTreeMap<(String, u64), Status>>,
    started: AtomicBool,
    loading: LoadStopwatch,
    /// Ends the loading of many models between two of them.
    stopping: AtomicBool,
}

/// The models of a folder.
pub struct Repository {
    shared: Arc<Shared>,
    models: PathBuf,
    control: ControlMode,
    commands: mpsc::Sender<Command>,
    /// Ends trials, so that the thread does not wait for them.
    stop_probe: Option<Arc<AtomicBool>>,
    thread: Option<JoinHandle<()>>,
}

impl Repository {
    /// Starts to load what the folder holds.
    ///
    /// # Errors
    /// When the folder can not be read or the thread not be started.
    pub fn open(config: EngineConfig, backends: Vec<Arc<dyn Backend>>) -> std::io::Result<Self> {
        std::fs::read_dir(&config.models)?;
        let shared = Arc::new(Shared::default());
        let (commands, inbox) = mpsc::channel();
        let EngineConfig { cores, objective_ms, .. } = config;
        let start = |settings| Probe::start(settings, cores, probe::runtime_identity(cores));
        let probe = config.probe.clone().map(start).transpose()?;
        let stop_probe = probe.as_ref().map(Probe::stopper);
        let loader = Loader { backends, spawner: Spawner::start()?, probe, cores, objective_ms };
        let (models, control) = (config.models.clone(), config.control);
        let updater = Updater::new(config, loader, Arc::clone(&shared), inbox);
        let thread = std::thread::Builder::new().name("repository".into()).spawn(move || {
            thread_priority::lower_priority(Role::Load);
            updater.run();
        })?;
        Ok(Self { shared, models, control, commands, stop_probe, thread: Some(thread) })
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

    /// Every version in service.
    pub fn serving(&self) -> Vec<Arc<Endpoint>> {
        self.shared.serving.all()
    }

    /// Tells every version in service, whenever it is called, also when this is gone.
    pub(crate) fn serving_snapshot(&self) -> impl Fn() -> Vec<Arc<Endpoint>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.serving.all()
    }

    /// How long models have been loaded and unloaded up to a time, which is now or a moment ago.
    /// What it grows by in the time of a request is for how long that went on beside it.
    pub fn loading_us(&self, at: Instant) -> u64 {
        self.shared.loading.elapsed_us(at)
    }

    /// Every version that was seen, with its state, and every model that can be loaded by name.
    /// Version 0 stands for a model none of whose versions could be told.
    pub fn index(&self) -> BTreeMap<(String, u64), Status> {
        let mut index = self.shared.status.read().clone();
        if self.control != ControlMode::Explicit {
            return index;
        }
        for name in source::names(&self.models).unwrap_or_default() {
            let versions = (name.clone(), 0)..=(name.clone(), u64::MAX);
            if index.range(versions).next().is_none() {
                let status = Status { state: State::Unavailable, reason: "not loaded".into() };
                index.insert((name, 0), status);
            }
        }
        index
    }

    /// Whether everything found at the start has been loaded, or has failed to.
    pub fn is_started(&self) -> bool {
        self.shared.started.load(Ordering::Acquire)
    }

    /// Loads a model, or loads it again. `config` replaces the settings in its folder: Triton's
    /// model configuration as JSON.
    ///
    /// # Errors
    /// When the mode does not allow it or nothing could be loaded.
    pub async fn load(&self, model: &str, config: Option<String>) -> Result<(), RepositoryError> {
        self.ask(|done| Command::Load { model: model.into(), config, done }).await
    }

    /// Takes all versions of a model out of service.
    ///
    /// # Errors
    /// When the mode does not allow it or there is no such model.
    pub async fn unload(&self, model: &str) -> Result<(), RepositoryError> {
        self.ask(|done| Command::Unload { model: model.into(), done }).await
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), RepositoryError>>) -> Command,
    ) -> Result<(), RepositoryError> {
        if self.control != ControlMode::Explicit {
            return Err(RepositoryError::NotExplicit);
        }
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).map_err(|_| RepositoryError::Closed)?;
        answer.await.map_err(|_| RepositoryError::Closed)?
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
