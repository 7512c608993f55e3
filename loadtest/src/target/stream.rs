//! Target over gRPC's bidirectional streams: each sender has one, and sends its next request when
//! the previous one is answered.

use super::{Failure, chain, grpc};
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use skysail_protocol::codec::PreEncoded;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

/// Header that requests errors as statuses: they end the stream, and tell overload from other
/// errors.
const STATUS_ERRORS: &str = "triton_grpc_error";

const STREAM_INFER: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

/// Sender with its stream.
#[derive(Debug)]
pub struct Connection {
    client: Grpc<Channel>,
    requests: Arc<[Bytes]>,
    /// `None` while it must not be reused: during a request, or after one that broke.
    open: Option<OpenStream>,
}

#[derive(Debug)]
struct OpenStream {
    requests: mpsc::Sender<Bytes>,
    answers: Streaming<StreamResponse>,
}

impl Connection {
    pub(super) fn new(client: Grpc<Channel>, requests: Arc<[Bytes]>) -> Self {
        Self { client, requests, open: None }
    }

    /// Sends a request and reads its response, the first one where a model sends several.
    pub(super) async fn send(&mut self, request: usize) -> Result<(), Failure> {
        let message = self.requests[request].clone();
        let mut open = match self.open.take() {
            Some(open) => {
                let sent = open.requests.send(message).await;
                sent.map_err(|_| Failure::Broken("the server ended the stream".to_owned()))?;
                open
            }
            None => self.begin(message).await?,
        };
        let answer =
            open.answers.message().await.map_err(|status| grpc::status_failure(&status))?;
        let answer =
            answer.ok_or_else(|| Failure::Broken("the server ended the stream".to_owned()))?;
        self.open = Some(open);
        if answer.error_message.is_empty() {
            return Ok(());
        }
        // A server without statuses on streams gives only a message.
        Err(Failure::from_status("stream", &answer.error_message))
    }

    /// Opens the stream with its first request: a server may wait for that before it responds.
    async fn begin(&mut self, message: Bytes) -> Result<OpenStream, Failure> {
        self.client.ready().await.map_err(|error| Failure::Connect(chain(&error)))?;
        let (requests, receive) = mpsc::channel(1);
        // The channel has room for one.
        let _ = requests.try_send(message);
        let mut request = Request::new(ReceiverStream::new(receive));
        request.metadata_mut().insert(STATUS_ERRORS, MetadataValue::from_static("true"));
        let path = PathAndQuery::from_static(STREAM_INFER);
        let answers =
            self.client.streaming(request, path, PreEncoded::<StreamResponse>::default()).await;
        let answers = answers.map_err(|status| grpc::status_failure(&status))?.into_inner();
        Ok(OpenStream { requests, answers })
    }
}

/// Part of `ModelStreamInferResponse` that is decoded; the tensors are skipped.
#[derive(Clone, PartialEq, Message)]
struct StreamResponse {
    #[prost(string, tag = "1")]
    error_message: String,
}
