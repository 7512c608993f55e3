//! ONNX Runtime on the CPU: opens ONNX files and packages, and makes sessions.

use super::{Backend, BackendError, Gate, OpenVersion, ReplicaCost, RunClock, VersionFile};
use crate::batching::Batching;
use crate::config::{BATCH_ROWS_MAX, Int8Choice};
use crate::layers::{Execution, Layers};
use crate::load::calibrate::{self, Comparison};
use crate::load::{graph_signature, is_package, synthetic, trial_run};
use crate::package::{self, Executable, PrepareError, Prepared};
use crate::replica::Replica;
use crate::request::OutputTensor;
use crate::session::{OrtExecutor, SessionError, SessionMaker, Source};
use crate::signature::Signature;
use crate::thread_priority::Spawner;
use ort::environment::Environment;
use ort::session::Session;
use skysail_graph::{Independence, Model, RowCause};
use skysail_policy::replicas::Certainty;
use std::path::Path;
use std::sync::{Arc, Weak};

/// Extension of an ONNX file's name.
const ONNX_EXTENSION: &str = "onnx";

/// Batch sizes at which variants of a package are compared.
const VARIANT_ROWS: [usize; 3] = [1, 4, 16];

/// Replicas from which on their sessions share weights, if they cannot share one session. The weights
/// exist as they were and as they are packed for the processor, so that two replicas gain nothing.
const SHARING_MIN: usize = 3;

/// Sessions of ONNX Runtime on the CPU.
pub(super) struct OrtBackend {
    pub(super) environment: Environment,
    /// Starts threads of normal priority, which a loading thread cannot.
    pub(super) spawner: Spawner,
}

impl From<SessionError> for BackendError {
    fn from(error: SessionError) -> Self {
        Self::new(error)
    }
}

impl From<PrepareError> for BackendError {
    fn from(error: PrepareError) -> Self {
        Self::new(error)
    }
}

impl Backend for OrtBackend {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn opens(&self, path: &Path) -> bool {
        let extension = path.extension().and_then(|extension| extension.to_str());
        is_package(path) || extension == Some(ONNX_EXTENSION)
    }

    fn needs_probe(&self) -> bool {
        true
    }

    fn open<'a>(
        &'a self,
        file: VersionFile<'a>,
        gate: Gate<'_>,
    ) -> Result<Box<dyn OpenVersion + 'a>, BackendError> {
        if !is_package(file.path) {
            // The graph is read while the version is probed.
            let graph = read_graph(file.path);
            gate()?;
            return Ok(Box::new(OrtVersion::open(self, file, None, graph)?));
        }
        gate()?;
        let prepared = package::prepare(file.path, file.config, &self.environment)?;
        let (mut fastest, mut number) = (prepared.executable(0)?, 0);
        for variant in 1..prepared.variants() {
            let more = prepared.executable(variant)?;
            let forms = Forms { one: &more, preferred: &fastest };
            if forms.open(self, file)?.is_faster() {
                (fastest, number) = (more, variant);
            }
        }
        let fastest = self.int8_or_floats(file, fastest, &prepared, number)?;
        let graph = prepared.graph();
        drop(prepared);
        Ok(Box::new(OrtVersion::open(self, file, Some(fastest), Some(graph))?))
    }
}

impl OrtBackend {
    /// Returns a variant with integers in its layers of 8 bits, or with floats: as configured, or
    /// what is better on this machine.
    fn int8_or_floats(
        &self,
        file: VersionFile<'_>,
        packed: Executable,
        prepared: &Prepared,
        variant: usize,
    ) -> Result<Executable, BackendError> {
        match file.config.compressed.int8 {
            Int8Choice::Always => Ok(packed),
            Int8Choice::Never => {
                let floats = prepared.widened(variant, "floats are configured")?;
                Ok(floats.unwrap_or(packed))
            }
            Int8Choice::Auto => Ok(match self.better_floats(file, &packed, prepared, variant) {
                Ok(floats) => floats.unwrap_or(packed),
                Err(error) => {
                    // The packed form is what the probe has tried.
                    let path = file.path.display();
                    tracing::warn!(
                        "{path}: its layers of 8 bits were not compared with floats: {error}"
                    );
                    packed
                }
            }),
        }
    }

    /// Returns the variant with floats, unless its integers are faster and exact; `None` also if it
    /// has no layers of 8 bits.
    fn better_floats(
        &self,
        file: VersionFile<'_>,
        packed: &Executable,
        prepared: &Prepared,
        variant: usize,
    ) -> Result<Option<Executable>, BackendError> {
        let why = "integers of 8 bits are not faster on this machine, or not exact";
        let Some(floats) = prepared.widened(variant, why)? else { return Ok(None) };
        let mut forms = Forms { one: packed, preferred: &floats }.open(self, file)?;
        let keeps_integers = forms.is_exact()? && forms.is_faster();
        drop(forms);
        Ok((!keeps_integers).then_some(floats))
    }

    fn sessions<'a>(
        &'a self,
        file: VersionFile<'a>,
        executable: Option<&'a Executable>,
    ) -> SessionMaker<'a> {
        let source = match executable {
            None => Source::File,
            Some(Executable { model, operators, .. }) => {
                Source::Memory { model, operators: operators.as_ref() }
            }
        };
        let (environment, spawner, path) = (&self.environment, &self.spawner, file.path);
        let (config, libraries) = (&file.config.replicas, file.operator_libraries);
        SessionMaker { environment, spawner, path, source, config, libraries }
    }
}

/// Two forms of a package to compare.
#[derive(Clone, Copy)]
struct Forms<'a> {
    one: &'a Executable,
    /// The form that is chosen where both are alike.
    preferred: &'a Executable,
}

impl<'a> Forms<'a> {
    fn open(
        self,
        backend: &OrtBackend,
        file: VersionFile<'a>,
    ) -> Result<OpenForms<'a>, BackendError> {
        let threads = file.config.replicas.first_threads();
        let open = |executable| {
            let session = backend.sessions(file, Some(executable)).session(threads)?;
            OrtExecutor::first(session)
        };
        let (preferred, one) = (open(self.preferred)?, open(self.one)?);
        Ok(OpenForms { forms: self, file, one, preferred })
    }
}

/// Two forms that can run.
struct OpenForms<'a> {
    forms: Forms<'a>,
    file: VersionFile<'a>,
    one: OrtExecutor,
    preferred: OrtExecutor,
}

impl OpenForms<'_> {
    /// True if the outputs of both forms for a synthetic row are as near as rounding leaves them.
    fn is_exact(&mut self) -> Result<bool, BackendError> {
        let row = synthetic::row(self.preferred.signature(), 3).map_err(BackendError::new)?;
        let run = |executor: &mut OrtExecutor| {
            trial_run::run(executor, &[&row]).map_err(BackendError::new)
        };
        let (integers, floats) = (run(&mut self.one)?, run(&mut self.preferred)?);
        let values = |it: &OutputTensor| trial_run::floats(&it.data, it.datatype);
        Ok(integers.iter().zip(&floats).all(|(integers, floats)| {
            match (values(integers), values(floats)) {
                (Some(integers), Some(floats)) => package::is_exact(&integers, &floats),
                // The number of a class changes where two are nearly equal.
                _ => true,
            }
        }))
    }

    /// True if the one form is faster than the preferred one.
    fn is_faster(&mut self) -> bool {
        let config = self.file.config;
        let signature = self.preferred.signature().clone();
        let has_rows = signature.inputs.iter().all(|spec| matches!(spec.dims.first(), Some(None)));
        let rows_max = config.max_batch_size.unwrap_or(BATCH_ROWS_MAX);
        let rows_max = if has_rows { rows_max } else { 0 };
        let run_max = calibrate::run_max(&Batching::default(), None);
        let clock = clock(config.replicas.first_threads());
        let (signature, rows, certainty) = (&signature, &VARIANT_ROWS, &|_: &_| Certainty::Open);
        let comparison = Comparison { signature, rows_max, clock, rows, run_max, certainty };
        let [us_of_preferred, us_of_one] = comparison.run([&mut self.preferred, &mut self.one]);
        let counts = [self.forms.preferred, self.forms.one].map(|it| {
            [Execution::Sparse, Execution::Int8].map(|execution| it.layers.count(execution))
        });
        let path = self.file.path.display();
        tracing::debug!(
            "{path}: {us_of_preferred:?} and {us_of_one:?} us with {counts:?} sparse and int8 layers"
        );
        package::is_faster(&us_of_one, &us_of_preferred)
    }
}

/// A version whose file ONNX Runtime has read.
struct OrtVersion<'a> {
    backend: &'a OrtBackend,
    file: VersionFile<'a>,
    /// Graph and weights that a package was made into.
    executable: Option<Executable>,
    /// Graph of the file, if it can be read.
    graph: Option<Arc<Model>>,
    signature: Arc<Signature>,
    /// The session that described the version.
    first: Option<OrtExecutor>,
    /// Sessions made so far, by the number of threads of their runs.
    made: Vec<(usize, Weak<Session>)>,
}

impl<'a> OrtVersion<'a> {
    fn open(
        backend: &'a OrtBackend,
        file: VersionFile<'a>,
        executable: Option<Executable>,
        graph: Option<Arc<Model>>,
    ) -> Result<Self, SessionError> {
        let sessions = backend.sessions(file, executable.as_ref());
        let session = sessions.session(file.config.replicas.first_threads())?;
        let mut first = OrtExecutor::first(session)?;
        let mut signature = first.signature().clone();
        if let Some(graph) = &graph {
            graph_signature::complete(&mut signature, graph, &file.config.expected_inputs);
        }
        let signature = Arc::new(signature);
        first.set_signature(&signature);
        Ok(Self {
            backend,
            file,
            executable,
            graph,
            signature,
            first: Some(first),
            made: Vec::new(),
        })
    }

    fn sessions(&self) -> SessionMaker<'_> {
        self.backend.sessions(self.file, self.executable.as_ref())
    }

    /// The session of a replica: that of one with as many threads if they may share it.
    fn session(&self, threads: usize) -> Result<Arc<Session>, SessionError> {
        let sessions = self.sessions();
        let mut made = self.made.iter().filter(|(of, _)| *of == threads);
        let shared = sessions.can_be_shared(threads).then(|| made.find_map(|(_, it)| it.upgrade()));
        match shared.flatten() {
            Some(session) => Ok(session),
            None => Ok(Arc::new(sessions.session(threads)?)),
        }
    }
}

impl OpenVersion for OrtVersion<'_> {
    fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    fn row_independence(&self) -> Independence {
        let unreadable = || {
            let problem = "its graph can not be read".into();
            Independence::Unknown(RowCause { node: None, problem })
        };
        self.graph.as_deref().map_or_else(unreadable, Model::row_independence)
    }

    fn layers(&self) -> Option<Layers> {
        self.executable.as_ref().map(|executable| executable.layers.clone())
    }

    fn replica(&mut self, threads: usize) -> Result<Replica, BackendError> {
        let is_first = threads == self.file.config.replicas.first_threads();
        let executor = match self.first.take().filter(|_| is_first) {
            Some(first) => first,
            None => OrtExecutor::new(self.session(threads)?, Arc::clone(&self.signature))?,
        };
        self.made.push((threads, Arc::downgrade(executor.session())));
        Ok(Replica::direct(Box::new(executor)))
    }

    fn replicas(
        &mut self,
        existing: Option<Replica>,
        count: usize,
        threads: usize,
    ) -> Result<Vec<Replica>, BackendError> {
        let mut replicas = Vec::new();
        match count {
            SHARING_MIN.. if !self.shares_runs(threads) => {
                drop(existing);
                let sessions = self
                    .sessions()
                    .sessions_sharing_weights(threads, count)
                    .unwrap_or_else(|error| {
                        let path = self.file.path.display();
                        tracing::warn!(
                            "{path}: each of {count} replicas has weights of its own: {error}"
                        );
                        Vec::new()
                    });
                for session in sessions {
                    let executor =
                        OrtExecutor::new(Arc::new(session), Arc::clone(&self.signature))?;
                    replicas.push(Replica::direct(Box::new(executor)));
                }
            }
            _ => replicas.extend(existing.into_iter().take(count)),
        }
        while replicas.len() < count {
            replicas.push(self.replica(threads)?);
        }
        Ok(replicas)
    }

    fn shares_runs(&self, threads: usize) -> bool {
        self.sessions().can_be_shared(threads)
    }

    fn clock(&self, threads: usize) -> RunClock {
        clock(threads)
    }

    fn replica_cost(&self) -> ReplicaCost {
        ReplicaCost::Cores
    }
}

/// A run on one thread is measured by its CPU time; several threads wait for each other.
fn clock(threads: usize) -> RunClock {
    if threads == 1 { RunClock::CallerCpu } else { RunClock::Wall }
}

/// Reads the graph of an ONNX file. If it cannot be read, the runtime may still run it, and nothing
/// is known beyond what that says.
fn read_graph(path: &Path) -> Option<Arc<Model>> {
    let read = Model::load(path).inspect_err(|error| {
        tracing::debug!("{}: its graph can not be read: {error}", path.display());
    });
    read.ok().map(Arc::new)
}
