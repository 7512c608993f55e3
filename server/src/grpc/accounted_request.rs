//! A decoded request message, charged to the memory budget.

use crate::memory_budget::MemoryPermit;
use crate::server::Server;
use crate::status::Error;
use prost::Message;
use skysail_protocol::grpc::{InferTensorContents, ModelInferRequest};

/// An inference request with its memory.
pub(super) struct AccountedRequest {
    pub(super) message: ModelInferRequest,
    pub(super) permit: MemoryPermit,
    /// The error, if the budget is exceeded. The tensors are dropped then.
    pub(super) rejected: Option<Error>,
}

impl AccountedRequest {
    pub(super) fn new(server: &Server, mut message: ModelInferRequest) -> Self {
        let mut permit = server.budget().permit();
        let rejected = permit.add(bytes(&message)).err();
        if rejected.is_some() {
            (message.inputs, message.raw_input_contents) = Default::default();
            permit = server.budget().permit();
        }
        Self { message, permit, rejected }
    }
}

/// Bytes of a message: its encoding, and the lists that it was decoded to.
fn bytes(message: &ModelInferRequest) -> usize {
    let lists = message.inputs.iter().map(|input| {
        let contents = input.contents.as_ref().map_or(0, typed_bytes);
        size_of_val(input.shape.as_slice()) + contents
    });
    message.encoded_len() + lists.sum::<usize>()
}

/// Bytes of typed contents in memory.
///
/// Numbers take up to eight times their size on the wire. `BYTES` elements take a pointer each.
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
    fn lists_count_with_their_size_in_memory() {
        let numbers = InferTensorContents { int64_contents: vec![1; 1000], ..Default::default() };
        assert!((9000..9100).contains(&bytes(&with(numbers))));
        let strings = InferTensorContents {
            bytes_contents: vec![Default::default(); 1000],
            ..Default::default()
        };
        assert!(bytes(&with(strings)) >= 26_000);
    }
}
