//! The engine as a whole: a repository of models, and the way in for requests.

use crate::backend::{self, Backend};
use crate::config::EngineConfig;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::observe::watchdog::Watchdog;
use crate::repository::Repository;
use crate::runtime;
use skysail_onnxruntime::LoadError;
use std::sync::Arc;

/// Reason why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// ONNX Runtime is missing or unusable.
    #[error(transparent)]
    Runtime(#[from] LoadError),
    /// The repository can not be read.
    #[error("the repository {folder} can not be read: {error}")]
    Repository {
        /// Folder of models.
        folder: String,
        /// Error of the system.
        error: std::io::Error,
    },
    /// The system has no thread to give.
    #[error("a thread of the engine can not be started: {0}")]
    Thread(std::io::Error),
}

/// Models in service.
pub struct Engine {
    repository: Repository,
    _watchdog: Watchdog,
}

impl Engine {
    /// Loads ONNX Runtime and starts to load the repository.
    ///
    /// # Errors
    /// When the runtime or the repository cannot be opened.
    pub fn start(config: EngineConfig) -> Result<Self, StartError> {
        Self::start_with(config, Vec::new())
    }

    /// Starts with other backends beside ONNX Runtime. They go first: each file is opened by the
    /// first backend that does.
    ///
    /// # Errors
    /// When the runtime or the repository cannot be opened.
    pub fn start_with(
        config: EngineConfig,
        mut backends: Vec<Arc<dyn Backend>>,
    ) -> Result<Self, StartError> {
        let environment = runtime::load(config.cores)?;
        backends.push(backend::onnxruntime(environment).map_err(StartError::Thread)?);
        let folder = config.models.to_string();
        let repository = Repository::open(config, backends)
            .map_err(|error| StartError::Repository { folder, error })?;
        let _watchdog =
            Watchdog::start(repository.serving_snapshot()).map_err(StartError::Thread)?;
        Ok(Self { repository, _watchdog })
    }

    /// Finds the endpoint of a model, or of one version of it.
    ///
    /// # Errors
    /// When it is unknown or does not serve.
    pub fn lookup(&self, name: &str, version: Option<u64>) -> Result<Arc<Endpoint>, Error> {
        self.repository.lookup(name, version)
    }

    /// Finds the endpoint of a request; see [`Repository::route`].
    ///
    /// # Errors
    /// When the model is unknown or does not serve.
    pub fn route(
        &self,
        name: &str,
        version: Option<u64>,
        key: u64,
    ) -> Result<Arc<Endpoint>, Error> {
        self.repository.route(name, version, key)
    }

    /// Repository of the engine.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }
}
