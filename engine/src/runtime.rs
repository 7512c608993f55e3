//! Loads ONNX Runtime with threads for runs of models.

use crate::thread_priority::{self, Role};
use ort::environment::Environment;
pub use skysail_onnxruntime::LoadError;

/// Loads ONNX Runtime, once a process, with one pool of threads for the long runs of all models.
///
/// `cores` threads work on a run: its caller and those of the pool, at the priority of runs.
///
/// # Errors
/// When the library is missing, broken or too old.
pub fn load(cores: usize) -> Result<Environment, LoadError> {
    thread_priority::run_with_priority(Role::Execute, || skysail_onnxruntime::load(Some(cores)))
}
