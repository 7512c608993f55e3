//! Asks a server for other things than its models' answers: statistics, settings, what was slow.

use crate::target::{Address, Failure, Protocol, Target};
use bytes::Bytes;
use http::header::{ACCEPT, HOST, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use skysail_protocol::grpc::grpc_inference_service_client::GrpcInferenceServiceClient;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;

/// Bytes of a page that are read.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// What a path's segment may hold as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A name as a segment of a path or a value of a query.
pub(crate) fn in_path(name: &str) -> String {
    utf8_percent_encode(name, IN_PATH).to_string()
}

/// The path of a model's own pages.
pub(crate) fn of_model(target: &Target) -> String {
    let version = target.version.as_deref().map(in_path);
    let version = version.map_or(String::new(), |version| format!("/versions/{version}"));
    format!("/v2/models/{}{version}", in_path(&target.model))
}

/// Asks the server over the target's own protocol, in one of two ways.
///
/// # Errors
/// When there is no answer within `limit`, or the way that is taken fails.
pub(crate) async fn ask<T>(
    target: &Target,
    limit: Duration,
    over_http: impl Future<Output = Result<T, Failure>>,
    over_grpc: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let reading = async {
        match target.protocol {
            Protocol::Json | Protocol::Binary => over_http.await,
            _ => over_grpc.await,
        }
    };
    timeout(limit, reading).await.unwrap_or(Err(Failure::Timeout(limit)))
}

/// A client of the same over gRPC.
///
/// # Errors
/// When there is no server.
pub(crate) async fn grpc(
    address: &Address,
) -> Result<GrpcInferenceServiceClient<Channel>, Failure> {
    let connect = |error: &dyn std::error::Error| Failure::Connect(error.to_string());
    let endpoint = Channel::from_shared(address.to_string()).map_err(|error| connect(&error))?;
    let channel = endpoint.connect().await.map_err(|error| connect(&error))?;
    Ok(GrpcInferenceServiceClient::new(channel))
}

/// What a server of gRPC said instead of an answer.
pub(crate) fn refused(status: &Status) -> Failure {
    Failure::Refused { status: format!("{:?}", status.code()), message: status.message().into() }
}

/// Reads the page at `path`, over a connection of its own.
///
/// # Errors
/// When there is no server, or what it says is not HTTP. A status is the page's, and no error.
pub(crate) async fn get(address: &Address, path: &str) -> Result<(StatusCode, Bytes), Failure> {
    let connect = TcpStream::connect((address.host(), address.port()));
    let stream = connect.await.map_err(|error| Failure::Connect(error.to_string()))?;
    let opened = handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| broken(&error))?;
    // Its error is also the error of the request that it breaks.
    let driver = tokio::spawn(async move { drop(connection.await) });
    let response = sender.send_request(request(address, path)).await;
    let (head, body) = response.map_err(|error| broken(&error))?.into_parts();
    let body = Limited::new(body, PAGE_BYTES_MAX).collect().await;
    driver.abort();
    Ok((head.status, body.map_err(|error| broken(error.as_ref()))?.to_bytes()))
}

fn request(address: &Address, path: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    // Prefix and path hold only what they may hold.
    *request.uri_mut() = format!("{}{path}", address.prefix()).parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&address.authority()) {
        headers.insert(HOST, host);
    }
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    request
}

fn broken(error: &dyn std::error::Error) -> Failure {
    Failure::Broken(error.to_string())
}
