//! How the engine and each model are set up. Everything has a default: a bare ONNX file serves.

use crate::tensor::DataType;
use serde::Deserialize;
use skysail_policy::batch::Policy;
use skysail_policy::versions::VersionPolicy;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

mod compressed;
mod probe;

pub use compressed::{Choice, CompressedConfig};
pub use probe::ProbeSettings;

/// Rows of the largest batch when a model's owner does not say.
pub const BATCH_ROWS_MAX: usize = 256;

/// A smaller cache is a mistake in its unit.
const CACHE_BYTES_MIN: usize = 1 << 20;

/// The names of a model's file when its owner does not say: as it is, and as a package.
pub(crate) const FILES: [&str; 2] = ["model.onnx", "model.sky"];

/// Replicas of a model, and threads of each, at most.
const THREADS_MAX: usize = 1024;

/// How the repository is kept in step with its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlMode {
    /// What is there at the start, for ever.
    None,
    /// Looked through again and again.
    Poll,
    /// Nothing but what is asked for by name.
    Explicit,
}

/// The engine's own settings.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The folder of models.
    pub models: PathBuf,
    /// When its changes are taken over.
    pub control: ControlMode,
    /// How often, in mode `poll`.
    pub poll_ms: u64,
    /// What to load at the start, in mode `explicit`.
    pub load_at_start: Vec<String>,
    /// Cores that replicas may use together.
    pub cores: usize,
    /// How soon requests should be answered, for models that do not say themselves.
    pub objective_ms: Option<f64>,
    /// How versions are tried in a process of their own first; they are not when it is not given.
    pub probe: Option<ProbeSettings>,
}

/// A model's settings: its `model.toml`, or what its `config.pbtxt` says of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Rows of the largest batch; 0: the first dimension is no batch dimension. Found out by
    /// trying when it is not given.
    pub max_batch_size: Option<usize>,
    /// Name of the file in each version's folder; `model.onnx` or `model.sky`, whichever is there,
    /// when it is not given.
    pub file: Option<String>,
    /// Which versions serve.
    #[serde(deserialize_with = "versions")]
    pub versions: VersionPolicy,
    /// How soon its answers should be there; the server's objective when it is not given.
    pub objective_ms: Option<f64>,
    /// When a batch starts.
    pub batching: Policy,
    /// How requests of different sizes share runs.
    pub padding: PaddingConfig,
    /// What may wait.
    pub queue: QueueLimits,
    /// Answers kept for requests to come; none are when it is not given.
    pub cache: Option<CacheConfig>,
    /// What runs it.
    pub replicas: ReplicaConfig,
    /// How the layers of a package run.
    pub compressed: CompressedConfig,
    /// What runs before it is ready, besides the engine's own tries.
    pub warm_up: Vec<WarmUp>,
    /// What its owner says of its inputs.
    #[serde(skip)]
    pub expected_inputs: Vec<ExpectedTensor>,
    /// What its owner says of its outputs.
    #[serde(skip)]
    pub expected_outputs: Vec<ExpectedTensor>,
    /// What its owner wrote for a runtime, as it was.
    #[serde(skip)]
    pub parameters: BTreeMap<String, String>,
}

/// What makes requests of different sizes one; without any input they run apart.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaddingConfig {
    /// The inputs that are padded in their open dimensions, but for the first, and with what.
    pub inputs: BTreeMap<String, Fill>,
}

/// A value that fills an input up.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "a number or a boolean")]
pub enum Fill {
    /// `true` or `false`.
    Bool(bool),
    /// Without a fraction.
    Integer(i64),
    /// With one, or `inf`, or `nan`.
    Float(f64),
}

/// `nan` is the same as `nan`: settings that have not changed are equal.
impl PartialEq for Fill {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            _ => false,
        }
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(bit) => write!(f, "{bit}"),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Float(float) => write!(f, "{float}"),
        }
    }
}

/// Limits of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueLimits {
    /// Requests that may wait.
    pub requests_max: usize,
    /// How long a request may wait when it does not say.
    pub timeout_us: Option<u64>,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { requests_max: 4096, timeout_us: None }
    }
}

/// The memory for answers to requests that come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Of each version: all its answers together with the inputs they belong to.
    pub bytes_max: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { bytes_max: 64 << 20 }
    }
}

/// What runs a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplicaConfig {
    /// How many sessions; the engine chooses when it is not given.
    pub count: Option<usize>,
    /// Threads of each; the engine chooses when it is not given.
    pub threads: Option<usize>,
    /// Threads that run branches of the graph beside each other; none when it is not given.
    pub inter_op_threads: Option<usize>,
    /// Triton's `optimization.graph.level`: -1 for basic, else all optimisations.
    pub graph_optimization: i32,
}

impl ReplicaConfig {
    /// The threads of a session to start with: as many as its owner wants, else its caller's.
    pub(crate) fn first_threads(&self) -> usize {
        self.threads.unwrap_or(1)
    }
}

/// Runs that a model's owner wants before it is ready.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarmUp {
    /// For the log.
    pub name: String,
    /// Rows of the run; 0 and 1 are one row.
    pub rows: usize,
    /// How often; 0 and 1 are once.
    pub count: usize,
    /// What to feed; zeros for an input that is not named.
    pub inputs: BTreeMap<String, WarmUpInput>,
}

/// What an input is fed while warming up.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarmUpInput {
    /// Its dimensions without the batch dimension.
    pub dims: Vec<usize>,
    /// Its elements.
    pub data: WarmUpData,
}

/// Elements for warming up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmUpData {
    /// Zeros, or empty strings.
    #[default]
    Zero,
    /// Deterministic noise.
    Random,
    /// Bytes of a file in the model's folder `warmup/`.
    File(String),
}

/// What a model's owner says of an input or output; checked against the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedTensor {
    /// Its name.
    pub name: String,
    /// Its datatype, if said.
    pub datatype: Option<DataType>,
    /// Its dimensions without the batch dimension, -1 for any, if said.
    pub dims: Option<Vec<i64>>,
    /// Whether a request may leave it out.
    pub optional: bool,
}

/// `versions = { latest = 2 }`, `{ all = true }` or `{ specific = [1, 3] }`.
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

impl ModelConfig {
    /// Reads a `model.toml`.
    ///
    /// # Errors
    /// With the line and the key.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// Names the key of the first that is out of its limits.
    pub fn check(&self) -> Result<(), String> {
        let ReplicaConfig { count, threads, inter_op_threads, .. } = self.replicas;
        let limited = [
            ("replicas.count", count),
            ("replicas.threads", threads),
            ("replicas.inter_op_threads", inter_op_threads),
        ];
        for (key, value) in limited {
            if let Some(value) = value.filter(|value| !(1..=THREADS_MAX).contains(value)) {
                return Err(format!("{key} is {value}: at least 1, at most {THREADS_MAX}"));
            }
        }
        if let Some(ms) = self.objective_ms.filter(|ms| !ms.is_finite() || *ms <= 0.0) {
            return Err(format!("objective_ms is {ms}: a number of milliseconds above 0"));
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

    /// The names that the model's file may have in a version's folder.
    pub fn file_names(&self) -> Vec<&str> {
        self.file.as_deref().map_or(FILES.to_vec(), |file| vec![file])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(ModelConfig::from_toml("").unwrap(), ModelConfig::default());
    }

    #[test]
    fn settings_that_have_not_changed_are_equal_whatever_they_fill_with() {
        let read = |fill| ModelConfig::from_toml(&format!("padding.inputs.x = {fill}")).unwrap();
        for fill in ["nan", "inf", "0.5", "0", "true"] {
            assert_eq!(read(fill), read(fill), "{fill}");
        }
        assert_ne!(read("nan"), read("0.5"));
    }

    #[test]
    fn reads_every_table() {
        let text = r#"
            max_batch_size = 8
            versions = { specific = [1, 3] }
            [batching]
            max_delay_us = 500
            preferred_sizes = [4, 8]
            [queue]
            requests_max = 10
            timeout_us = 20000
            [cache]
            bytes_max = 2000000
            [replicas]
            count = 2
            threads = 1
            [compressed]
            execution = "sparse"
            layers = { "fc1.weight" = "dense", "fc2.weight" = "auto" }
            [[warm_up]]
            rows = 4
            inputs.x = { dims = [3], data = "random" }
        "#;
        let config = ModelConfig::from_toml(text).unwrap();
        assert_eq!(config.versions, VersionPolicy::Specific([1, 3].into()));
        assert_eq!(config.batching.preferred_sizes, [4, 8]);
        assert_eq!(config.queue, QueueLimits { requests_max: 10, timeout_us: Some(20_000) });
        assert_eq!(config.cache, Some(CacheConfig { bytes_max: 2_000_000 }));
        assert_eq!(config.replicas.count, Some(2));
        assert_eq!(config.compressed.execution, Choice::Sparse);
        assert_eq!(config.compressed.layers["fc1.weight"], Choice::Dense);
        assert_eq!(config.warm_up[0].inputs["x"].data, WarmUpData::Random);
    }

    #[test]
    fn a_wrong_key_is_named_with_its_line() {
        let error = ModelConfig::from_toml("max_batch_size = 8\n[batching]\nmax_dealy_us = 5\n");
        let error = error.unwrap_err();
        assert!(error.contains("line 3") && error.contains("max_dealy_us"), "{error}");
        let error = ModelConfig::from_toml("[compressed]\nexecution = \"int8\"\n").unwrap_err();
        assert!(error.contains("line 2") && error.contains("`auto`"), "{error}");
    }

    #[test]
    fn numbers_out_of_their_limits_are_named() {
        let refusal = |text| ModelConfig::from_toml(text).unwrap().check().err();
        assert_eq!(refusal("replicas = { count = 4, threads = 1024 }"), None);
        for (text, named) in [
            ("replicas.count = 0", "replicas.count is 0"),
            ("replicas.threads = 9000000000", "replicas.threads is 9000000000"),
            ("replicas.inter_op_threads = 2000", "replicas.inter_op_threads is 2000"),
            ("queue.requests_max = 0", "queue.requests_max is 0"),
            ("cache.bytes_max = 64", "cache.bytes_max is 64"),
        ] {
            let error = refusal(text).unwrap();
            assert!(error.contains(named), "{error}");
        }
    }
}
