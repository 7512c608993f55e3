//! The response of an inference call, charged to the memory budget until its client has read it.
//!
//! The body is sent in small parts, so that it shows how fast the client reads.

use crate::http::SLOW_BYTES_MIN;
use crate::memory_budget::MemoryPermit;
use crate::observe::tracker::{TrackedResponse, WriteCompletion};
use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use prost::Message;
use skysail_protocol::grpc::ModelInferResponse;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tonic::Status;
use tonic::body::Body;

/// Bytes of a part of the body.
const PART_BYTES: usize = 64 << 10;

/// A response with its memory, and its completion if that is still to be recorded.
pub(super) struct AccountedResponse {
    pub(super) message: ModelInferResponse,
    pub(super) permit: MemoryPermit,
    completion: Option<Arc<WriteCompletion>>,
}

impl AccountedResponse {
    /// A response, which is charged in place of its request.
    pub(super) fn new(message: ModelInferResponse, permit: MemoryPermit) -> Self {
        let permit = permit.replaced_by(message.encoded_len());
        Self { message, permit, completion: None }
    }

    pub(super) fn into_response(self) -> tonic::Response<ModelInferResponse> {
        let mut response = tonic::Response::new(self.message);
        let guards = Guards { _permit: self.permit, _completion: self.completion };
        response.extensions_mut().insert(Arc::new(guards));
        response
    }
}

/// Guards that are dropped when a response has been sent.
struct Guards {
    _permit: MemoryPermit,
    _completion: Option<Arc<WriteCompletion>>,
}

impl TrackedResponse for AccountedResponse {
    fn reports_write_completion(&self) -> bool {
        let bytes = self.message.raw_output_contents.iter().map(Bytes::len).sum::<usize>();
        bytes as u64 >= SLOW_BYTES_MIN
    }

    fn attach(&mut self, completion: Arc<WriteCompletion>) {
        self.completion = Some(completion);
    }
}

/// Moves a response's guards into its body.
///
/// The connection drops a body once the client has made room for all of it.
pub(super) fn hold_until_sent(mut response: Response<Body>) -> Response<Body> {
    match response.extensions_mut().remove::<Arc<Guards>>() {
        None => response,
        Some(guards) => {
            response.map(|body| Body::new(Parts { body, rest: Bytes::new(), _guards: guards }))
        }
    }
}

/// A body in small parts. A connection asks for the next part when it has sent the last.
struct Parts {
    body: Body,
    /// Bytes of the current frame that are still to be sent.
    rest: Bytes,
    _guards: Arc<Guards>,
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
            let Some(frame) = frame else { return Poll::Ready(None) };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let part = self.rest.len().min(PART_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
