//! The seam between a repository and whatever opens its models: ONNX Runtime on the CPU, and others
//! beside it.

use crate::config::ModelConfig;
use crate::layers::Layers;
use crate::replica::Replica;
pub use crate::run_clock::RunClock;
use crate::signature::Signature;
use crate::thread_priority::Spawner;
use onnxruntime::OrtBackend;
use ort::environment::Environment;
use skysail_graph::{Independence, RowCause};
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod onnxruntime;

/// ONNX Runtime on the CPU.
///
/// # Errors
/// When the system has no thread to give.
pub fn onnxruntime(environment: Environment) -> io::Result<Arc<dyn Backend>> {
    let spawner = Spawner::start()?;
    Ok(Arc::new(OrtBackend { environment, spawner }))
}

/// Reason why a backend does not open a version or make a replica.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(String);

impl BackendError {
    /// An error with this description.
    pub fn new(description: impl Display) -> Self {
        Self(description.to_string())
    }
}

/// The file of a version.
#[derive(Clone, Copy)]
pub struct VersionFile<'a> {
    /// Path of the file.
    pub path: &'a Path,
    /// Settings of the model.
    pub config: &'a ModelConfig,
    /// Libraries of operators that it may use.
    pub operator_libraries: &'a [PathBuf],
}

/// Permission to give a file to code that may end the process. It may wait for a trial in another
/// process, and fails if that trial did.
pub type Gate<'a> = &'a dyn Fn() -> Result<(), BackendError>;

/// Opens versions.
pub trait Backend: Send + Sync {
    /// Name in logs and metadata.
    fn name(&self) -> &'static str;

    /// Returns true if it opens this file, which it may tell by the file's name.
    fn opens(&self, path: &Path) -> bool;

    /// Returns true if its code may end the process, so that a version is tried in another one
    /// first.
    fn needs_probe(&self) -> bool {
        false
    }

    /// Opens a version. It passes the gate before the file meets code that may end the process.
    ///
    /// # Errors
    /// When the file cannot be read or served.
    fn open<'a>(
        &'a self,
        file: VersionFile<'a>,
        gate: Gate<'_>,
    ) -> Result<Box<dyn OpenVersion + 'a>, BackendError>;
}

/// A version that a backend has opened. It describes the version and makes its replicas.
pub trait OpenVersion {
    /// Inputs and outputs. They are final.
    fn signature(&self) -> &Arc<Signature>;

    /// Result of the proof that rows of a batch are independent.
    fn row_independence(&self) -> Independence {
        let problem = "its backend proves nothing of its rows".into();
        Independence::Unknown(RowCause { node: None, problem })
    }

    /// Execution of the layers of a package; `None` for other files.
    fn layers(&self) -> Option<Layers> {
        None
    }

    /// Makes a replica whose runs use this many threads.
    ///
    /// # Errors
    /// When the runtime cannot make it.
    fn replica(&mut self, threads: usize) -> Result<Replica, BackendError>;

    /// Makes `count` replicas. `existing` is one of them, if that is no disadvantage.
    ///
    /// # Errors
    /// When the runtime cannot make one.
    fn replicas(
        &mut self,
        existing: Option<Replica>,
        count: usize,
        threads: usize,
    ) -> Result<Vec<Replica>, BackendError> {
        let mut replicas: Vec<Replica> = existing.into_iter().take(count).collect();
        while replicas.len() < count {
            replicas.push(self.replica(threads)?);
        }
        Ok(replicas)
    }

    /// True if a run of one replica of this many threads prepares the others too.
    fn shares_runs(&self, _threads: usize) -> bool {
        false
    }

    /// Clock that measures the runs of a replica with this many threads.
    fn clock(&self, threads: usize) -> RunClock;

    /// Resource that a replica takes up while it runs.
    fn replica_cost(&self) -> ReplicaCost;
}

/// Resource that a replica takes up while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaCost {
    /// Cores of this machine, one for each thread: the planner shares them out.
    Cores,
    /// A device of its own, or nothing here: there is one replica unless the settings say more.
    Elsewhere,
}
