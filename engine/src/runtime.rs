//! Loads ONNX Runtime's shared library, once a process.

use crate::threads::{self, Duty};
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::logging::LogLevel;
pub use skysail_kernels::runtime::{RuntimeError, VARIABLE, find};

/// Loads the library from where `find` finds it, with one pool of threads for the long runs of all
/// models, so that `cores` threads work on one: the caller's and those of the pool.
///
/// # Errors
/// When it is missing, broken or too old.
pub fn load(cores: usize) -> Result<Environment, RuntimeError> {
    let path = find()?;
    let unusable = |message: String| RuntimeError::Unusable { path: path.clone(), message };
    let builder = ort::init_from(&path).map_err(|error| unusable(error.to_string()))?;
    let unusable = |error: ort::Error| unusable(error.to_string());
    let pool = pool(cores).map_err(unusable)?;
    let builder = builder.with_name("skysail").with_telemetry(false);
    let builder = builder.with_global_thread_pool(pool);
    let environment = threads::starting(Duty::Execute, || builder.build()).map_err(unusable)?;
    // Below that the runtime describes how it optimises each graph, hundreds of lines a model.
    environment.set_log_level(LogLevel::Error);
    Ok(environment)
}

/// The pool does not spin for work: that would take the cores that answer requests.
fn pool(cores: usize) -> ort::Result<GlobalThreadPoolOptions> {
    let pool = GlobalThreadPoolOptions::default().with_spin_control(false)?;
    pool.with_intra_threads(cores)?.with_inter_threads(1)
}
