//! Loads one version: opens it with its backend, decides how its requests share runs, makes and
//! calibrates its replicas, and warms them up.

use super::calibrate::{BatchTimes, Calibration, ONCE_ENOUGH};
use super::replica_planner::{PlannedReplicas, ReplicaPlanner};
use super::{LoadTarget, batchability, calibrate, expected_tensors, padding_probe, warm_up};
use crate::backend::{Backend, BackendError, OpenVersion, VersionFile};
use crate::batching::Batching;
use crate::config::ModelConfig;
use crate::labels;
use crate::model::{Description, Model};
use crate::padding::Padding;
use crate::probe::{Probe, ProbedVersion};
use crate::ragged::{Ragged, RaggedPlan, RaggedVersion};
use crate::replica::thread_pool::ThreadPool;
use crate::replica::{ClassId, Replica};
use crate::reshape;
use crate::signature::Signature;
use crate::zero_elements::ZeroElements;
use parking_lot::Mutex;
use skysail_policy::objective::reachable_us;
use std::cell::OnceCell;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Everything that loading needs besides the version itself.
pub(crate) struct Loader {
    /// Backends, the first that opens a file opens it.
    pub(crate) backends: Vec<Arc<dyn Backend>>,
    /// Threads that run the batches of the versions.
    pub(crate) threads: ThreadPool,
    /// Tries versions in another process first, if that is on.
    pub(crate) probe: Option<Probe>,
    pub(crate) cores: usize,
    pub(crate) objective_ms: Option<f64>,
    /// Held by a load that compares numbers of threads.
    pub(crate) comparing: Mutex<()>,
    /// Libraries of operators that every version may use.
    pub(crate) operator_libraries: Vec<PathBuf>,
}

impl Loader {
    /// Loads a version.
    ///
    /// # Errors
    /// Describes the problem, for the log and the index.
    pub(crate) fn load(&self, target: &LoadTarget<'_>) -> Result<Arc<Model>, String> {
        let started = Instant::now();
        // The bindings to ONNX Runtime panic on a few kinds of graphs that they do not know.
        let loaded = catch_unwind(AssertUnwindSafe(|| self.open(target)));
        let model = loaded.unwrap_or_else(|_| Err("the runtime can not describe it".into()))?;
        let ms = started.elapsed().as_millis();
        let (name, version) = (target.name, target.version);
        let (replicas, threads) = (model.replicas(), model.threads());
        let batch = model.batching().rows_max;
        let layers = model.layers().map(|layers| format!(", {layers}")).unwrap_or_default();
        tracing::info!(
            "model '{name}' version {version} is ready: {ms} ms, max_batch_size {batch}, \
             replicas {replicas}, threads of each {threads}{layers}"
        );
        for layer in model.layers().iter().flat_map(|layers| &layers.layers) {
            tracing::debug!("model '{name}' version {version}: layer {layer}");
        }
        Ok(Arc::new(model))
    }

    fn backend_of(&self, path: &Path) -> Option<&dyn Backend> {
        self.backends.iter().find(|backend| backend.opens(path)).map(|backend| &**backend)
    }

    /// The probe of a version, if its backend needs one.
    fn probe_of(&self, target: &LoadTarget<'_>) -> Option<&Probe> {
        let backend = target.source.file.as_deref().ok().and_then(|path| self.backend_of(path));
        self.probe.as_ref().filter(|_| backend.is_none_or(Backend::needs_probe))
    }

    fn open(&self, target: &LoadTarget<'_>) -> Result<Model, String> {
        let path = target.source.file.as_deref().map_err(String::clone)?;
        let unknown = || format!("no backend opens '{}'", path.display());
        let backend = self.backend_of(path).ok_or_else(unknown)?;
        let probed: OnceCell<Option<ProbedVersion<'_>>> = OnceCell::new();
        let gate = || {
            let probe = self.probe_of(target);
            let met = probe.map(|probe| probe.wait(target)).transpose();
            drop(probed.set(met.map_err(BackendError::new)?.flatten()));
            Ok(())
        };
        let libraries = target.operator_libraries(&self.operator_libraries)?;
        for library in libraries.iter().skip(self.operator_libraries.len()) {
            let (name, library) = (target.name, library.display());
            tracing::warn!(
                "model '{name}': the operator library {library} runs in the server, with all its \
                 rights: serve it only if you trust it"
            );
        }
        let file = VersionFile { path, config: target.config, operator_libraries: &libraries };
        let mut version = backend.open(file, &gate).map_err(text)?;
        let plan = RaggedPlan::read(target.config, version.signature())?;
        let ragged = plan.as_ref().map(|plan| Arc::clone(&plan.ragged));
        if let Some(plan) = plan {
            version = Box::new(RaggedVersion { inner: version, plan });
        }
        let probed = probed.get().and_then(Option::as_ref);
        self.make(target, backend.name(), &mut *version, (probed, ragged))
    }

    fn make(
        &self,
        target: &LoadTarget<'_>,
        backend: &'static str,
        version: &mut dyn OpenVersion,
        (probed, ragged): (Option<&ProbedVersion<'_>>, Option<Arc<Ragged>>),
    ) -> Result<Model, String> {
        let config = target.config;
        let signature = Arc::clone(version.signature());
        let proof = version.row_independence();
        let mut first = version.replica(config.replicas.first_threads()).map_err(text)?;
        let objective_ms = config.objective_ms.or(self.objective_ms);
        let known = first_times(version, &mut first, probed, config);
        // Rows so long share no run, even on all cores, so that nothing depends on a comparison.
        let long_us = calibrate::shared_run_max_us(objective_ms) * self.cores as f64;
        let is_compared = known.first().is_none_or(|(_, row_us)| *row_us <= long_us);
        let executor = first.executor();
        let (mut batching, verdict) =
            batchability::decide(executor, &signature, proof, target, (probed, is_compared))?;
        batching.ragged = ragged;
        batching.padding = decide_padding(&mut first, &signature, &batching, target)?.map(Arc::new);
        let has_rows = batching.is_on();
        expected_tensors::check_inputs(&config.expected_inputs, &signature, has_rows)
            .and_then(|()| {
                expected_tensors::check_outputs(&config.expected_outputs, &signature, has_rows)
            })
            .map_err(|mismatch| target.in_configuration(&mismatch))?;
        let labels = labels::read_all(target.folder, &config.labels, &signature)?;
        let signature = Arc::new(as_clients_see(&signature, config, batching.is_on()));

        let run_max = calibrate::run_max(&batching, objective_ms);
        let (config, rows_max) = (&config.replicas, batching.rows_max);
        let Self { cores, comparing, .. } = self;
        let planner =
            ReplicaPlanner { version, config, rows_max, cores: *cores, run_max, comparing };
        let PlannedReplicas { mut replicas, threads, run_times } =
            planner.make(first, known).map_err(text)?;
        for executor in replicas.iter_mut().filter_map(Replica::executor) {
            let (folder, warm_ups) = (target.folder, &target.config.warm_up);
            warm_up::run_configured(executor, &signature, &batching, warm_ups, folder)?;
        }
        if batching.larger_requests_run_alone {
            let rows_max = calibrate::largest_batch_within(&run_times, run_max);
            batching.rows_max = if is_compared { rows_max } else { 1 };
        }
        let description = Description {
            file_name: file_name(target),
            backend,
            config: self.with_objective(target, &run_times),
            batching_verdict: verdict,
            threads,
            layers: version.layers(),
            labels,
            zero_elements: zero_elements(probed, &batching),
            ..Description::new(target.name, target.version, signature, batching)
        };
        let model = Model::new(description, replicas);
        for (rows, run_us) in run_times {
            model.queue().observe(ClassId::default(), rows, run_us);
        }
        Ok(model)
    }

    /// Settings of the version, with the objective that it can keep.
    fn with_objective(&self, target: &LoadTarget<'_>, run_times: &[(usize, f64)]) -> ModelConfig {
        let mut config = target.config.clone();
        let Some(wanted_ms) = config.objective_ms.or(self.objective_ms) else { return config };
        let row_us = run_times.iter().filter(|(rows, _)| *rows == 1).map(|(_, us)| *us);
        let row_us = row_us.min_by(f64::total_cmp);
        let objective_ms = reachable_us(wanted_ms * 1e3, row_us) / 1e3;
        if objective_ms > wanted_ms {
            let (name, version) = (target.name, target.version);
            let row_ms = row_us.unwrap_or_default() / 1e3;
            tracing::warn!(
                "model '{name}' version {version} runs {row_ms:.1} ms for one row: its objective \
                 is {objective_ms:.0} ms, as {wanted_ms} ms can not be kept"
            );
        }
        config.objective_ms = Some(objective_ms);
        config
    }
}

/// Handling of inputs without elements. A child tries dimensions of the graph, and those of ragged
/// requests are others: of them it has tried none.
fn zero_elements(probed: Option<&ProbedVersion<'_>>, batching: &Batching) -> ZeroElements {
    match (probed, &batching.ragged) {
        (None, _) => ZeroElements::default(),
        (Some(probed), None) => ZeroElements { trials: probed.zero_trials() },
        (Some(_), Some(_)) => ZeroElements::untried(),
    }
}

/// The signature with the shapes that the configuration gives clients.
fn as_clients_see(signature: &Signature, config: &ModelConfig, has_rows: bool) -> Signature {
    let mut signature = signature.clone();
    let (inputs, outputs) = (&config.expected_inputs, &config.expected_outputs);
    reshape::apply(&mut signature, inputs, outputs, has_rows);
    signature
}

/// Run time of one row: of the child's run if that is long enough to stand alone, or of runs here.
fn first_times(
    version: &dyn OpenVersion,
    first: &mut Replica,
    probed: Option<&ProbedVersion<'_>>,
    config: &ModelConfig,
) -> BatchTimes {
    let enough_us = ONCE_ENOUGH.as_secs_f64() * 1e6;
    let of_child = probed.and_then(ProbedVersion::row_us);
    let threads = config.replicas.first_threads();
    let row_us = of_child.filter(|us| *us > enough_us).or_else(|| {
        let executor = first.executor()?;
        Calibration::new(executor, version.signature(), version.clock(threads)).measure(1)
    });
    row_us.map(|row_us| (1, row_us)).into_iter().collect()
}

fn file_name(target: &LoadTarget<'_>) -> String {
    let name = target.source.file.as_deref().ok().and_then(Path::file_name);
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// Decides how requests of different sizes share runs, if the settings ask for that.
fn decide_padding(
    first: &mut Replica,
    signature: &Signature,
    batching: &Batching,
    target: &LoadTarget<'_>,
) -> Result<Option<Padding>, String> {
    let config = &target.config.padding;
    let Some(executor) = first.executor().filter(|_| !config.inputs.is_empty()) else {
        return Ok(None);
    };
    let padding = padding_probe::decide(executor, signature, batching, config)?;
    Ok(padding
        .inspect_err(|why| {
            let (name, version) = (target.name, target.version);
            tracing::warn!(
                "model '{name}' version {version} does not pad, and requests of different sizes \
                 run apart: {why}"
            );
        })
        .ok())
}
