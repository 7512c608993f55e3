//! Reads Triton's model configuration, as text (`config.pbtxt`) or JSON. Settings without effect
//! are named in warnings.

mod text_format;

use crate::config::{
    CacheConfig, CompressedConfig, ExpectedTensor, ModelConfig, PaddingConfig, QueueLimits,
    ReplicaConfig, WarmUp, WarmUpData, WarmUpInput,
};
use crate::tensor::DataType;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::Deserialize;
use skysail_policy::batch::Policy;
use skysail_policy::versions::VersionPolicy;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};
use text_format::with_colons;

#[cfg(test)]
mod tests;

/// The compiled schema of `server/protocol/proto`, whose tests keep it up to date.
const SCHEMA: &[u8] = include_bytes!("triton/model_config.bin");

/// Settings, and warnings about those without effect.
type Read = Result<(ModelConfig, Vec<String>), String>;

/// Reads the text form.
pub(super) fn from_text(text: &str, model: &str) -> Read {
    let message = DynamicMessage::parse_text_format(schema()?, &with_colons(text))
        .map_err(|error| format!("not a model configuration: {error}"))?;
    from_message(&message, model)
}

/// Reads the JSON form.
pub(super) fn from_json(text: &str, model: &str) -> Read {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(schema()?, &mut deserializer)
        .map_err(|error| format!("the configuration is not valid: {error}"))?;
    from_message(&message, model)
}

fn schema() -> Result<MessageDescriptor, String> {
    let pool = DescriptorPool::decode(SCHEMA).map_err(|error| error.to_string())?;
    pool.get_message_by_name("inference.ModelConfig").ok_or_else(|| "no schema".into())
}

fn from_message(message: &DynamicMessage, model: &str) -> Read {
    let options =
        SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    let json = message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| error.to_string())?;
    let mut warnings = Vec::new();
    let triton: TritonConfig = serde_ignored::deserialize(json, |path| {
        warnings.push(format!("config.pbtxt: '{path}' has no effect here"));
    })
    .map_err(|error| error.to_string())?;
    let config = triton.into_config(model, &mut warnings)?;
    Ok((config, warnings))
}

/// Supported part of Triton's `ModelConfig`. Other settings cause warnings.
#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonConfig {
    name: String,
    platform: String,
    backend: String,
    max_batch_size: i64,
    input: Vec<TritonTensor>,
    output: Vec<TritonTensor>,
    version_policy: TritonVersions,
    instance_group: Vec<TritonInstances>,
    dynamic_batching: TritonBatching,
    model_warmup: Vec<TritonWarmUp>,
    default_model_filename: Option<String>,
    parameters: BTreeMap<String, TritonParameter>,
    optimization: TritonOptimization,
    response_cache: TritonCache,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonTensor {
    name: String,
    data_type: String,
    dims: Vec<i64>,
    /// True for an optional input.
    optional: bool,
    /// File of labels of an output, in the model's folder.
    label_filename: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonVersions {
    latest: Option<TritonLatest>,
    all: Option<TritonAll>,
    specific: Option<TritonSpecific>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonLatest {
    num_versions: usize,
}

#[derive(Deserialize)]
struct TritonAll {}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonSpecific {
    versions: BTreeSet<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonInstances {
    count: usize,
    kind: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonBatching {
    preferred_batch_size: Vec<usize>,
    max_queue_delay_microseconds: u64,
    default_queue_policy: TritonQueue,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonQueue {
    max_queue_size: usize,
    default_timeout_microseconds: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonWarmUp {
    name: String,
    batch_size: usize,
    count: usize,
    inputs: BTreeMap<String, TritonWarmUpInput>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonWarmUpInput {
    /// Ignored, as the graph has the datatype.
    #[serde(rename = "data_type")]
    _data_type: String,
    dims: Vec<usize>,
    zero_data: bool,
    random_data: bool,
    input_data_file: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonParameter {
    string_value: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonCache {
    enable: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonOptimization {
    graph: TritonGraph,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TritonGraph {
    level: i32,
}

impl TritonConfig {
    fn into_config(self, model: &str, warnings: &mut Vec<String>) -> Result<ModelConfig, String> {
        self.check(model)?;
        let max_batch_size = usize::try_from(self.max_batch_size)
            .map_err(|_| format!("max_batch_size is {}: at least 0", self.max_batch_size))?;
        // Without batch size and tensors, the engine decides on batching.
        let is_unspecified = max_batch_size == 0 && self.input.is_empty();
        let queue = self.dynamic_batching.default_queue_policy;
        let defaults = QueueLimits::default();
        let mut config = ModelConfig {
            max_batch_size: (!is_unspecified).then_some(max_batch_size),
            file: self.default_model_filename,
            versions: self.version_policy.into_policy()?,
            objective_ms: None,
            batching: Policy {
                name: None,
                max_delay_us: self.dynamic_batching.max_queue_delay_microseconds,
                preferred_sizes: self.dynamic_batching.preferred_batch_size,
            },
            queue: QueueLimits {
                requests_max: nonzero(queue.max_queue_size).unwrap_or(defaults.requests_max),
                timeout_us: Some(queue.default_timeout_microseconds).filter(|&us| us > 0),
            },
            padding: PaddingConfig::default(),
            cache: self.response_cache.enable.then(CacheConfig::default),
            compressed: CompressedConfig::default(),
            replicas: ReplicaConfig {
                count: instances(&self.instance_group, warnings),
                graph_optimization: self.optimization.graph.level,
                ..ReplicaConfig::default()
            },
            warm_up: self.model_warmup.into_iter().map(TritonWarmUp::into_warm_up).collect(),
            labels: labels(&self.output)?,
            expected_inputs: expected(self.input)?,
            expected_outputs: expected(self.output)?,
            parameters: BTreeMap::new(),
        };
        for (key, parameter) in self.parameters {
            apply_parameter(&mut config, &key, &parameter.string_value, warnings)?;
            config.parameters.insert(key, parameter.string_value);
        }
        Ok(config)
    }

    fn check(&self, model: &str) -> Result<(), String> {
        if !self.name.is_empty() && self.name != model {
            return Err(format!("name is '{}', and the folder's is '{model}'", self.name));
        }
        let is_onnx = |text: &str| text.is_empty() || text.starts_with("onnxruntime");
        if !is_onnx(&self.platform) || !is_onnx(&self.backend) {
            let said = if self.backend.is_empty() { &self.platform } else { &self.backend };
            return Err(format!("it is for '{said}', and only ONNX models are served"));
        }
        Ok(())
    }
}

fn nonzero(value: usize) -> Option<usize> {
    Some(value).filter(|&value| value > 0)
}

fn instances(groups: &[TritonInstances], warnings: &mut Vec<String>) -> Option<usize> {
    for group in groups {
        if group.kind == "KIND_GPU" || group.kind == "KIND_MODEL" {
            warnings.push(format!("config.pbtxt: {} instances run on the CPU here", group.kind));
        }
    }
    nonzero(groups.iter().map(|group| group.count.max(1)).sum())
}

fn apply_parameter(
    config: &mut ModelConfig,
    key: &str,
    value: &str,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let threads = || {
        let number = value.trim().parse::<usize>();
        number.map(nonzero).map_err(|_| format!("parameter '{key}' is '{value}': not a number"))
    };
    match key {
        "intra_op_thread_count" => config.replicas.threads = threads()?,
        "inter_op_thread_count" => config.replicas.inter_op_threads = threads()?,
        _ => warnings.push(format!("config.pbtxt: parameter '{key}' has no effect here")),
    }
    Ok(())
}

/// The files of labels, by output. A file lies in the model's folder, or in one inside.
fn labels(outputs: &[TritonTensor]) -> Result<BTreeMap<String, String>, String> {
    let labelled = outputs.iter().filter(|output| !output.label_filename.is_empty());
    let label = |output: &TritonTensor| {
        let (name, file) = (output.name.clone(), output.label_filename.clone());
        let is_inside =
            Path::new(&file).components().all(|part| matches!(part, Component::Normal(_)));
        match is_inside {
            true => Ok((name, file)),
            false => Err(format!(
                "label_filename of output '{name}' is '{file}': a file in the model's folder"
            )),
        }
    };
    labelled.map(label).collect()
}

fn expected(tensors: Vec<TritonTensor>) -> Result<Vec<ExpectedTensor>, String> {
    let expect = |tensor: TritonTensor| {
        let datatype = match tensor.data_type.as_str() {
            "" | "TYPE_INVALID" => None,
            "TYPE_STRING" => Some(DataType::Bytes),
            name => {
                let known = name.strip_prefix("TYPE_").and_then(DataType::from_name);
                Some(known.ok_or_else(|| format!("'{}' has data_type {name}", tensor.name))?)
            }
        };
        let dims = Some(tensor.dims).filter(|dims| !dims.is_empty());
        Ok(ExpectedTensor { name: tensor.name, datatype, dims, optional: tensor.optional })
    };
    tensors.into_iter().map(expect).collect()
}

impl TritonVersions {
    fn into_policy(self) -> Result<VersionPolicy, String> {
        match (self.latest, self.all, self.specific) {
            (None, None, None) => Ok(VersionPolicy::default()),
            (Some(latest), None, None) => Ok(VersionPolicy::Latest(latest.num_versions.max(1))),
            (None, Some(TritonAll {}), None) => Ok(VersionPolicy::All),
            (None, None, Some(specific)) => Ok(VersionPolicy::Specific(specific.versions)),
            _ => Err("version_policy has more than one choice".into()),
        }
    }
}

impl TritonWarmUp {
    fn into_warm_up(self) -> WarmUp {
        let input = |input: TritonWarmUpInput| WarmUpInput {
            dims: input.dims,
            data: match input.input_data_file {
                Some(file) => WarmUpData::File(file),
                None if input.random_data && !input.zero_data => WarmUpData::Random,
                None => WarmUpData::Zero,
            },
        };
        let inputs = self.inputs.into_iter().map(|(name, value)| (name, input(value))).collect();
        WarmUp { name: self.name, rows: self.batch_size, count: self.count, inputs }
    }
}
