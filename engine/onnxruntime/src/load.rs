//! Loads the library, once a process.

use crate::LIBRARY;
use crate::find::{VARIABLE, find};
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::logging::LogLevel;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Reason why there is no ONNX Runtime.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No folder has the library.
    #[error(
        "ONNX Runtime is missing: {LIBRARY} is in none of {looked}. Run `cargo xtask setup`, or \
         let {VARIABLE} name the file (it comes with the Python package onnxruntime 1.31, in \
         onnxruntime/capi)"
    )]
    Missing {
        /// Searched places, separated by commas.
        looked: String,
    },
    /// The library exists but is broken or too old.
    #[error("{path} can not be used as ONNX Runtime: {message}")]
    Unusable {
        /// File of the library.
        path: PathBuf,
        /// Message of the loader.
        message: String,
    },
}

/// Loads the library and creates its environment; later calls return the same environment.
///
/// With `threads`, all sessions may share one pool: `threads` work on a run, its caller included.
/// The first call decides. Threads of the pool inherit the priority of the calling thread.
///
/// # Errors
/// When the library is missing, broken or too old.
pub fn load(threads: Option<usize>) -> Result<Environment, LoadError> {
    static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);
    let mut loaded = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*loaded {
        return Ok(environment.clone());
    }
    let path = find()?;
    let environment = environment(&path, threads)
        .map_err(|error| LoadError::Unusable { path, message: error.to_string() })?;
    Ok(loaded.insert(environment).clone())
}

fn environment(library: &Path, threads: Option<usize>) -> Result<Environment, Box<dyn Error>> {
    let mut builder = ort::init_from(library)?.with_name("skysail").with_telemetry(false);
    if let Some(threads) = threads {
        // Threads that spin for work would take the cores that serve requests.
        let pool = GlobalThreadPoolOptions::default().with_spin_control(false)?;
        let pool = pool.with_intra_threads(threads)?.with_inter_threads(1)?;
        builder = builder.with_global_thread_pool(pool);
    }
    let environment = builder.build()?;
    // Lower levels describe how each graph is optimised: hundreds of lines a model.
    environment.set_log_level(LogLevel::Error);
    Ok(environment)
}
