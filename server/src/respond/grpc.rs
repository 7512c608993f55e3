//! Encodes gRPC inference responses.
//!
//! Elements always go into `raw_output_contents`, one entry for each output, as clients expect.

use crate::decode::Decoded;
use crate::shared_memory::Place;
use skysail_engine::request::Response;
use skysail_protocol::grpc::ModelInferResponse;
use skysail_protocol::grpc::infer_parameter::ParameterChoice;
use skysail_protocol::grpc::model_infer_response::InferOutputTensor;
use skysail_protocol::{grpc::InferParameter, parameter};
use std::collections::HashMap;

/// Encodes the message.
pub(crate) fn respond(response: Response, mut decoded: Decoded) -> ModelInferResponse {
    let mut message = ModelInferResponse {
        model_name: response.model.to_string(),
        model_version: response.version.to_string(),
        id: std::mem::take(&mut decoded.id),
        ..ModelInferResponse::default()
    };
    if decoded.parameters.wants_final_marker {
        let last = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
        message.parameters.insert(parameter::FINAL_RESPONSE.into(), last);
    }
    for (index, output) in response.outputs.into_iter().enumerate() {
        message.outputs.push(InferOutputTensor {
            name: output.name.to_string(),
            datatype: output.datatype.name().into(),
            shape: output.shape.iter().map(|&dim| int64(dim as u64)).collect(),
            parameters: decoded.place(index).map(parameters).unwrap_or_default(),
            ..InferOutputTensor::default()
        });
        message.raw_output_contents.push(output.data);
    }
    message
}

/// Parameters of an output in shared memory.
fn parameters(place: &Place) -> HashMap<String, InferParameter> {
    let parameter =
        |name: &str, choice| (name.to_owned(), InferParameter { parameter_choice: Some(choice) });
    let region = ParameterChoice::StringParam(place.region.clone());
    let [offset, byte_size] =
        [place.offset, place.byte_size].map(|bytes| ParameterChoice::Int64Param(int64(bytes)));
    [
        parameter(parameter::SHARED_MEMORY_REGION, region),
        parameter(parameter::SHARED_MEMORY_OFFSET, offset),
        parameter(parameter::SHARED_MEMORY_BYTE_SIZE, byte_size),
    ]
    .into()
}

fn int64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
