//! Loads one version: its package if it is one, sessions, signature, what its owner says of it,
//! tries; then it can serve.

use super::batching;
use super::expect;
use super::outline;
use super::probe::{Met, Probe};
use super::replicas::{Team, TeamMaker};
use super::source::VersionSource;
use super::tries::{self, Race};
use super::try_padding;
use super::warm_up;
use crate::config::{BATCH_ROWS_MAX, ModelConfig};
use crate::empty::Empty;
use crate::executor::Executor;
use crate::layers::Execution;
use crate::layers::Layers;
use crate::model::Model;
use crate::package::{self, Executable};
use crate::padding::Padding;
use crate::session::{OrtExecutor, SessionError, SessionMaker, Source};
use crate::signature::Signature;
use crate::threads::Spawner;
use ort::environment::Environment;
use skysail_policy::objective::reachable_us;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What the name of a package's file ends in.
const PACKAGE_EXTENSION: &str = "sky";

/// Batch sizes at which forms of a package are compared.
const FORM_ROWS: [usize; 3] = [1, 4, 16];

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

/// A version to be loaded.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) version: u64,
    pub(super) folder: &'a Path,
    pub(super) config: &'a ModelConfig,
    pub(super) source: &'a VersionSource,
}

impl Loader {
    /// Lets a version that is to be loaded later be tried in the meantime.
    pub(super) fn look_ahead(&self, wanted: &Wanted<'_>) {
        self.probe.iter().for_each(|probe| probe.look_ahead(wanted));
    }

    /// Forgets what was looked ahead at and not loaded.
    pub(super) fn forget_ahead(&self) {
        self.probe.iter().for_each(Probe::forget_ahead);
    }

    /// Loads a version; whatever goes wrong comes back in words.
    pub(super) fn load(&self, wanted: &Wanted<'_>) -> Result<Arc<Model>, String> {
        let started = Instant::now();
        // Its graph is read while it is tried.
        self.look_ahead(wanted);
        let file = wanted.source.file.as_deref().ok().filter(|file| !is_package(file));
        let outline = file.and_then(file_outline);
        let met = self.probe.as_ref().map(|probe| probe.meet(wanted)).transpose()?.flatten();
        // The bindings to ONNX Runtime panic on a few kinds of graphs that they do not know.
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            self.try_load(wanted, outline.as_deref(), met.as_ref())
        }));
        let model = loaded.unwrap_or_else(|_| Err("the runtime can not describe it".into()))?;
        let ms = started.elapsed().as_millis();
        let (name, version) = (wanted.name, wanted.version);
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
        wanted: &Wanted<'_>,
        outline: Option<&skysail_graph::Model>,
        met: Option<&Met<'_>>,
    ) -> Result<Arc<Model>, String> {
        let path = wanted.source.file.as_deref().map_err(String::clone)?;
        if !is_package(path) {
            return self.load_from(wanted, path, None, outline, met);
        }
        let prepared = package::prepare(path, wanted.config, &self.environment).map_err(words)?;
        let mut fastest = prepared.executable(0).map_err(words)?;
        for form in 1..prepared.forms() {
            let next = prepared.executable(form).map_err(words)?;
            fastest = self.faster(wanted, path, fastest, next).map_err(words)?;
        }
        let outline = prepared.outline();
        drop(prepared);
        self.load_from(wanted, path, Some(fastest), Some(&outline), met)
    }

    /// Which of two forms of a package is faster as a whole; `more` has more sparse layers.
    fn faster(
        &self,
        wanted: &Wanted<'_>,
        path: &Path,
        fewer: Executable,
        more: Executable,
    ) -> Result<Executable, SessionError> {
        let threads = wanted.config.replicas.first_threads();
        let first = |executable: &Executable| {
            OrtExecutor::first(self.sessions(wanted, path, Some(executable)).session(threads)?)
        };
        let (mut of_fewer, mut of_more) = (first(&fewer)?, first(&more)?);
        let mut signature = of_fewer.signature().clone();
        let has_rows = signature.inputs.iter().all(|spec| matches!(spec.dims.first(), Some(None)));
        let rows_max = wanted.config.max_batch_size.unwrap_or(BATCH_ROWS_MAX);
        signature.batch_rows_max = if has_rows { rows_max } else { 0 };
        let run_max = tries::run_max(&signature, None);
        let race = Race { signature: &signature, threads, rows: &FORM_ROWS, run_max };
        let [us_of_fewer, us_of_more] = race.run([&mut of_fewer, &mut of_more]);
        let count = |it: &Executable| it.layers.count(Execution::Sparse);
        let (path, counts) = (path.display(), (count(&fewer), count(&more)));
        tracing::debug!("{path}: {us_of_fewer:?} and {us_of_more:?} us with {counts:?} sparse");
        Ok(if package::is_faster(&us_of_more, &us_of_fewer) { more } else { fewer })
    }

    fn sessions<'a>(
        &'a self,
        wanted: &Wanted<'a>,
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
        SessionMaker { environment, spawner, path, source, config: &wanted.config.replicas }
    }

    /// Loads the version from its file, or from what was made of it. `outline` is its graph as it
    /// was before, where that could be read.
    fn load_from(
        &self,
        wanted: &Wanted<'_>,
        path: &Path,
        executable: Option<Executable>,
        outline: Option<&skysail_graph::Model>,
        met: Option<&Met<'_>>,
    ) -> Result<Arc<Model>, String> {
        let config = wanted.config;
        let sessions = self.sessions(wanted, path, executable.as_ref());
        let first = sessions.session(config.replicas.first_threads()).map_err(words)?;
        let mut first = OrtExecutor::first(first).map_err(words)?;
        let mut signature = first.signature().clone();
        if let Some(outline) = outline {
            outline::complete(&mut signature, outline, &config.expected_inputs);
            first.set_signature(&Arc::new(signature.clone()));
        }
        let sharing = batching::decide(&mut first, &mut signature, wanted, outline, met)?;
        signature.padding = decide_padding(&mut first, &signature, wanted)?.map(Arc::new);
        expect::inputs(&config.expected_inputs, &signature)?;
        expect::outputs(&config.expected_outputs, &signature)?;

        let run_max = tries::run_max(&signature, config.objective_ms.or(self.objective_ms));
        let found = Arc::new(signature.clone());
        first.set_signature(&found);
        let maker = TeamMaker { sessions, signature: found, cores: self.cores, run_max };
        let Team { mut executors, threads, run_times } = maker.make(first).map_err(words)?;
        for executor in &mut executors {
            warm_up::configured(executor, &signature, &config.warm_up, wanted.folder)?;
        }
        if signature.larger_requests_run_alone {
            signature.batch_rows_max = tries::rows_worth_waiting_for(&run_times, run_max);
        }
        let team = Team { executors, threads, run_times };
        let layers = executable.map(|executable| executable.layers);
        let empty = Empty { zeros: met.and_then(Met::zeros) };
        let model = self.model(wanted, &Arc::new(signature), team, (layers, empty))?;
        Ok(Arc::new(model.with_sharing(sharing)))
    }

    fn model(
        &self,
        wanted: &Wanted<'_>,
        signature: &Arc<Signature>,
        team: Team,
        (layers, empty): (Option<Layers>, Empty),
    ) -> Result<Model, String> {
        let Team { executors, threads, run_times } = team;
        let ready = |mut executor: OrtExecutor| -> Box<dyn Executor> {
            executor.set_signature(signature);
            Box::new(executor)
        };
        let executors = executors.into_iter().map(ready).collect();
        let (name, version) = (wanted.name, wanted.version);
        let config = self.with_objective(wanted, &run_times);
        let model = Model::new(name, version, config, Arc::clone(signature), executors)
            .with_threads(threads)
            .with_layers(layers)
            .with_empty(empty);
        run_times.into_iter().for_each(|(rows, run_us)| model.queue().observe(rows, run_us));
        Ok(model)
    }

    /// The version's settings with the objective that it is to keep.
    fn with_objective(&self, wanted: &Wanted<'_>, run_times: &[(usize, f64)]) -> ModelConfig {
        let mut config = wanted.config.clone();
        let Some(wanted_ms) = config.objective_ms.or(self.objective_ms) else { return config };
        let row_us = run_times.iter().filter(|(rows, _)| *rows == 1).map(|(_, us)| *us);
        let row_us = row_us.min_by(f64::total_cmp);
        let objective_ms = reachable_us(wanted_ms * 1e3, row_us) / 1e3;
        if objective_ms > wanted_ms {
            let (name, version) = (wanted.name, wanted.version);
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

/// Whether a file is a package, by its name.
pub(super) fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == PACKAGE_EXTENSION)
}

/// The graph of a model's file. Where it can not be read, the runtime may still run it, and nothing
/// is known beyond what that says.
fn file_outline(path: &Path) -> Option<Arc<skysail_graph::Model>> {
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
    wanted: &Wanted<'_>,
) -> Result<Option<Padding>, String> {
    let config = &wanted.config.padding;
    if config.inputs.is_empty() {
        return Ok(None);
    }
    let padding = try_padding::decide(executor, signature, config)?;
    Ok(padding
        .inspect_err(|why| {
            let (name, version) = (wanted.name, wanted.version);
            tracing::warn!(
                "model '{name}' version {version} does not pad, and requests of different sizes \
                 run apart: {why}"
            );
        })
        .ok())
}
