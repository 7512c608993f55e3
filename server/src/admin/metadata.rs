//! Metadata of the server and its models.

use crate::server::Server;
use crate::status::Error;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::layers::{Execution, Layers};
use skysail_engine::signature::TensorSpec;
use skysail_protocol::grpc::model_metadata_response::TensorMetadata;
use skysail_protocol::grpc::{ModelMetadataResponse, ServerMetadataResponse};
use skysail_protocol::json::OPTIONAL_INPUTS;
use std::collections::HashMap;

/// Triton's name for an ONNX model, which its clients know.
pub(crate) const PLATFORM: &str = "onnxruntime_onnx";

/// Extensions of the protocol that are supported.
const EXTENSIONS: [&str; 8] = [
    "classification",
    "model_configuration",
    "model_repository",
    "binary_tensor_data",
    "statistics",
    "schedule_policy",
    "trace",
    "logging",
];

/// Extension that is supported if shared memory is on.
const SHARED_MEMORY: &str = "system_shared_memory";

/// Property with the verdict on the independence of rows.
const ROWS: &str = "rows";

/// Property with the reason of that verdict.
const ROWS_REASON: &str = "rows_reason";

/// The server's name, version and extensions.
pub(crate) fn server(server: &Server) -> ServerMetadataResponse {
    let shared_memory = server.shared_memory().is_on().then_some(SHARED_MEMORY);
    ServerMetadataResponse {
        name: "skysail".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        extensions: EXTENSIONS.into_iter().chain(shared_memory).map(String::from).collect(),
    }
}

/// A model's inputs and outputs, and the versions of it that serve.
pub(crate) fn model(
    server: &Server,
    name: &str,
    version: Option<u64>,
) -> Result<ModelMetadataResponse, Error> {
    let model = server.engine().lookup(name, version)?;
    let serving = server.engine().repository().serving();
    let versions = serving.iter().filter(|other| other.name() == model.name());
    let signature = model.signature();
    let inputs = signature.inputs.iter().chain(&signature.optional_inputs);
    Ok(ModelMetadataResponse {
        name: model.name().to_string(),
        versions: versions.map(|model| model.version().to_string()).collect(),
        platform: PLATFORM.into(),
        inputs: inputs.map(tensor).collect(),
        outputs: signature.outputs.iter().map(tensor).collect(),
        properties: properties(&model),
    })
}

/// Properties beyond the protocol's fields.
fn properties(model: &Endpoint) -> HashMap<String, String> {
    let mut properties = model.model().layers().map(of_package).unwrap_or_default();
    properties.insert(ROWS.into(), model.model().batching_verdict().name().into());
    properties.insert(ROWS_REASON.into(), model.model().batching_verdict().to_string());
    let optional = &model.signature().optional_inputs;
    if !optional.is_empty() {
        let names: Vec<&str> = optional.iter().map(|spec| &*spec.name).collect();
        // A JSON list, as a name may hold any character.
        properties.insert(OPTIONAL_INPUTS.into(), serde_json::Value::from(names).to_string());
    }
    properties
}

/// Properties of a compressed package: layers by execution, and memory of the weights.
fn of_package(layers: &Layers) -> HashMap<String, String> {
    let counts = Execution::ALL.map(|execution| {
        (format!("{}_layers", execution.name()), layers.count(execution).to_string())
    });
    let bytes = [
        ("weights_bytes".to_owned(), layers.weights_bytes.to_string()),
        ("dense_weights_bytes".to_owned(), layers.dense_bytes.to_string()),
    ];
    counts.into_iter().chain(bytes).collect()
}

fn tensor(spec: &TensorSpec) -> TensorMetadata {
    TensorMetadata {
        name: spec.name.to_string(),
        datatype: spec.datatype.name().into(),
        shape: spec.wire_dims().collect(),
    }
}
