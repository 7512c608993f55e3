//! Turns a configuration into the settings of a model.

use super::node::Mistake;
use super::settings::{
    TritonConfig, TritonInstances, TritonVersions, TritonWarmUp, TritonWarmUpInput,
};
use crate::config::{
    CacheConfig, ModelConfig, QueueLimits, ReplicaConfig, THREADS_MAX, WarmUp, WarmUpData,
    WarmUpInput,
};
use skysail_policy::batch::Policy;
use skysail_policy::versions::VersionPolicy;
use std::collections::BTreeMap;
use std::path::{Component, Path};

mod queues;
mod ragged;
mod tensors;

/// Labels that a model may add to its metrics.
const TAGS_MAX: usize = 16;

/// Bytes of a label's name or value.
const TAG_BYTES_MAX: usize = 256;

/// Makes the settings of a model of this name. Adds warnings about values without effect.
///
/// # Errors
/// Names the first field whose value can not be served, and says why.
pub(super) fn convert(
    triton: TritonConfig,
    model: &str,
    warnings: &mut Vec<String>,
) -> Result<ModelConfig, Mistake> {
    check_kind(&triton, model)?;
    let ragged = ragged::read(&triton)?;
    let max_batch_size = natural(triton.max_batch_size, "max_batch_size")?;
    // Without batch size and tensors, the engine decides on batching.
    let is_unspecified = max_batch_size == 0 && triton.input.is_empty();
    let batching = &triton.dynamic_batching;
    let mut config = ModelConfig {
        max_batch_size: (!is_unspecified).then_some(max_batch_size),
        file: triton.default_model_filename,
        versions: versions(triton.version_policy)?,
        batching: Policy {
            name: None,
            max_delay_us: batching.max_queue_delay_microseconds,
            preferred_sizes: preferred_sizes(&batching.preferred_batch_size, max_batch_size)?,
        },
        queue: QueueLimits {
            requests_max: queues::requests_max(batching),
            ..QueueLimits::default()
        },
        queue_policies: queues::policies(batching)?,
        preserve_ordering: batching.preserve_ordering,
        cache: triton.response_cache.enable.then(CacheConfig::default),
        replicas: ReplicaConfig {
            count: instances(&triton.instance_group, warnings)?,
            graph_optimization: triton.optimization.graph.level,
            ..ReplicaConfig::default()
        },
        warm_up: warm_ups(triton.model_warmup)?,
        labels: tensors::labels(&triton.output)?,
        expected_inputs: tensors::expected(triton.input, "input")?,
        expected_outputs: tensors::expected(triton.output, "output")?,
        metric_tags: tags(triton.metric_tags)?,
        operator_libraries: operator_libraries(triton.model_operations.op_library_filename)?,
        ragged,
        ..ModelConfig::default()
    };
    queues::check_order(&config)?;
    tensors::check_reshapes(&config)?;
    for (key, parameter) in triton.parameters {
        apply_parameter(&mut config, &key, &parameter.string_value, warnings)?;
        config.parameters.insert(key, parameter.string_value);
    }
    Ok(config)
}

fn check_kind(triton: &TritonConfig, model: &str) -> Result<(), Mistake> {
    let TritonConfig { name, platform, backend, .. } = triton;
    if !name.is_empty() && name != model {
        let problem = format!("is '{name}', and the folder's name is '{model}'");
        return Err(Mistake::in_field("name", problem));
    }
    for (field, said) in [("platform", platform), ("backend", backend)] {
        if !said.is_empty() && !said.starts_with("onnxruntime") {
            let served = if field == "platform" { "onnxruntime_onnx" } else { "onnxruntime" };
            let problem = format!("is '{said}', and only ONNX models are served: '{served}'");
            return Err(Mistake::in_field(field, problem));
        }
    }
    Ok(())
}

fn natural(value: impl TryInto<usize> + Copy + ToString, field: &str) -> Result<usize, Mistake> {
    let number = value.try_into().ok();
    number.ok_or_else(|| Mistake::in_field(field, format!("is {}: at least 0", value.to_string())))
}

fn preferred_sizes(sizes: &[i32], rows_max: usize) -> Result<Vec<usize>, Mistake> {
    let size = |(index, &size): (usize, &i32)| {
        let field = format!("dynamic_batching.preferred_batch_size[{index}]");
        let problem = match usize::try_from(size) {
            Ok(size) if size > 0 && (size <= rows_max || rows_max == 0) => return Ok(size),
            Ok(size) if size > 0 => format!("is {size}, and max_batch_size is {rows_max}"),
            _ => format!("is {size}: at least 1"),
        };
        Err(Mistake::in_field(field, problem))
    };
    sizes.iter().enumerate().map(size).collect()
}

fn versions(policy: TritonVersions) -> Result<VersionPolicy, Mistake> {
    let TritonVersions { latest, all, specific } = policy;
    if let Some(specific) = specific {
        let version = |version: i64| {
            let problem = || format!("{version} is no version: at least 1");
            let number = u64::try_from(version).ok().filter(|&number| number > 0);
            number.ok_or_else(|| Mistake::in_field("version_policy.specific.versions", problem()))
        };
        let versions = specific.versions.into_iter().map(version).collect::<Result<_, _>>()?;
        return Ok(VersionPolicy::Specific(versions));
    }
    Ok(match latest {
        _ if all.is_some() => VersionPolicy::All,
        Some(latest) => VersionPolicy::Latest((latest.num_versions as usize).max(1)),
        None => VersionPolicy::default(),
    })
}

/// The number of replicas, if the configuration has groups of instances.
fn instances(
    groups: &[TritonInstances],
    warnings: &mut Vec<String>,
) -> Result<Option<usize>, Mistake> {
    let mut sum = 0_usize;
    for (index, group) in groups.iter().enumerate() {
        let field = format!("instance_group[{index}].count");
        let count = natural(group.count, &field)?.max(1);
        if group.kind == "KIND_GPU" || group.kind == "KIND_MODEL" {
            warnings.push(format!("config.pbtxt: {} instances run on the CPU here", group.kind));
        }
        sum += if group.passive { 0 } else { count };
        if sum > THREADS_MAX {
            let problem =
                format!("makes {sum} instances: set the counts to {THREADS_MAX} at most together");
            return Err(Mistake::in_field(field, problem));
        }
    }
    match sum {
        0 if groups.is_empty() => Ok(None),
        0 => Err(Mistake::in_field("instance_group", "all are passive, so that nothing would run")),
        sum => Ok(Some(sum)),
    }
}

fn apply_parameter(
    config: &mut ModelConfig,
    key: &str,
    value: &str,
    warnings: &mut Vec<String>,
) -> Result<(), Mistake> {
    let threads = || match value.trim().parse() {
        Ok(0) => Ok(None),
        Ok(threads) if threads <= THREADS_MAX => Ok(Some(threads)),
        parsed => {
            let field = format!("parameters[\"{key}\"]");
            let problem = match parsed {
                Ok(_) => {
                    format!("is {value}: set it to {THREADS_MAX} at most, or to 0 for the default")
                }
                Err(_) => format!("is '{value}', and must be a number from 0 to {THREADS_MAX}"),
            };
            Err(Mistake::in_field(field, problem))
        }
    };
    match key {
        "intra_op_thread_count" => config.replicas.threads = threads()?,
        "inter_op_thread_count" => config.replicas.inter_op_threads = threads()?,
        _ => warnings.push(format!("config.pbtxt: parameter '{key}' has no effect here")),
    }
    Ok(())
}

fn warm_ups(warm_ups: Vec<TritonWarmUp>) -> Result<Vec<WarmUp>, Mistake> {
    let warm_up = |(index, warm_up): (usize, TritonWarmUp)| {
        let input = |(name, input): (String, TritonWarmUpInput)| {
            let field = format!("model_warmup[{index}].inputs[\"{}\"]", name.escape_debug());
            Ok((name, warm_up_input(input, &field)?))
        };
        let inputs = warm_up.inputs.into_iter().map(input).collect::<Result<_, Mistake>>()?;
        Ok(WarmUp {
            name: warm_up.name,
            rows: warm_up.batch_size as usize,
            count: warm_up.count as usize,
            inputs,
        })
    };
    warm_ups.into_iter().enumerate().map(warm_up).collect()
}

fn warm_up_input(input: TritonWarmUpInput, field: &str) -> Result<WarmUpInput, Mistake> {
    let dim = |dim: i64| {
        let problem = || format!("{dim} is no size of a sample: at least 0");
        usize::try_from(dim).map_err(|_| Mistake::in_field(format!("{field}.dims"), problem()))
    };
    Ok(WarmUpInput {
        datatype: tensors::datatype(&input.data_type),
        dims: input.dims.into_iter().map(dim).collect::<Result<_, _>>()?,
        data: match input.input_data_file {
            Some(file) => WarmUpData::File(file),
            None if input.random_data && !input.zero_data => WarmUpData::Random,
            None => WarmUpData::Zero,
        },
    })
}

/// Labels of the model's metrics. Prometheus limits their names.
fn tags(tags: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Mistake> {
    if tags.len() > TAGS_MAX {
        let problem = format!("{} labels: at most {TAGS_MAX}", tags.len());
        return Err(Mistake::in_field("metric_tags", problem));
    }
    for (key, value) in &tags {
        let field = || format!("metric_tags[\"{}\"]", key.escape_debug());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if key.is_empty() || !key.chars().all(is_plain) {
            let problem = "the name of a label has letters, digits and `_` only";
            return Err(Mistake::in_field(field(), problem));
        }
        if key.len().max(value.len()) > TAG_BYTES_MAX {
            let problem = format!("longer than {TAG_BYTES_MAX} bytes");
            return Err(Mistake::in_field(field(), problem));
        }
    }
    Ok(tags)
}

/// Checks that the libraries of a model lie in its folder.
fn operator_libraries(files: Vec<String>) -> Result<Vec<String>, Mistake> {
    for (index, file) in files.iter().enumerate() {
        if !is_inside(file) {
            let field = format!("model_operations.op_library_filename[{index}]");
            let problem = format!(
                "is '{file}', and must be a file in the model's folder; the flag \
                 --op-library takes others"
            );
            return Err(Mistake::in_field(field, problem));
        }
    }
    Ok(files)
}

/// True for a path that leads to a file in its folder, or in one inside.
fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}
