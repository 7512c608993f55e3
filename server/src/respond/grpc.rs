//! Encodes gRPC inference responses.
//!
//! Elements always go into `raw_output_contents`, one entry for each output, as clients expect. That
//! of an output in shared memory is empty.

use crate::decode::Decoded;
use skysail_engine::request::Response;
use skysail_protocol::grpc::ModelInferResponse;
use skysail_protocol::grpc::infer_parameter::ParameterChoice;
use skysail_protocol::grpc::model_infer_response::InferOutputTensor;
use skysail_protocol::{grpc::InferParameter, parameter};

/// Encodes the message.
pub(crate) fn respond(response: Response, decoded: Decoded) -> ModelInferResponse {
    let mut message = ModelInferResponse {
        model_name: response.model.to_string(),
        model_version: response.version.to_string(),
        id: decoded.id,
        ..ModelInferResponse::default()
    };
    if decoded.parameters.wants_final_marker {
        let last = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
        message.parameters.insert(parameter::FINAL_RESPONSE.into(), last);
    }
    for output in response.outputs {
        message.outputs.push(InferOutputTensor {
            name: output.name.to_string(),
            datatype: output.datatype.name().into(),
            shape: output.shape.iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect(),
            ..InferOutputTensor::default()
        });
        message.raw_output_contents.push(output.data);
    }
    message
}
