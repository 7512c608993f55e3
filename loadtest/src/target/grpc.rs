//! Target over gRPC. Requests are encoded once and responses are not decoded, so that most of the
//! work is the server's.

use super::{Address, Failure, Protocol, Server, Target, chain};
use crate::payload::{self, Payload};
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use skysail_protocol::codec::PreEncoded;
use skysail_protocol::grpc::ModelMetadataRequest;
use skysail_protocol::grpc::grpc_inference_service_client::GrpcInferenceServiceClient;
use skysail_protocol::grpc::model_metadata_response;
use skysail_protocol::json::{ModelMetadata, TensorMetadata};
use std::error::Error;
use std::sync::Arc;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
/// Largest response, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Requests the model's metadata.
pub(super) async fn describe(target: &Target) -> Result<ModelMetadata, Failure> {
    let mut client = client(&target.address).await?;
    let (name, version) = (target.model.clone(), target.version.clone().unwrap_or_default());
    let answer = client.model_metadata(ModelMetadataRequest { name, version }).await;
    let metadata = answer.map_err(|status| status_failure(&status))?.into_inner();
    Ok(ModelMetadata {
        name: metadata.name,
        versions: metadata.versions,
        platform: metadata.platform,
        inputs: metadata.inputs.into_iter().map(tensor).collect(),
        outputs: metadata.outputs.into_iter().map(tensor).collect(),
        properties: metadata.properties.into_iter().collect(),
    })
}

fn tensor(tensor: model_metadata_response::TensorMetadata) -> TensorMetadata {
    TensorMetadata { name: tensor.name, datatype: tensor.datatype, shape: tensor.shape }
}

/// Encodes an inference request's message.
pub(super) fn encode(target: &Target, payload: &Payload) -> Result<Bytes, payload::Error> {
    let version = target.version.as_deref().unwrap_or_default();
    Ok(payload.to_grpc(&target.model, version)?.encode_to_vec().into())
}

/// Server with its messages.
#[derive(Clone, Debug)]
pub struct Connector {
    server: Server,
    requests: Arc<[Bytes]>,
}

impl Connector {
    pub(super) fn new(server: &Server, requests: Vec<Bytes>) -> Self {
        Self { server: server.clone(), requests: requests.into() }
    }
}

/// Opens as many connections as `count` senders need.
pub(super) async fn connect(
    connector: &Connector,
    count: usize,
) -> Result<Vec<super::Connection>, Failure> {
    let Server { address, protocol, transport } = &connector.server;
    let mut callers = Vec::with_capacity(count);
    while callers.len() < count {
        let client = Grpc::new(channel(address).await?).max_decoding_message_size(ANSWER_BYTES_MAX);
        let more = transport.streams.min(count - callers.len());
        callers.extend((0..more).map(|_| {
            let (client, requests) = (client.clone(), connector.requests.clone());
            if *protocol == Protocol::GrpcStream {
                let caller = super::stream::Connection::new(client, requests);
                super::Connection::Stream(Box::new(caller))
            } else {
                super::Connection::Grpc(Connection { client, requests })
            }
        }));
    }
    Ok(callers)
}

/// Sender of one request at a time. Its channel reconnects by itself.
#[derive(Debug)]
pub struct Connection {
    client: Grpc<Channel>,
    requests: Arc<[Bytes]>,
}

impl Connection {
    /// Sends a request and reads the whole response.
    pub(super) async fn send(&mut self, request: usize) -> Result<(), Failure> {
        self.client.ready().await.map_err(|error| Failure::Connect(chain(&error)))?;
        let request = Request::new(self.requests[request].clone());
        // The response is skipped, not decoded.
        let codec = PreEncoded::<()>::default();
        let answer = self.client.unary(request, PathAndQuery::from_static(INFER), codec).await;
        answer.map(|_| ()).map_err(|status| status_failure(&status))
    }
}

/// Connects a client for other calls than inference.
///
/// # Errors
/// Fails if there is no server.
pub(crate) async fn client(
    address: &Address,
) -> Result<GrpcInferenceServiceClient<Channel>, Failure> {
    Ok(GrpcInferenceServiceClient::new(channel(address).await?))
}

async fn channel(address: &Address) -> Result<Channel, Failure> {
    let connector = Channel::from_shared(address.to_string())
        .map_err(|error| Failure::Connect(error.to_string()))?
        .tcp_nodelay(true);
    connector.connect().await.map_err(|error| Failure::Connect(chain(&error)))
}

/// Failure for a gRPC status.
pub(crate) fn status_failure(status: &Status) -> Failure {
    match (status.code(), status.source()) {
        // The status is local: no server answered.
        (Code::Unavailable, Some(cause)) => Failure::Connect(chain(cause)),
        (code, _) => Failure::from_status(&format!("{code:?}"), status.message()),
    }
}
