//! Inference requests and responses.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Parameters of a request, a response or a tensor, by name.
pub type Parameters = BTreeMap<String, Value>;

/// Body of `POST /v2/models/NAME/infer`, or its JSON part if raw tensors follow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InferRequest {
    /// Any text; the response repeats it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Parameters of the request.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
    /// Inputs of the model.
    pub inputs: Vec<Tensor>,
    /// Requested outputs; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<RequestedOutput>,
}

/// An input or an output with its elements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    /// Name of the tensor.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<i64>,
    /// Datatype of the elements, for example `FP32`.
    pub datatype: String,
    /// Parameters of the tensor.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
    /// Elements in row-major order, flat or nested by the shape; `None` if they are raw, after the
    /// JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// An output that a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestedOutput {
    /// Name of the output.
    pub name: String,
    /// Parameters of the output.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
}

/// Response to an [`InferRequest`], or its JSON part if raw tensors follow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InferResponse {
    /// Name of the model.
    pub model_name: String,
    /// Version of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// Id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Parameters of the response.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
    /// Requested outputs.
    pub outputs: Vec<Tensor>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_survives_a_round_trip() {
        let body = json!({
            "id": "a",
            "inputs": [
                {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[1.5, 2.0]]},
                {"name": "r", "shape": [1], "datatype": "FP16",
                 "parameters": {"binary_data_size": 2}},
            ],
            "outputs": [{"name": "y", "parameters": {"binary_data": true}}],
        });
        let read: InferRequest = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(read.inputs[1].parameters["binary_data_size"], 2);
        assert_eq!(serde_json::to_value(&read).unwrap(), body);
    }

    #[test]
    fn a_response_needs_only_a_model_and_outputs() {
        let body = json!({"model_name": "digits", "outputs": []});
        let read: InferResponse = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), body);
    }
}
