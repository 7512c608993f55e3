//! A configuration as the schema has it, as far as it has an effect.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonConfig {
    pub(super) name: String,
    pub(super) platform: String,
    pub(super) backend: String,
    pub(super) max_batch_size: i64,
    pub(super) input: Vec<TritonTensor>,
    pub(super) output: Vec<TritonTensor>,
    pub(super) batch_input: Vec<TritonBatchTensor>,
    pub(super) batch_output: Vec<TritonBatchTensor>,
    pub(super) version_policy: TritonVersions,
    pub(super) instance_group: Vec<TritonInstances>,
    pub(super) dynamic_batching: TritonBatching,
    pub(super) model_warmup: Vec<TritonWarmUp>,
    pub(super) default_model_filename: Option<String>,
    pub(super) metric_tags: BTreeMap<String, String>,
    pub(super) model_operations: TritonOperations,
    pub(super) parameters: BTreeMap<String, TritonParameter>,
    pub(super) optimization: TritonOptimization,
    pub(super) response_cache: TritonCache,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonTensor {
    pub(super) name: String,
    pub(super) data_type: String,
    pub(super) dims: Vec<i64>,
    pub(super) reshape: Option<TritonReshape>,
    /// True for an optional input.
    pub(super) optional: bool,
    /// True for an input whose requests are joined flat.
    pub(super) allow_ragged_batch: bool,
    /// File of labels of an output, in the model's folder.
    pub(super) label_filename: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonReshape {
    pub(super) shape: Vec<i64>,
}

/// A `batch_input` or a `batch_output`.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonBatchTensor {
    pub(super) kind: String,
    pub(super) target_name: Vec<String>,
    pub(super) data_type: String,
    pub(super) source_input: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonVersions {
    pub(super) latest: Option<TritonLatest>,
    pub(super) all: Option<TritonAll>,
    pub(super) specific: Option<TritonSpecific>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonLatest {
    pub(super) num_versions: u32,
}

#[derive(Deserialize)]
pub(super) struct TritonAll {}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonSpecific {
    pub(super) versions: BTreeSet<i64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonInstances {
    pub(super) count: i32,
    pub(super) kind: String,
    pub(super) passive: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonBatching {
    pub(super) preferred_batch_size: Vec<i32>,
    pub(super) max_queue_delay_microseconds: u64,
    pub(super) preserve_ordering: bool,
    pub(super) priority_levels: u64,
    pub(super) default_priority_level: u64,
    pub(super) default_queue_policy: TritonQueue,
    /// By level.
    pub(super) priority_queue_policy: BTreeMap<String, TritonQueue>,
}

#[derive(Clone, Copy, Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonQueue {
    pub(super) timeout_action: TritonTimeoutAction,
    pub(super) default_timeout_microseconds: u64,
    pub(super) allow_timeout_override: bool,
    pub(super) max_queue_size: u32,
}

#[derive(Clone, Copy, Deserialize, Default)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum TritonTimeoutAction {
    #[default]
    Reject,
    Delay,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonWarmUp {
    pub(super) name: String,
    pub(super) batch_size: u32,
    pub(super) count: u32,
    pub(super) inputs: BTreeMap<String, TritonWarmUpInput>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonWarmUpInput {
    pub(super) data_type: String,
    pub(super) dims: Vec<i64>,
    pub(super) zero_data: bool,
    pub(super) random_data: bool,
    pub(super) input_data_file: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonOperations {
    pub(super) op_library_filename: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonParameter {
    pub(super) string_value: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonCache {
    pub(super) enable: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonOptimization {
    pub(super) graph: TritonGraph,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TritonGraph {
    pub(super) level: i32,
}
