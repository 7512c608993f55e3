//! Loads one version: its package if it is one, sessions, signature, what its owner says of it,
//! tries; then it can serve.

use super::replicas::{Team, TeamMaker};
use crate::config::{BATCH_ROWS_MAX, ModelConfig};
use crate::layers::Execution;
use crate::layers::Layers;
use crate::load::calibrate::{self, Comparison};
use crate::load::{
    LoadTarget, batchability, expected_tensors, graph_signature, is_package, padding_probe, warm_up,
};
use crate::model::Model;
use crate::package::{self, Executable};
use crate::padding::Padding;
use crate::probe::{Probe, ProbedVersion};
use crate::replica::{ClassId, Replica};
use crate::session::{OrtExecutor, SessionError, SessionMaker, Source};
use crate::signature::Signature;
use crate::thread_priority::Spawner;
use crate::zero_elements::ZeroElements;
use ort::environment::Environment;
use skysail_policy::objective::reachable_us;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Batch sizes at which variants of a package are compared.
const VARIANT_ROWS: [usize; 3] = [1, 4, 16];

/// What loading needs besides the version itself.
pub(super) struct Loader {
    pub(super) environment: Environment,
    /// Starts threads that serve, which this one can not.
    pub(super) spawner: Spawner,
    /// Where versions are tried first, if they are.
    pub(super) probe: Option<Probe>,
    pub(super) cores: usize,
    pub(super) objective_ms: Option<f64>,
}

impl Loader {
    /// Lets a version that is to be loaded later be tried in the meantime.
    pub(super) fn probe_early(&self, target: &LoadTarget<'_>) {
        self.probe.iter().for_each(|probe| probe.probe_early(target));
    }

    /// Forgets what was looked ahead at and not loaded.
    pub(super) fn forget_early(&self) {
        self.probe.iter().for_each(Probe::forget_early);
    }

    /// Loads a version; whatever goes wrong comes back in words.
    pub(super) fn load(&self, target: &LoadTarget<'_>) -> Result<Arc<Model>, String> {
        let started = Instant::now();
        // Its graph is read while it is tried.
        self.probe_early(target);
        let file = target.source.file.as_deref().ok().filter(|file| !is_package(file));
        let graph = file.and_then(file_graph);
        let probed = self.probe.as_ref().map(|probe| probe.wait(target)).transpose()?.flatten();
        // The bindings to ONNX Runtime panic on a few kinds of graphs that they do not know.
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            self.try_load(target, graph.as_deref(), probed.as_ref())
        }));
        let model = loaded.unwrap_or_else(|_| Err("the runtime can not describe it".into()))?;
        let ms = started.elapsed().as_millis();
        let (name, version) = (target.name, target.version);
        let (replicas, threads) = (model.replicas(), model.threads());
        let batch = model.signature().batch_rows_max;
        let layers = model.layers().map(|layers| format!(", {layers}")).unwrap_or_default();
        tracing::info!(
            "model '{name}' version {version} is ready: {ms} ms, max_batch_size {batch}, \
             replicas {replicas}, threads of each {threads}{layers}"
        );
        for layer in model.layers().iter().flat_map(|layers| &layers.layers) {
            tracing::debug!("model '{name}' version {version}: layer {layer}");
        }
        Ok(model)
    }

    fn try_load(
        &self,
        target: &LoadTarget<'_>,
        graph: Option<&skysail_graph::Model>,
        probed: Option<&ProbedVersion<'_>>,
    ) -> Result<Arc<Model>, String> {
        let path = target.source.file.as_deref().map_err(String::clone)?;
        if !is_package(path) {
            return self.load_from(target, path, None, graph, probed);
        }
        let prepared = package::prepare(path, target.config, &self.environment).map_err(words)?;
        let mut fastest = prepared.executable(0).map_err(words)?;
        for variant in 1..prepared.variants() {
            let next = prepared.executable(variant).map_err(words)?;
            fastest = self.faster(target, path, fastest, next).map_err(words)?;
        }
        let graph = prepared.graph();
        drop(prepared);
        self.load_from(target, path, Some(fastest), Some(&graph), probed)
    }

    /// Returns the faster of two variants of a package; `more` has more sparse layers.
    fn faster(
        &self,
        target: &LoadTarget<'_>,
        path: &Path,
        fewer: Executable,
        more: Executable,
    ) -> Result<Executable, SessionError> {
        let threads = target.config.replicas.first_threads();
        let first = |executable: &Executable| {
            OrtExecutor::first(self.sessions(target, path, Some(executable)).session(threads)?)
        };
        let (mut of_fewer, mut of_more) = (first(&fewer)?, first(&more)?);
        let mut signature = of_fewer.signature().clone();
        let has_rows = signature.inputs.iter().all(|spec| matches!(spec.dims.first(), Some(None)));
        let rows_max = target.config.max_batch_size.unwrap_or(BATCH_ROWS_MAX);
        signature.batch_rows_max = if has_rows { rows_max } else { 0 };
        let run_max = calibrate::run_max(&signature, None);
        let comparison =
            Comparison { signature: &signature, threads, rows: &VARIANT_ROWS, run_max };
        let [us_of_fewer, us_of_more] = comparison.run([&mut of_fewer, &mut of_more]);
        let count = |it: &Executable| it.layers.count(Execution::Sparse);
        let (path, counts) = (path.display(), (count(&fewer), count(&more)));
        tracing::debug!("{path}: {us_of_fewer:?} and {us_of_more:?} us with {counts:?} sparse");
        Ok(if package::is_faster(&us_of_more, &us_of_fewer) { more } else { fewer })
    }

    fn sessions<'a>(
        &'a self,
        target: &LoadTarget<'a>,
        path: &'a Path,
        executable: Option<&'a Executable>,
    ) -> SessionMaker<'a> {
        let source = match executable {
            None => Source::File,
            Some(Executable { model, operators, .. }) => {
                Source::Memory { model, operators: operators.as_ref() }
            }
        };
        let (environment, spawner) = (&self.environment, &self.spawner);
        SessionMaker { environment, spawner, path, source, config: &target.config.replicas }
    }

    /// Loads the version from its file, or from what was made of it. `graph` is its graph as it
    /// was before, where that could be read.
    fn load_from(
        &self,
        target: &LoadTarget<'_>,
        path: &Path,
        executable: Option<Executable>,
        graph: Option<&skysail_graph::Model>,
        probed: Option<&ProbedVersion<'_>>,
    ) -> Result<Arc<Model>, String> {
        let config = target.config;
        let sessions = self.sessions(target, path, executable.as_ref());
        let first = sessions.session(config.replicas.first_threads()).map_err(words)?;
        let mut first = OrtExecutor::first(first).map_err(words)?;
        let mut signature = first.signature().clone();
        if let Some(graph) = graph {
            graph_signature::complete(&mut signature, graph, &config.expected_inputs);
            first.set_signature(&Arc::new(signature.clone()));
        }
        let verdict = batchability::decide(&mut first, &mut signature, target, graph, probed)?;
        signature.padding = decide_padding(&mut first, &signature, target)?.map(Arc::new);
        expected_tensors::check_inputs(&config.expected_inputs, &signature)?;
        expected_tensors::check_outputs(&config.expected_outputs, &signature)?;

        let run_max = calibrate::run_max(&signature, config.objective_ms.or(self.objective_ms));
        let found = Arc::new(signature.clone());
        first.set_signature(&found);
        let maker = TeamMaker { sessions, signature: found, cores: self.cores, run_max };
        let Team { mut executors, threads, run_times } = maker.make(first).map_err(words)?;
        for executor in &mut executors {
            warm_up::run_configured(executor, &signature, &config.warm_up, target.folder)?;
        }
        if signature.larger_requests_run_alone {
            signature.batch_rows_max = calibrate::largest_batch_within(&run_times, run_max);
        }
        let team = Team { executors, threads, run_times };
        let layers = executable.map(|executable| executable.layers);
        let zero_elements = ZeroElements { trials: probed.and_then(ProbedVersion::zero_trials) };
        let model = self.model(target, &Arc::new(signature), team, (layers, zero_elements))?;
        Ok(Arc::new(model.with_batching_verdict(verdict)))
    }

    fn model(
        &self,
        target: &LoadTarget<'_>,
        signature: &Arc<Signature>,
        team: Team,
        (layers, zero_elements): (Option<Layers>, ZeroElements),
    ) -> Result<Model, String> {
        let Team { executors, threads, run_times } = team;
        let ready = |mut executor: OrtExecutor| {
            executor.set_signature(signature);
            Replica::direct(Box::new(executor))
        };
        let replicas = executors.into_iter().map(ready).collect();
        let (name, version) = (target.name, target.version);
        let config = self.with_objective(target, &run_times);
        let model = Model::new(name, version, config, Arc::clone(signature), replicas)
            .with_threads(threads)
            .with_layers(layers)
            .with_zero_elements(zero_elements);
        run_times
            .into_iter()
            .for_each(|(rows, run_us)| model.queue().observe(ClassId::default(), rows, run_us));
        Ok(model)
    }

    /// The version's settings with the objective that it is to keep.
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

/// The graph of a model's file. Where it can not be read, the runtime may still run it, and nothing
/// is known beyond what that says.
fn file_graph(path: &Path) -> Option<Arc<skysail_graph::Model>> {
    let read = skysail_graph::Model::load(path);
    let read = read.inspect_err(|error| {
        tracing::debug!("{}: its graph can not be read: {error}", path.display());
    });
    read.ok().map(Arc::new)
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Decides how requests of different sizes share runs, if the model's owner wants that.
fn decide_padding(
    executor: &mut OrtExecutor,
    signature: &Signature,
    target: &LoadTarget<'_>,
) -> Result<Option<Padding>, String> {
    let config = &target.config.padding;
    if config.inputs.is_empty() {
        return Ok(None);
    }
    let padding = padding_probe::decide(executor, signature, config)?;
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
