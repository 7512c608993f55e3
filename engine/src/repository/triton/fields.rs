//! Every field of the schema, and what is made of it: the table of `docs/triton.md`.

use super::node::Mistake;
use super::schema::schema;
use Use::{Honoured, Ignored, Refused};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

/// Treatment of a field that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It has its effect.
    Honoured,
    /// The model is not loaded.
    Refused,
    /// A warning says that it has no effect.
    Ignored,
}

/// A field, or a group of fields, with its treatment and an explanation.
pub(super) type Entry = (&'static str, Use, &'static str);

/// The treatment of each field; a group without entries inside is treated as a whole.
pub(super) const FIELDS: &[Entry] = &[
    ("name", Honoured, "must be the name of the folder"),
    ("platform", Honoured, "`onnxruntime_onnx` or `onnxruntime`; others are refused"),
    ("backend", Honoured, "`onnxruntime`; others are refused"),
    ("runtime", Ignored, "the server has one runtime"),
    ("version_policy.latest.num_versions", Honoured, "0 counts as 1"),
    ("version_policy.all", Honoured, "all versions serve"),
    ("version_policy.specific.versions", Honoured, "these versions serve"),
    (
        "max_batch_size",
        Honoured,
        "0: the first dimension is no batch dimension; larger requests are refused",
    ),
    ("input.name", Honoured, "checked against the graph"),
    ("input.data_type", Honoured, "checked against the graph"),
    ("input.format", Honoured, "returned with the configuration; the data is not changed"),
    ("input.dims", Honoured, "checked against the graph"),
    ("input.reshape.shape", Honoured, "clients send `dims`, the graph gets this shape"),
    ("input.is_shape_tensor", Ignored, "an input of an ONNX graph is a tensor"),
    (
        "input.allow_ragged_batch",
        Honoured,
        "requests of unlike shapes share a batch, joined flat; the graph takes `[-1]`",
    ),
    ("input.optional", Honoured, "the graph must have a default for it"),
    ("input.is_non_linear_format_io", Ignored, "formats of TensorRT"),
    ("output.name", Honoured, "checked against the graph"),
    ("output.data_type", Honoured, "checked against the graph"),
    ("output.dims", Honoured, "checked against the graph"),
    (
        "output.label_filename",
        Honoured,
        "labels of the classification extension, from the model's folder",
    ),
    ("output.reshape.shape", Honoured, "the graph gives this shape, clients get `dims`"),
    ("output.is_shape_tensor", Ignored, "an output of an ONNX graph is a tensor"),
    ("output.is_non_linear_format_io", Ignored, "formats of TensorRT"),
    ("batch_input", Honoured, "every kind, of TYPE_INT32 or TYPE_FP32; a request is one item"),
    (
        "batch_output",
        Honoured,
        "its parts have the `dims` of the output, and sizes of the input for -1",
    ),
    ("instance_group.name", Ignored, "instances have no names"),
    ("instance_group.count", Honoured, "the sum over all groups"),
    ("instance_group.kind", Honoured, "instances run on the CPU; a warning names other kinds"),
    ("instance_group.gpus", Ignored, "instances run on the CPU"),
    ("instance_group.profile", Ignored, "profiles of TensorRT"),
    ("instance_group.rate_limiter", Ignored, "instances share the cores of the server"),
    ("instance_group.passive", Honoured, "a passive group adds no instances"),
    ("instance_group.secondary_devices", Ignored, "instances run on the CPU"),
    ("instance_group.host_policy", Ignored, "instances run on any core"),
    ("default_model_filename", Honoured, "a file in the version's folder"),
    ("cc_model_filenames", Ignored, "instances run on the CPU"),
    (
        "metric_tags",
        Honoured,
        "labels of the model's `nv_*` metrics, with `_` before the key; 16 at most",
    ),
    (
        "dynamic_batching.preferred_batch_size",
        Honoured,
        "with a delay: a batch of such a size does not wait",
    ),
    ("dynamic_batching.max_queue_delay_microseconds", Honoured, "longest wait for a fuller batch"),
    (
        "dynamic_batching.preserve_ordering",
        Honoured,
        "responses of each priority level become available in the order of their requests; refused with `DELAY`",
    ),
    (
        "dynamic_batching.priority_levels",
        Honoured,
        "1 goes first; a lower level waits one second for each step between them at most",
    ),
    (
        "dynamic_batching.default_priority_level",
        Honoured,
        "of requests with priority 0, or beyond the levels",
    ),
    (
        "dynamic_batching.default_queue_policy.timeout_action",
        Honoured,
        "`DELAY`: after all requests whose time has not passed; an error at the objective",
    ),
    (
        "dynamic_batching.default_queue_policy.default_timeout_microseconds",
        Honoured,
        "longest time in the queue; 0: any",
    ),
    (
        "dynamic_batching.default_queue_policy.allow_timeout_override",
        Honoured,
        "a request's shorter `timeout` replaces it; otherwise it has no effect",
    ),
    (
        "dynamic_batching.default_queue_policy.max_queue_size",
        Honoured,
        "of each level; 0: 4096 for all levels together",
    ),
    ("dynamic_batching.priority_queue_policy", Honoured, "by level, as above"),
    ("sequence_batching", Refused, "sequences are not supported"),
    ("ensemble_scheduling", Refused, "ensembles are not supported"),
    ("optimization.graph.level", Honoured, "-1: basic optimisations; else all"),
    ("optimization.priority", Ignored, "priorities of GPU streams"),
    ("optimization.cuda", Ignored, "instances run on the CPU"),
    ("optimization.execution_accelerators", Ignored, "ONNX Runtime's own kernels run the model"),
    ("optimization.input_pinned_memory", Ignored, "instances run on the CPU"),
    ("optimization.output_pinned_memory", Ignored, "instances run on the CPU"),
    ("optimization.gather_kernel_buffer_threshold", Ignored, "instances run on the CPU"),
    (
        "optimization.eager_batching",
        Ignored,
        "an idle instance starts without it, unless a delay is set",
    ),
    (
        "parameters",
        Honoured,
        "`intra_op_thread_count`, `inter_op_thread_count`; a warning names others",
    ),
    ("model_warmup.name", Honoured, "named in errors"),
    ("model_warmup.batch_size", Honoured, "rows; the sample of one row is repeated"),
    ("model_warmup.inputs.data_type", Honoured, "must be the input's"),
    ("model_warmup.inputs.dims", Honoured, "without the batch dimension"),
    ("model_warmup.inputs.zero_data", Honoured, "zeros, or empty strings"),
    ("model_warmup.inputs.random_data", Honoured, "the same noise every time"),
    (
        "model_warmup.inputs.input_data_file",
        Honoured,
        "a file in the model's folder `warmup`: one row, or all",
    ),
    ("model_warmup.count", Honoured, "runs; 0 counts as 1"),
    (
        "model_operations.op_library_filename",
        Honoured,
        "a library in the model's folder; its code runs in the server",
    ),
    ("model_transaction_policy.decoupled", Ignored, "each request has one response"),
    (
        "model_repository_agents",
        Refused,
        "they would change or check the files, and there are none",
    ),
    ("response_cache.enable", Honoured, "64 MiB for each version"),
    ("model_metrics", Ignored, "the buckets of histograms are fixed"),
];

/// Finds the entry of a field, or of a group around it.
fn entry(path: &str) -> Option<&'static Entry> {
    let is_around = |entry: &&Entry| {
        path.strip_prefix(entry.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    FIELDS.iter().find(is_around)
}

/// Returns warnings about the fields of a configuration that have no effect.
///
/// # Errors
/// Names the first field for which the model is not loaded.
pub(super) fn judge(config: &Map<String, Value>) -> Result<Vec<String>, Mistake> {
    let mut ignored: Vec<&'static Entry> = Vec::new();
    visit(config, &schema()?, "", &mut |path| {
        let Some(entry @ (name, treatment, how)) = entry(path) else { return Ok(()) };
        match treatment {
            Refused => return Err(Mistake::in_field(*name, *how)),
            Ignored if !ignored.contains(&entry) => ignored.push(entry),
            Ignored | Honoured => {}
        }
        Ok(())
    })?;
    let warning =
        |(name, _, how): &&Entry| format!("config.pbtxt: '{name}' has no effect here: {how}");
    Ok(ignored.iter().map(warning).collect())
}

/// Visits the path of every field that is set, without indices and keys.
fn visit(
    object: &Map<String, Value>,
    schema: &MessageDescriptor,
    path: &str,
    see: &mut impl FnMut(&str) -> Result<(), Mistake>,
) -> Result<(), Mistake> {
    for (name, value) in object {
        let Some(field) = schema.get_field_by_name(name) else { continue };
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        see(&path)?;
        let Some(inside) = message_of(&field) else { continue };
        let values: Vec<&Value> = match value {
            Value::Array(elements) => elements.iter().collect(),
            Value::Object(entries) if field.is_map() => entries.values().collect(),
            single => vec![single],
        };
        for object in values.into_iter().filter_map(Value::as_object) {
            visit(object, &inside, &path, see)?;
        }
    }
    Ok(())
}

/// The message of a field's values, if they are messages.
fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => match entry.map_entry_value_field().kind() {
            Kind::Message(value) => Some(value),
            _ => None,
        },
        Kind::Message(message) => Some(message),
        _ => None,
    }
}
