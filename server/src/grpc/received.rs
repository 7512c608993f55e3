//! A message that is decoded, counted among the bytes that the server holds.

use crate::body::Held;
use crate::server::Server;
use crate::status::Error;
use prost::Message;
use skysail_protocol::grpc::{InferTensorContents, ModelInferRequest};

/// An inference request that has arrived.
pub(super) struct Received {
    pub(super) message: ModelInferRequest,
    pub(super) held: Held,
    /// Why there is no room for it; then its tensors are gone.
    pub(super) refused: Option<Error>,
}

impl Received {
    pub(super) fn new(server: &Server, mut message: ModelInferRequest) -> Self {
        let mut held = server.budget().start();
        let refused = held.add(bytes(&message)).err();
        if refused.is_some() {
            (message.inputs, message.raw_input_contents) = Default::default();
            held = server.budget().start();
        }
        Self { message, held, refused }
    }
}

/// Bytes of a message: its encoding's, and those of the lists that it was decoded to.
fn bytes(message: &ModelInferRequest) -> usize {
    let lists = message.inputs.iter().map(|input| {
        let contents = input.contents.as_ref().map_or(0, typed_bytes);
        size_of_val(input.shape.as_slice()) + contents
    });
    message.encoded_len() + lists.sum::<usize>()
}

/// Bytes of numbers, which are up to eight times as long as on the wire, and of the places of
/// elements that are bytes themselves.
pub(super) fn typed_bytes(contents: &InferTensorContents) -> usize {
    let c = contents;
    size_of_val(c.bool_contents.as_slice())
        + size_of_val(c.int_contents.as_slice())
        + size_of_val(c.int64_contents.as_slice())
        + size_of_val(c.uint_contents.as_slice())
        + size_of_val(c.uint64_contents.as_slice())
        + size_of_val(c.fp32_contents.as_slice())
        + size_of_val(c.fp64_contents.as_slice())
        + size_of_val(c.bytes_contents.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_protocol::grpc::model_infer_request::InferInputTensor;

    fn with(contents: InferTensorContents) -> ModelInferRequest {
        let input = InferInputTensor { contents: Some(contents), ..Default::default() };
        ModelInferRequest { inputs: vec![input], ..Default::default() }
    }

    #[test]
    fn lists_count_as_long_as_they_are_in_memory() {
        let numbers = InferTensorContents { int64_contents: vec![1; 1000], ..Default::default() };
        assert!((9000..9100).contains(&bytes(&with(numbers))));
        let places = InferTensorContents {
            bytes_contents: vec![Default::default(); 1000],
            ..Default::default()
        };
        assert!(bytes(&with(places)) >= 26_000);
    }
}
