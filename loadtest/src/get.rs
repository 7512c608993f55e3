//! Requests to a server other than inference: statistics, settings, slow requests.

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

/// Most bytes of a page.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// Characters that a path segment may contain unescaped.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Escapes a name for a path segment or a query value.
pub(crate) fn percent_encoded(name: &str) -> String {
    utf8_percent_encode(name, IN_PATH).to_string()
}

/// Path of a model's own pages.
pub(crate) fn model_path(target: &Target) -> String {
    let version = target.version.as_deref().map(percent_encoded);
    let version = version.map_or(String::new(), |version| format!("/versions/{version}"));
    format!("/v2/models/{}{version}", percent_encoded(&target.model))
}

/// Queries the server over the target's protocol, by one of two futures.
///
/// # Errors
/// Fails if there is no response within `limit`, or the future fails.
pub(crate) async fn query<T>(
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

/// Connects a gRPC client.
///
/// # Errors
/// Fails if there is no server.
pub(crate) async fn grpc(
    address: &Address,
) -> Result<GrpcInferenceServiceClient<Channel>, Failure> {
    let connect = |error: &dyn std::error::Error| Failure::Connect(error.to_string());
    let endpoint = Channel::from_shared(address.to_string()).map_err(|error| connect(&error))?;
    let channel = endpoint.connect().await.map_err(|error| connect(&error))?;
    Ok(GrpcInferenceServiceClient::new(channel))
}

/// Failure for a gRPC status.
pub(crate) fn status_failure(status: &Status) -> Failure {
    Failure::Status { status: format!("{:?}", status.code()), message: status.message().into() }
}

/// Reads the page at `path`, over a new connection.
///
/// # Errors
/// Fails if there is no server, or it does not speak HTTP. A status other than 200 is no error.
pub(crate) async fn get(address: &Address, path: &str) -> Result<(StatusCode, Bytes), Failure> {
    let connect = TcpStream::connect((address.host(), address.port()));
    let stream = connect.await.map_err(|error| Failure::Connect(error.to_string()))?;
    let opened = handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| broken(&error))?;
    // The error of the connection is also the error of its request.
    let driver = tokio::spawn(async move { drop(connection.await) });
    let response = sender.send_request(request(address, path)).await;
    let (head, body) = response.map_err(|error| broken(&error))?.into_parts();
    let body = Limited::new(body, PAGE_BYTES_MAX).collect().await;
    driver.abort();
    Ok((head.status, body.map_err(|error| broken(error.as_ref()))?.to_bytes()))
}

fn request(address: &Address, path: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    // Prefix and path contain only valid characters.
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
