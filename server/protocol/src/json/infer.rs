//! An inference request and its response, as a client makes and reads them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The parameters of a request, a response or a tensor, by name.
pub type Parameters = BTreeMap<String, Value>;

/// The body of `POST /v2/models/NAME/infer`, or its JSON part when raw tensors follow it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InferRequest {
    /// Any text; it comes back in the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The request's parameters.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
    /// The model's inputs.
    pub inputs: Vec<Tensor>,
    /// The outputs that are wanted; none means all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<RequestedOutput>,
}

/// An input or an output with its elements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    /// The tensor's name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<i64>,
    /// The type of its elements, for example `FP32`.
    pub datatype: String,
    /// The tensor's parameters.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
    /// Its elements row by row, flat or in arrays of arrays of the tensor's shape; `None` when
    /// they are raw, after the JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// An output that a request wants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestedOutput {
    /// The output's name.
    pub name: String,
    /// The output's parameters.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
}

/// The answer to an [`InferRequest`], or its JSON part when raw tensors follow it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InferResponse {
    /// The model that answered.
    pub model_name: String,
    /// The version that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// The request's own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The response's parameters.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
    /// The outputs that were wanted.
    pub outputs: Vec<Tensor>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_reads_and_writes_alike() {
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
