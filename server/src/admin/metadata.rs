//! What the server and its models are.

use crate::server::Server;
use crate::status::Error;
use skysail_engine::layers::{Execution, Layers};
use skysail_engine::signature::TensorSpec;
use skysail_protocol::grpc::model_metadata_response::TensorMetadata;
use skysail_protocol::grpc::{ModelMetadataResponse, ServerMetadataResponse};
use std::collections::HashMap;

/// Triton's name for an ONNX model, which its clients know.
pub(crate) const PLATFORM: &str = "onnxruntime_onnx";

/// The extensions of the protocol that work here.
const EXTENSIONS: [&str; 7] = [
    "model_configuration",
    "model_repository",
    "binary_tensor_data",
    "statistics",
    "schedule_policy",
    "trace",
    "logging",
];

/// The server's name, version and extensions.
pub(crate) fn server() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: "skysail".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        extensions: EXTENSIONS.map(String::from).to_vec(),
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
    let tensors = |specs: &[TensorSpec]| specs.iter().map(tensor).collect();
    Ok(ModelMetadataResponse {
        name: model.name().to_string(),
        versions: versions.map(|model| model.version().to_string()).collect(),
        platform: PLATFORM.into(),
        inputs: tensors(&model.signature().inputs),
        outputs: tensors(&model.signature().outputs),
        properties: model.layers().map(properties).unwrap_or_default(),
    })
}

/// What is said of a package: how many of its layers run in which way, and what its weights take.
fn properties(layers: &Layers) -> HashMap<String, String> {
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
