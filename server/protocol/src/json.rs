//! The JSON messages of HTTP, as owned types that read and write alike.
//!
//! An inference request is here for clients; a server is better off reading it
//! straight into its tensors.

mod infer;
mod statistics;

pub use infer::*;
pub use statistics::*;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answer of `GET /v2/health/live`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerLive {
    /// The server answers at all.
    pub live: bool,
}

/// The answer of `GET /v2/health/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReady {
    /// The server answers inference requests.
    pub ready: bool,
}

/// The answer of `GET /v2/models/NAME/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelReady {
    /// The model's name.
    pub name: String,
    /// The model answers inference requests.
    pub ready: bool,
}

/// The answer of `GET /v2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerMetadata {
    /// The server's name.
    pub name: String,
    /// The server's version.
    pub version: String,
    /// The names of the protocol's extensions that it has.
    pub extensions: Vec<String>,
}

/// The answer of `GET /v2/models/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelMetadata {
    /// The model's name.
    pub name: String,
    /// The versions that are ready.
    #[serde(default)]
    pub versions: Vec<String>,
    /// What made the model or runs it, for example `onnxruntime_onnx`.
    #[serde(default)]
    pub platform: String,
    /// What a request has to bring, but for optional inputs.
    pub inputs: Vec<TensorMetadata>,
    /// What a response may hold.
    pub outputs: Vec<TensorMetadata>,
    /// What else is said of the model.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// The property that names the inputs which a request may leave out, as a JSON list.
pub const OPTIONAL_INPUTS: &str = "optional_inputs";

impl ModelMetadata {
    /// The inputs that a request may leave out, as far as the server says so.
    pub fn optional_inputs(&self) -> Vec<String> {
        let names = self.properties.get(OPTIONAL_INPUTS);
        names.and_then(|names| serde_json::from_str(names).ok()).unwrap_or_default()
    }
}

/// A tensor of a model, without elements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorMetadata {
    /// The tensor's name.
    pub name: String,
    /// The type of its elements, for example `FP32`.
    pub datatype: String,
    /// Its dimensions; -1 is one of any size.
    pub shape: Vec<i64>,
}

/// One version of a model in the answer of `POST /v2/repository/index`, which is a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryEntry {
    /// The model's name.
    pub name: String,
    /// The version; empty when none was ever loaded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// `READY`, `LOADING`, `UNLOADING` or `UNAVAILABLE`; empty when none was ever loaded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Why it is in that state; empty when there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn model_metadata_reads_and_writes_alike() {
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
    fn a_repository_entry_leaves_out_what_is_empty() {
        let entry: RepositoryEntry = serde_json::from_str(r#"{"name": "digits"}"#).unwrap();
        assert_eq!(entry.version, "");
        assert_eq!(serde_json::to_string(&entry).unwrap(), r#"{"name":"digits"}"#);
    }
}
