//! The response of an inference call, and its body as far as it shows how fast it is read. It counts
//! as held until it is.

use crate::body::Held;
use crate::http::SLOW_BYTES_MIN;
use crate::journeys::{Answer, Ending};
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

/// Bytes of such a part.
const PART_BYTES: usize = 64 << 10;

/// A response, counted among the bytes that the server holds, with the end of its record when that
/// is still to come.
pub(super) struct Answered {
    pub(super) message: ModelInferResponse,
    pub(super) held: Held,
    ending: Option<Arc<Ending>>,
}

impl Answered {
    /// A response, counted in place of what was held of its request.
    pub(super) fn new(message: ModelInferResponse, held: Held) -> Self {
        let held = held.replaced_by(message.encoded_len());
        Self { message, held, ending: None }
    }

    pub(super) fn into_response(self) -> tonic::Response<ModelInferResponse> {
        let mut response = tonic::Response::new(self.message);
        let along = Along { _held: self.held, _ending: self.ending };
        response.extensions_mut().insert(Arc::new(along));
        response
    }
}

/// What goes beside a response until it is taken.
struct Along {
    _held: Held,
    _ending: Option<Arc<Ending>>,
}

impl Answer for Answered {
    fn sees_its_end(&self) -> bool {
        let bytes = self.message.raw_output_contents.iter().map(Bytes::len).sum::<usize>();
        bytes as u64 >= SLOW_BYTES_MIN
    }

    fn take_along(&mut self, ending: Arc<Ending>) {
        self.ending = Some(ending);
    }
}

/// Lets the body of a response hold what came beside it: the connection lets go of a body when the
/// client has made room for all of it.
pub(super) fn hold_along(mut response: Response<Body>) -> Response<Body> {
    match response.extensions_mut().remove::<Arc<Along>>() {
        None => response,
        Some(along) => {
            response.map(|body| Body::new(Parts { body, rest: Bytes::new(), _along: along }))
        }
    }
}

/// It gives the body in small parts: a connection asks for the next when it has sent the last.
struct Parts {
    body: Body,
    /// Of the message.
    rest: Bytes,
    _along: Arc<Along>,
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
