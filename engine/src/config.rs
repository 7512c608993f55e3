//! Settings of the engine and of each model. All have defaults: a bare ONNX file serves.

pub use crate::repository::ReadyWhen;
use crate::repository::Roots;
use serde::Deserialize;
use skysail_policy::batch::Policy;
use skysail_policy::queue_policy::QueuePolicies;
use skysail_policy::versions::VersionPolicy;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

mod compressed;
mod lines;
mod padding;
mod probe;
mod ragged;
mod tensors;
mod warm_up;

pub use compressed::{Choice, CompressedConfig, Int8Choice};
pub use lines::FieldLines;
pub use padding::{Fill, PaddingConfig};
pub use probe::ProbeSettings;
pub use ragged::{BatchInputKind, MadeInput, RaggedConfig, ScatteredOutput};
pub use tensors::ExpectedTensor;
pub use warm_up::{WarmUp, WarmUpData, WarmUpInput};

/// Rows of the largest batch of a model that batches without a configured size.
pub const BATCH_ROWS_MAX: usize = 256;

/// Bytes of the smallest cache. A smaller setting is a mistake in its unit.
const CACHE_BYTES_MIN: usize = 1 << 20;

/// Default names of a model's file: an ONNX model, or a package.
pub(crate) const FILE_NAMES: [&str; 2] = ["model.onnx", "model.sky"];

/// Runs of one warm-up, at most.
const WARM_UPS_MAX: usize = 1000;

/// Replicas of a model, and threads of each, at most.
pub(crate) const THREADS_MAX: usize = 1024;

/// Control mode: how the repository follows its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlMode {
    /// Loads the models that are there at the start, and ignores later changes.
    None,
    /// Scans the folder periodically.
    Poll,
    /// Loads and unloads models by name only.
    Explicit,
}

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Places that models come from.
    pub models: Roots,
    /// Control mode of the repository.
    pub control: ControlMode,
    /// Milliseconds between scans in mode `poll`.
    pub poll_ms: u64,
    /// Models to load at the start in mode `explicit`. Rule `named` of readiness waits for them.
    pub load_at_start: Vec<String>,
    /// Rule for the models that must serve before the repository is ready.
    pub ready_when: ReadyWhen,
    /// Cores that replicas may use together.
    pub cores: usize,
    /// Default latency objective in milliseconds, for models without their own.
    pub objective_ms: Option<f64>,
    /// Settings of the probe, which tries versions in a child process; `None` turns it off.
    pub probe: Option<ProbeSettings>,
    /// Libraries of operators that every model may use. Their code runs in this process.
    pub operator_libraries: Vec<PathBuf>,
}

/// Settings of a model, from its `model.toml` or `config.pbtxt`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Rows of the largest batch; 0 if the first dimension is no batch dimension. Default: found by
    /// a proof and trial runs.
    pub max_batch_size: Option<usize>,
    /// Name of the file in each version's folder. Default: `model.onnx` or `model.sky`.
    pub file: Option<String>,
    /// Policy for the versions that serve.
    #[serde(deserialize_with = "versions")]
    pub versions: VersionPolicy,
    /// Latency objective in milliseconds. Default: the server's.
    pub objective_ms: Option<f64>,
    /// Batching policy.
    pub batching: Policy,
    /// Padding of requests of different sizes.
    pub padding: PaddingConfig,
    /// Limits of the queue.
    pub queue: QueueLimits,
    /// Response cache; `None` turns it off.
    pub cache: Option<CacheConfig>,
    /// Replicas that run the model.
    pub replicas: ReplicaConfig,
    /// Execution of a package's layers.
    pub compressed: CompressedConfig,
    /// Runs before the model is ready, in addition to calibration.
    pub warm_up: Vec<WarmUp>,
    /// Inputs that the configuration declares.
    #[serde(skip)]
    pub expected_inputs: Vec<ExpectedTensor>,
    /// Outputs that the configuration declares.
    #[serde(skip)]
    pub expected_outputs: Vec<ExpectedTensor>,
    /// Inputs whose requests are joined flat; `None` if there are none.
    #[serde(skip)]
    pub ragged: Option<RaggedConfig>,
    /// Name of the file of labels in the model's folder, by output.
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
    /// Priority levels, and the limits of the queue at each.
    #[serde(skip)]
    pub queue_policies: QueuePolicies,
    /// True if responses become available in the order of their requests.
    #[serde(skip)]
    pub preserve_ordering: bool,
    /// Labels that the model's metrics have beside the model and the version.
    #[serde(skip)]
    pub metric_tags: BTreeMap<String, String>,
    /// Libraries of operators in the model's folder.
    #[serde(skip)]
    pub operator_libraries: Vec<String>,
    /// Parameters of the configuration, unchanged.
    #[serde(skip)]
    pub parameters: BTreeMap<String, String>,
    /// Triton's configuration as it was declared, by the schema's names.
    #[serde(skip)]
    pub declared: Option<Arc<serde_json::Value>>,
    /// Lines of its fields.
    #[serde(skip)]
    pub lines: FieldLines,
}

/// Limits of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueLimits {
    /// Requests that may wait.
    pub requests_max: usize,
    /// Timeout in microseconds of requests without their own.
    pub timeout_us: Option<u64>,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { requests_max: 4096, timeout_us: None }
    }
}

/// Settings of the response cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Bytes of the cached responses and their inputs, for each version.
    pub bytes_max: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { bytes_max: 64 << 20 }
    }
}

/// Settings of a model's replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplicaConfig {
    /// Number of replicas. Default: chosen by the engine.
    pub count: Option<usize>,
    /// Threads of each replica. Default: chosen by the engine.
    pub threads: Option<usize>,
    /// Threads that run branches of the graph in parallel. Default: none.
    pub inter_op_threads: Option<usize>,
    /// Triton's `optimization.graph.level`: -1 for basic, else all optimisations.
    pub graph_optimization: i32,
}

impl ReplicaConfig {
    /// Threads of the first session that is made: as configured, else one.
    pub(crate) fn first_threads(&self) -> usize {
        self.threads.unwrap_or(1)
    }
}

/// Reads `versions = { latest = 2 }`, `{ all = true }` or `{ specific = [1, 3] }`.
fn versions<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<VersionPolicy, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "snake_case")]
    enum Versions {
        Latest(usize),
        All(bool),
        Specific(BTreeSet<u64>),
    }
    match Versions::deserialize(deserializer)? {
        Versions::Latest(0) => {
            Err(serde::de::Error::custom("latest = 0 serves nothing: at least 1"))
        }
        Versions::Latest(n) => Ok(VersionPolicy::Latest(n)),
        Versions::All(true) => Ok(VersionPolicy::All),
        Versions::All(false) => Err(serde::de::Error::custom("all = false means nothing")),
        Versions::Specific(versions) => Ok(VersionPolicy::Specific(versions)),
    }
}

/// Replaces the names of Rust's types in an error.
fn in_plain_words(error: &str) -> String {
    [
        ("expected usize", "it must be a natural number"),
        ("expected u64", "it must be a natural number"),
        ("expected i32", "it must be an integer"),
        ("expected f64", "it must be a number"),
        ("expected a boolean", "it must be true or false"),
        ("expected a sequence", "it must be a list"),
        ("expected a map", "it must be a table"),
        ("invalid type: ", "wrong value: "),
        ("unknown variant", "unknown value"),
        ("unit variant", "a plain value"),
        ("newtype variant", "a value of its own"),
        ("expected struct ", "it must be a table: "),
    ]
    .iter()
    .fold(error.to_owned(), |text, (ours, plain)| text.replace(ours, plain))
}

impl ModelConfig {
    /// Reads a `model.toml`.
    ///
    /// # Errors
    /// Names the line and the key.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| in_plain_words(&error.to_string()))
    }

    /// Checks that numbers are within their limits.
    ///
    /// # Errors
    /// Names the key of the first number that is not.
    pub fn check(&self) -> Result<(), String> {
        let ReplicaConfig { count, threads, inter_op_threads, .. } = self.replicas;
        let limited = [
            ("replicas.count", count),
            ("replicas.threads", threads),
            ("replicas.inter_op_threads", inter_op_threads),
        ];
        for (key, value) in limited {
            if let Some(value) = value.filter(|value| !(1..=THREADS_MAX).contains(value)) {
                return Err(format!(
                    "{key} is {value}: set it to a number from 1 to {THREADS_MAX}, or leave it out \
                     and the server chooses"
                ));
            }
        }
        if let Some(ms) = self.objective_ms.filter(|ms| !ms.is_finite() || *ms <= 0.0) {
            return Err(format!("objective_ms is {ms}: a number of milliseconds above 0"));
        }
        if let Some(warm_up) = self.warm_up.iter().find(|warm_up| warm_up.count > WARM_UPS_MAX) {
            let WarmUp { name, count, .. } = warm_up;
            return Err(format!("warm_up '{name}' has count {count}: at most {WARM_UPS_MAX}"));
        }
        self.batching.check().map_err(|problem| format!("batching.{problem}"))?;
        if let Some(CacheConfig { bytes_max }) = self.cache
            && bytes_max < CACHE_BYTES_MIN
        {
            return Err(format!("cache.bytes_max is {bytes_max}: at least {CACHE_BYTES_MIN}"));
        }
        match self.queue.requests_max {
            0 => Err("queue.requests_max is 0, so that nothing could wait: at least 1".into()),
            _ => Ok(()),
        }
    }

    /// Possible names of the model's file in a version's folder.
    pub fn file_names(&self) -> Vec<&str> {
        self.file.as_deref().map_or(FILE_NAMES.to_vec(), |file| vec![file])
    }
}

#[cfg(test)]
mod tests;
