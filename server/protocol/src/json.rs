//! The JSON messages of HTTP, as owned types for both directions.
//!
//! The inference request is for clients. A server should decode it directly into its tensors.

mod infer;
mod statistics;

pub use infer::*;
pub use statistics::*;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Response of `GET /v2/health/live`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerLive {
    /// The server is running.
    pub live: bool,
}

/// Response of `GET /v2/health/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReady {
    /// The server answers inference requests.
    pub ready: bool,
}

/// Response of `GET /v2/models/NAME/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelReady {
    /// Name of the model.
    pub name: String,
    /// The model answers inference requests.
    pub ready: bool,
}

/// Response of `GET /v2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerMetadata {
    /// Name of the server.
    pub name: String,
    /// Version of the server.
    pub version: String,
    /// Names of the supported extensions of the protocol.
    pub extensions: Vec<String>,
}

/// Response of `GET /v2/models/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelMetadata {
    /// Name of the model.
    pub name: String,
    /// The versions that are ready.
    #[serde(default)]
    pub versions: Vec<String>,
    /// Platform of the model, for example `onnxruntime_onnx`.
    #[serde(default)]
    pub platform: String,
    /// Inputs of a request, optional ones included.
    pub inputs: Vec<TensorMetadata>,
    /// Outputs of a response.
    pub outputs: Vec<TensorMetadata>,
    /// Further properties of the model.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// Property with the names of the optional inputs, as a JSON list.
pub const OPTIONAL_INPUTS: &str = "optional_inputs";

impl ModelMetadata {
    /// Names of the optional inputs, if the server reports them.
    pub fn optional_inputs(&self) -> Vec<String> {
        let names = self.properties.get(OPTIONAL_INPUTS);
        names.and_then(|names| serde_json::from_str(names).ok()).unwrap_or_default()
    }
}

/// A tensor of a model, without elements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorMetadata {
    /// Name of the tensor.
    pub name: String,
    /// Datatype of the elements, for example `FP32`.
    pub datatype: String,
    /// Dimensions; -1 for a dynamic one.
    pub shape: Vec<i64>,
}

/// A version of a model in the response of `POST /v2/repository/index`, which is a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryEntry {
    /// Name of the model.
    pub name: String,
    /// Version; empty if none was ever loaded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// `READY`, `LOADING`, `UNLOADING` or `UNAVAILABLE`; empty if none was ever loaded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Reason of the state, possibly empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Body of every error response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Message of the error.
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn model_metadata_survives_a_round_trip() {
        let body = json!({
            "name": "digits",
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 784]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 10]}],
        });
        let read: ModelMetadata = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(read.inputs[0].shape, [-1, 784]);
        assert_eq!(serde_json::to_value(&read).unwrap(), body);
    }

    #[test]
    fn a_repository_entry_omits_empty_fields() {
        let entry: RepositoryEntry = serde_json::from_str(r#"{"name": "digits"}"#).unwrap();
        assert_eq!(entry.version, "");
        assert_eq!(serde_json::to_string(&entry).unwrap(), r#"{"name":"digits"}"#);
    }
}
