//! Loads one version: sessions, signature, what its owner says of it, tries; then it can serve.

use super::source::VersionSource;
use super::warm_up::{self, Rows};
use crate::config::{BATCH_ROWS_MAX, ExpectedTensor, ModelConfig};
use crate::executor::Executor;
use crate::model::Model;
use crate::session::{self, OrtExecutor};
use crate::signature::{Signature, TensorSpec, list};
use ort::environment::Environment;
use ort::session::Session;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A run shorter than this is over before other threads are awake to share it.
const SPLIT_RUN_MIN: Duration = Duration::from_micros(200);

/// What loading needs besides the version itself.
pub(super) struct Loader {
    pub(super) environment: Environment,
    pub(super) cores: usize,
}

/// A version to be loaded.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) version: u64,
    pub(super) folder: &'a Path,
    pub(super) config: &'a ModelConfig,
    pub(super) source: &'a VersionSource,
}

impl Loader {
    /// Loads a version; whatever goes wrong comes back in words.
    pub(super) fn load(&self, wanted: &Wanted<'_>) -> Result<Arc<Model>, String> {
        let started = Instant::now();
        // The bindings to ONNX Runtime panic on a few kinds of graphs that they do not know.
        let loaded = catch_unwind(AssertUnwindSafe(|| self.try_load(wanted)));
        let model = loaded.unwrap_or_else(|_| Err("the runtime can not describe it".into()))?;
        let ms = started.elapsed().as_millis();
        let (name, version) = (wanted.name, wanted.version);
        let batch = model.signature().batch_rows_max;
        tracing::info!(
            "model '{name}' version {version} is ready: {ms} ms, max_batch_size {batch}"
        );
        Ok(model)
    }

    fn try_load(&self, wanted: &Wanted<'_>) -> Result<Arc<Model>, String> {
        let config = wanted.config;
        let first = self.session(wanted, config.replicas.threads.unwrap_or(1))?;
        let mut signature = session::signature(&first).map_err(words)?;
        let (threads, first) = self.decide(wanted, &mut signature, first)?;
        expect("input", &config.expected_inputs, &signature.inputs, signature.batches())?;
        expect("output", &config.expected_outputs, &signature.outputs, signature.batches())?;

        let mut run_times = Vec::new();
        let mut sessions = Vec::new();
        let others = (1..config.replicas.count.unwrap_or(1)).map(|_| self.session(wanted, threads));
        for session in std::iter::once(Ok(first)).chain(others) {
            let mut executor = OrtExecutor::new(session?, Arc::new(signature.clone()));
            warm_up::configured(&mut executor, &signature, &config.warm_up, wanted.folder)?;
            run_times.extend(warm_up::try_batches(&mut executor, &signature));
            sessions.push(executor.into_session());
        }
        if signature.larger_requests_run_alone {
            signature.batch_rows_max = warm_up::rows_worth_waiting_for(&run_times);
        }
        let signature = Arc::new(signature);
        let executor = |session| -> Box<dyn Executor> {
            Box::new(OrtExecutor::new(session, Arc::clone(&signature)))
        };
        let executors = sessions.into_iter().map(executor).collect();
        let (name, version) = (wanted.name, wanted.version);
        let model = Model::new(name, version, config.clone(), Arc::clone(&signature), executors)
            .map_err(words)?;
        run_times.into_iter().for_each(|(rows, run_us)| model.queue().observe(rows, run_us));
        Ok(Arc::new(model))
    }

    fn session(&self, wanted: &Wanted<'_>, threads: usize) -> Result<Session, String> {
        let replicas = &wanted.config.replicas;
        session::load(&self.environment, &wanted.source.path, replicas, threads).map_err(words)
    }

    /// Decides whether rows share runs, and how many threads a run is worth: all cores for a long
    /// one, else just its own. Gives a session of so many threads.
    fn decide(
        &self,
        wanted: &Wanted<'_>,
        signature: &mut Signature,
        session: Session,
    ) -> Result<(usize, Session), String> {
        let mut executor = OrtExecutor::new(session, Arc::new(signature.clone()));
        decide_batching(&mut executor, signature, wanted)?;
        if let Some(threads) = wanted.config.replicas.threads {
            return Ok((threads, executor.into_session()));
        }
        let run_time = warm_up::row_time(&mut executor, signature);
        let is_long = run_time.is_some_and(|run_time| run_time > SPLIT_RUN_MIN);
        let session = executor.into_session();
        match self.cores {
            cores if cores > 1 && is_long => {
                drop(session);
                Ok((cores, self.session(wanted, cores)?))
            }
            _ => Ok((1, session)),
        }
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Sets how many rows may share a run: as configured, else as the model's behaviour allows.
fn decide_batching(
    executor: &mut OrtExecutor,
    signature: &mut Signature,
    wanted: &Wanted<'_>,
) -> Result<(), String> {
    match wanted.config.max_batch_size {
        Some(rows) => {
            let fixed = signature
                .inputs
                .iter()
                .chain(&signature.outputs)
                .find(|spec| !matches!(spec.dims.first(), Some(None)));
            if let (Some(spec), true) = (fixed, rows > 0) {
                return Err(format!(
                    "max_batch_size is {rows}, and the first dimension of '{}' is not open in \
                     the graph ({}): set it to 0",
                    spec.name,
                    list(spec.wire_dims())
                ));
            }
            signature.batch_rows_max = rows;
        }
        None => match warm_up::rows(executor, signature) {
            Rows::Independent => {
                signature.batch_rows_max = BATCH_ROWS_MAX;
                signature.larger_requests_run_alone = true;
            }
            Rows::NotIndependent(why) => {
                let (name, version) = (wanted.name, wanted.version);
                tracing::info!("model '{name}' version {version} runs requests alone: {why}");
            }
        },
    }
    Ok(())
}

/// Checks what the owner says of tensors against the graph.
fn expect(
    side: &str,
    expected: &[ExpectedTensor],
    specs: &[TensorSpec],
    batches: bool,
) -> Result<(), String> {
    for tensor in expected {
        let name = &tensor.name;
        let Some(spec) = specs.iter().find(|spec| &*spec.name == name) else {
            return Err(format!(
                "its configuration has an {side} '{name}', and the graph has none"
            ));
        };
        if tensor.datatype.is_some_and(|datatype| datatype != spec.datatype) {
            let datatype = spec.datatype;
            return Err(format!("{side} '{name}' is {datatype} in the graph, not as configured"));
        }
        let Some(dims) = &tensor.dims else { continue };
        let graph: Vec<i64> = spec.wire_dims().skip(usize::from(batches)).collect();
        let fits = |(a, b): (&i64, &i64)| a == b || *a == -1 || *b == -1;
        if graph.len() != dims.len() || !graph.iter().zip(dims).all(fits) {
            let (graph, dims) = (list(graph.iter()), list(dims.iter()));
            let batch = if batches { " after the batch dimension" } else { "" };
            return Err(format!(
                "{side} '{name}' has dims {graph}{batch} in the graph, not {dims}"
            ));
        }
    }
    Ok(())
}
