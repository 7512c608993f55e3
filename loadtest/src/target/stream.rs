//! The target over gRPC's bidirectional streams: each caller has one, and sends its next request
//! when the last one is answered.

use super::{Failure, chain, grpc};
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// Asks for errors as statuses: they end the stream, and say whether the server had too much to do.
const STATUS_ERRORS: &str = "triton_grpc_error";

const STREAM_INFER: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

/// One caller with its stream.
#[derive(Debug)]
pub struct Connection {
    client: Grpc<Channel>,
    requests: Arc<[Bytes]>,
    /// `None` while it must not be used again: in the midst of a request, or after one that broke.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    requests: mpsc::Sender<Bytes>,
    answers: Streaming<Answer>,
}

impl Connection {
    pub(super) fn new(client: Grpc<Channel>, requests: Arc<[Bytes]>) -> Self {
        Self { client, requests, open: None }
    }

    /// Sends a request and reads its answer, the first where a model gives several.
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
        let answer = open.answers.message().await.map_err(|status| grpc::refused(&status))?;
        let answer =
            answer.ok_or_else(|| Failure::Broken("the server ended the stream".to_owned()))?;
        self.open = Some(open);
        if answer.error_message.is_empty() {
            return Ok(());
        }
        // A server that knows no statuses here gives only words.
        Err(Failure::refused("stream", &answer.error_message))
    }

    /// Opens the stream with its first request: a server may wait for that before it says anything.
    async fn begin(&mut self, message: Bytes) -> Result<Open, Failure> {
        self.client.ready().await.map_err(|error| Failure::Connect(chain(&error)))?;
        let (requests, receive) = mpsc::channel(1);
        // There is room for one.
        let _ = requests.try_send(message);
        let mut request = Request::new(ReceiverStream::new(receive));
        request.metadata_mut().insert(STATUS_ERRORS, MetadataValue::from_static("true"));
        let path = PathAndQuery::from_static(STREAM_INFER);
        let answers = self.client.streaming(request, path, Answers).await;
        let answers = answers.map_err(|status| grpc::refused(&status))?.into_inner();
        Ok(Open { requests, answers })
    }
}

/// The part of `ModelStreamInferResponse` that is read; the tensors are passed over.
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(string, tag = "1")]
    error_message: String,
}

struct Answers;

impl Codec for Answers {
    type Encode = Bytes;
    type Decode = Answer;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Answers {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        grpc::put(message, to);
        Ok(())
    }
}

impl Decoder for Answers {
    type Item = Answer;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Answer>, Status> {
        let answer = Answer::decode(from);
        answer.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
