//! Makes the sessions of one version, with their graph optimisation and threads.

use super::SessionError;
use super::message::plain;
use super::shared::SharedModel;
use crate::config::ReplicaConfig;
use crate::thread_priority::Spawner;
use ort::environment::{Environment, ThreadManager};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use parking_lot::{Mutex, MutexGuard};
use skysail_kernels::{OperatorWeights, operators};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// ONNX Runtime registers the domain of our operators with the first session that has them. It
/// fails if two threads make such a session at the same time.
static OPERATORS: Mutex<()> = Mutex::new(());

/// Held while a session with operators of our own is made.
pub(crate) fn lock_operator_registration() -> MutexGuard<'static, ()> {
    OPERATORS.lock()
}

/// Source and settings of the sessions of one version.
pub(crate) struct SessionMaker<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) spawner: &'a Spawner,
    /// Path of the model's file.
    pub(crate) path: &'a Path,
    pub(crate) source: Source<'a>,
    pub(crate) config: &'a ReplicaConfig,
    /// Libraries of operators that the graph may use.
    pub(crate) libraries: &'a [PathBuf],
}

/// Source of a version's graph and weights.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// The unchanged file.
    File,
    /// Bytes of an ONNX file in memory, and weights of its custom operators.
    Memory { model: &'a [u8], operators: Option<&'a OperatorWeights> },
}

impl SessionMaker<'_> {
    /// Makes a session with its own weights.
    pub(crate) fn session(&self, threads: usize) -> Result<Session, SessionError> {
        self.commit(self.builder(self.level(), threads)?)
    }

    /// Finishes a builder's session.
    pub(super) fn commit(&self, mut builder: SessionBuilder) -> Result<Session, SessionError> {
        let _guard = self.guard();
        Ok(match self.source {
            Source::File => builder.commit_from_file(self.path)?,
            Source::Memory { model, .. } => builder.commit_from_memory(model)?,
        })
    }

    /// Locks the registration of custom operators if the source has any.
    pub(super) fn guard(&self) -> Option<MutexGuard<'static, ()>> {
        let has_operators = matches!(self.source, Source::Memory { operators: Some(_), .. });
        has_operators.then(lock_operator_registration)
    }

    /// True if replicas of this many threads may run one session. Its operators are the runtime's
    /// then, which take concurrent runs, and it has no threads of its own.
    pub(crate) fn can_be_shared(&self, threads: usize) -> bool {
        let ReplicaConfig { threads: pinned, inter_op_threads, .. } = self.config;
        let has_threads = inter_op_threads.is_some() || (threads > 1 && pinned.is_some());
        let has_operators = matches!(self.source, Source::Memory { operators: Some(_), .. });
        !has_threads && !has_operators && self.libraries.is_empty()
    }

    /// Several sessions that share their weights.
    pub(crate) fn sessions_sharing_weights(
        &self,
        threads: usize,
        count: usize,
    ) -> Result<Vec<Session>, SessionError> {
        let mut shared = SharedModel::new(self)?;
        (0..count).map(|_| shared.session(self, threads)).collect()
    }

    /// Optimisation level that the settings allow.
    pub(super) fn level(&self) -> GraphOptimizationLevel {
        match self.config.graph_optimization {
            level if level < 0 => GraphOptimizationLevel::Level1,
            _ => GraphOptimizationLevel::All,
        }
    }

    /// Prepares a session whose runs use this many threads: the caller's and those of the pool that
    /// all models share. A number set by the owner gets a pool of its own.
    pub(super) fn builder(
        &self,
        level: GraphOptimizationLevel,
        threads: usize,
    ) -> Result<SessionBuilder, SessionError> {
        let mut builder = Session::builder(self.environment)?.with_optimization_level(level)?;
        if let Source::Memory { operators: Some(weights), .. } = self.source {
            builder = builder.with_operators(operators(weights)?)?;
        }
        for library in self.libraries {
            builder = builder.with_operator_library(library).map_err(|error| {
                let (path, error) = (library.display().to_string(), plain(&error.to_string()));
                SessionError::OperatorLibrary { path, error }
            })?;
        }
        let ReplicaConfig { threads: pinned, inter_op_threads, .. } = self.config;
        if threads > 1 && pinned.is_none() && inter_op_threads.is_none() {
            return Ok(builder);
        }
        let builder = builder
            .with_independent_thread_pool()?
            .with_intra_threads(threads)?
            .with_thread_manager(PoolThreads(self.spawner.clone()))?
            // Spinning threads would take cores from the threads that serve requests.
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?;
        let Some(threads) = *inter_op_threads else { return Ok(builder) };
        Ok(builder.with_parallel_execution(true)?.with_inter_threads(threads)?)
    }
}

/// Starts the threads of a session's own pool at the priority of runs.
struct PoolThreads(Spawner);

impl ThreadManager for PoolThreads {
    type Thread = JoinHandle<()>;

    fn create(&self, work: impl FnOnce() + Send + 'static) -> ort::Result<Self::Thread> {
        self.0.spawn("pool".into(), Box::new(work)).map_err(ort::Error::wrap)
    }

    fn join(thread: Self::Thread) -> ort::Result<()> {
        thread.join().map_err(|_| ort::Error::new("a thread of a pool had panicked"))
    }
}
