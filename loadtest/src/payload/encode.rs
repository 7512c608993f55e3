//! Encodes a request for each protocol.

use super::elements::Elements;
use super::{DataType, Error, Input, Payload};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use skysail_protocol::grpc;
use skysail_protocol::grpc::infer_parameter::ParameterChoice;
use skysail_protocol::grpc::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use skysail_protocol::json::{InferRequest, Parameters, Tensor};
use skysail_protocol::parameter::{BINARY_DATA_OUTPUT, BINARY_DATA_SIZE};

/// Body of JSON with raw tensors after it.
#[derive(Debug, PartialEq)]
pub struct Binary {
    /// Whole body.
    pub body: Vec<u8>,
    /// Length of the JSON part, in bytes.
    pub header_length: usize,
}

#[derive(Serialize)]
struct JsonRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Parameters::is_empty")]
    parameters: &'a Parameters,
    inputs: Vec<JsonTensor<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    outputs: &'a [skysail_protocol::json::RequestedOutput],
}

#[derive(Serialize)]
struct JsonTensor<'a> {
    name: &'a str,
    shape: &'a [i64],
    datatype: &'static str,
    #[serde(skip_serializing_if = "Parameters::is_empty")]
    parameters: &'a Parameters,
    data: Elements<'a>,
}

impl Payload {
    /// Encodes the body of an HTTP request as JSON.
    ///
    /// # Errors
    /// Fails if an input's elements cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let request = JsonRequest {
            id: self.id.as_deref(),
            parameters: &self.parameters,
            inputs: self.inputs.iter().map(json_tensor).collect::<Result<_, _>>()?,
            outputs: &self.outputs,
        };
        Ok(serde_json::to_vec(&request)?)
    }

    /// Encodes the body of an HTTP request with raw inputs, which requests raw outputs.
    ///
    /// # Errors
    /// Fails if the JSON part cannot be written.
    pub fn to_binary(&self) -> Result<Binary, Error> {
        let mut parameters = self.parameters.clone();
        parameters.entry(BINARY_DATA_OUTPUT.to_owned()).or_insert(Value::Bool(true));
        let mut body = serde_json::to_vec(&InferRequest {
            id: self.id.clone(),
            parameters,
            inputs: self.inputs.iter().map(binary_tensor).collect(),
            outputs: self.outputs.clone(),
        })?;
        let header_length = body.len();
        self.inputs.iter().for_each(|input| body.extend(&input.raw));
        Ok(Binary { body, header_length })
    }

    /// Encodes the message of a gRPC request, with raw inputs.
    ///
    /// # Errors
    /// Fails if a parameter is an array or an object.
    pub fn to_grpc(
        &self,
        model_name: &str,
        model_version: &str,
    ) -> Result<grpc::ModelInferRequest, Error> {
        let inputs = self.inputs.iter().map(|input| {
            Ok(InferInputTensor {
                name: input.name.clone(),
                datatype: input.datatype.name().to_owned(),
                shape: input.shape.clone(),
                parameters: grpc_parameters(&input.parameters)?,
                contents: None,
            })
        });
        let outputs = self.outputs.iter().map(|output| {
            let parameters = grpc_parameters(&output.parameters)?;
            Ok(InferRequestedOutputTensor { name: output.name.clone(), parameters })
        });
        Ok(grpc::ModelInferRequest {
            model_name: model_name.to_owned(),
            model_version: model_version.to_owned(),
            id: self.id.clone().unwrap_or_default(),
            parameters: grpc_parameters(&self.parameters)?,
            inputs: inputs.collect::<Result<_, Error>>()?,
            outputs: outputs.collect::<Result<_, Error>>()?,
            raw_input_contents: self
                .inputs
                .iter()
                .map(|input| Bytes::from(input.raw.clone()))
                .collect(),
        })
    }
}

fn json_tensor(input: &Input) -> Result<JsonTensor<'_>, Error> {
    let datatype = input.datatype;
    if matches!(datatype, DataType::Fp16 | DataType::Bf16) {
        return Err(Error::NotJson { input: input.name.clone(), datatype });
    }
    Ok(JsonTensor {
        name: &input.name,
        shape: &input.shape,
        datatype: datatype.name(),
        parameters: &input.parameters,
        data: Elements { datatype, raw: &input.raw },
    })
}

fn binary_tensor(input: &Input) -> Tensor {
    let mut parameters = input.parameters.clone();
    parameters.insert(BINARY_DATA_SIZE.to_owned(), input.raw.len().into());
    Tensor {
        name: input.name.clone(),
        shape: input.shape.clone(),
        datatype: input.datatype.name().to_owned(),
        parameters,
        data: None,
    }
}

type GrpcParameters = std::collections::HashMap<String, grpc::InferParameter>;

fn grpc_parameters(parameters: &Parameters) -> Result<GrpcParameters, Error> {
    parameters
        .iter()
        .map(|(name, value)| {
            let choice = grpc_parameter(value)
                .ok_or_else(|| Error::Parameter { name: name.clone(), value: value.clone() })?;
            Ok((name.clone(), grpc::InferParameter { parameter_choice: Some(choice) }))
        })
        .collect()
}

fn grpc_parameter(value: &Value) -> Option<ParameterChoice> {
    match value {
        Value::Bool(value) => Some(ParameterChoice::BoolParam(*value)),
        Value::String(value) => Some(ParameterChoice::StringParam(value.clone())),
        Value::Number(value) => value
            .as_i64()
            .map(ParameterChoice::Int64Param)
            .or_else(|| value.as_u64().map(ParameterChoice::Uint64Param))
            .or_else(|| value.as_f64().map(ParameterChoice::DoubleParam)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn payload(datatype: DataType, raw: &[u8]) -> Payload {
        let input = Input {
            name: "x".into(),
            datatype,
            shape: vec![1, 2],
            parameters: Parameters::new(),
            raw: raw.to_vec(),
        };
        let parameters = [("priority".to_owned(), json!(3))].into();
        Payload { id: None, parameters, inputs: vec![input], outputs: Vec::new() }
    }

    #[test]
    fn json_is_an_inference_request() {
        let body = payload(DataType::Int16, &[1, 0, 2, 0]).to_json().unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({
                "parameters": {"priority": 3},
                "inputs": [{"name": "x", "shape": [1, 2], "datatype": "INT16", "data": [1, 2]}],
            })
        );
    }

    #[test]
    fn half_precision_is_no_json() {
        let message = payload(DataType::Bf16, &[0; 4]).to_json().unwrap_err().to_string();
        assert!(message.starts_with("input `x` is BF16, which JSON cannot carry"));
    }

    #[test]
    fn binary_is_json_and_then_the_elements() {
        let binary = payload(DataType::Fp16, &[1, 2, 3, 4]).to_binary().unwrap();
        let (head, raw) = binary.body.split_at(binary.header_length);
        assert_eq!(raw, [1, 2, 3, 4]);
        let head: Value = serde_json::from_slice(head).unwrap();
        assert_eq!(head["inputs"][0]["parameters"]["binary_data_size"], 4);
        assert_eq!(head["inputs"][0].get("data"), None);
        assert_eq!(head["parameters"], json!({"priority": 3, "binary_data_output": true}));
    }

    #[test]
    fn grpc_has_the_elements_raw() {
        let request = payload(DataType::Fp16, &[1, 2, 3, 4]).to_grpc("m", "2").unwrap();
        assert_eq!((&*request.model_name, &*request.model_version), ("m", "2"));
        assert_eq!(request.raw_input_contents, [&[1, 2, 3, 4][..]]);
        assert_eq!(request.inputs[0].datatype, "FP16");
        let priority = request.parameters["priority"].parameter_choice.clone();
        assert_eq!(priority, Some(ParameterChoice::Int64Param(3)));
    }

    #[test]
    fn grpc_has_no_nested_parameters() {
        let mut payload = payload(DataType::Int8, &[1, 2]);
        payload.inputs[0].parameters.insert("p".into(), json!([1]));
        let message = payload.to_grpc("m", "").unwrap_err().to_string();
        assert_eq!(message, "parameter `p` is [1], and gRPC takes a text, a number or a bool");
    }
}
