//! Common parts of HTTP/1.1 and HTTP/2: metadata, requests, error responses.

use super::{Address, Failure, Protocol, Target};
use crate::payload::{self, Payload};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use skysail_protocol::HEADER_LENGTH;
use skysail_protocol::json::{ErrorBody, ModelMetadata};
use std::net::SocketAddr;
use tokio::net::{TcpStream, lookup_host};

/// Most bytes of metadata or of an error.
pub(super) const TEXT_BYTES_MAX: usize = 4 << 20;
/// Bytes of a response with status 200 that are checked.
pub(super) const START_BYTES: usize = 512;

/// Body of a request, in memory.
pub(super) type Body = Full<Bytes>;
/// Request, ready to be sent again and again.
pub(crate) type Request = http::Request<Body>;

/// Requests the model's metadata.
pub(super) async fn describe(target: &Target) -> Result<ModelMetadata, Failure> {
    let (status, text) = get(&target.address, &target.path(), TEXT_BYTES_MAX).await?;
    if status != StatusCode::OK {
        return Err(status_failure(status, &text));
    }
    serde_json::from_slice(&text).map_err(|error| {
        Failure::Broken(format!("the response is not a model's metadata: {error}"))
    })
}

/// Reads the page at `path`, over a new connection.
///
/// # Errors
/// Fails if there is no server, it does not speak HTTP, or the page is larger than `bytes_max`. A
/// status other than 200 is no error.
pub(crate) async fn get(
    address: &Address,
    path: &str,
    bytes_max: usize,
) -> Result<(StatusCode, Bytes), Failure> {
    let stream = TokioIo::new(dial(&resolve(address).await?).await?);
    let opened = handshake(stream).await;
    let (mut sender, connection) = opened.map_err(|error| Failure::broken(&error))?;
    // The error of the connection is also the error of its request.
    let driver = tokio::spawn(async move { drop(connection.await) });
    let request = request(address, Method::GET, path, Bytes::new());
    let response = sender.send_request(request).await.map_err(|error| Failure::broken(&error))?;
    let page = text(response, bytes_max).await;
    driver.abort();
    page
}

/// Encodes an inference request, head and body.
pub(super) fn encode(target: &Target, payload: &Payload) -> Result<Request, payload::Error> {
    let mut headers = HeaderMap::new();
    let body = if target.protocol == Protocol::Binary {
        let binary = payload.to_binary()?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(HEADER_LENGTH, binary.header_length.into());
        binary.body
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        payload.to_json()?
    };
    let mut request =
        request(&target.address, Method::POST, &format!("{}/infer", target.path()), body.into());
    request.headers_mut().extend(headers);
    Ok(request)
}

/// Request for a path of the server.
fn request(address: &Address, method: Method, path: &str, body: Bytes) -> Request {
    let length = body.len();
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    // Prefix and path contain only valid characters.
    *request.uri_mut() = format!("{}{path}", address.prefix()).parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&address.authority()) {
        headers.insert(HOST, host);
    }
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONTENT_LENGTH, length.into());
    request
}

/// Resolves a server's host name.
pub(super) async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, Failure> {
    let found = lookup_host((address.host(), address.port())).await;
    Ok(found.map_err(|error| Failure::connect(&error))?.collect())
}

/// Connects to the first of the addresses that listens.
pub(super) async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(addresses).await.map_err(|error| Failure::connect(&error))?;
    stream.set_nodelay(true).map_err(|error| Failure::connect(&error))?;
    Ok(stream)
}

/// Status and body of a small response.
pub(super) async fn text(
    response: Response<Incoming>,
    bytes_max: usize,
) -> Result<(StatusCode, Bytes), Failure> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, bytes_max).collect().await;
    let body = body.map_err(|error| Failure::broken(error.as_ref()))?;
    Ok((head.status, body.to_bytes()))
}

/// Failure for a status other than 200.
pub(super) fn status_failure(status: StatusCode, text: &[u8]) -> Failure {
    let message = match serde_json::from_slice(text) {
        Ok(ErrorBody { error }) => error,
        Err(_) => String::from_utf8_lossy(text).into_owned(),
    };
    Failure::from_status(status.as_str(), &message)
}

/// Checks that a response with status 200 is an inference response, by its start. Proxies and some
/// servers send an error or a page with that status.
pub(super) fn check_answer(start: &[u8]) -> Result<(), Failure> {
    const OUTPUTS: &[u8] = b"\"outputs\"";
    let Some(object) = start.trim_ascii_start().strip_prefix(b"{") else {
        let text = String::from_utf8_lossy(start);
        let message = format!("the answer is not an inference response: {}", text.trim_start());
        return Err(Failure::from_status(StatusCode::OK.as_str(), &message));
    };
    let has_outputs = || object.windows(OUTPUTS.len()).any(|place| place == OUTPUTS);
    let is_error = object.trim_ascii_start().starts_with(b"\"error\"");
    if is_error || (start.len() < START_BYTES && !has_outputs()) {
        return Err(status_failure(StatusCode::OK, start));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(version: Option<&str>) -> Target {
        let address = "http://host:8000/p".parse().unwrap();
        let version = version.map(Into::into);
        Target { version, ..Target::new(address, Protocol::Binary, "a b/c") }
    }

    #[test]
    fn paths_hold_any_name() {
        let infer = encode(&target(None), &Payload::default()).unwrap();
        assert_eq!(infer.uri(), "/p/v2/models/a%20b%2Fc/infer");
        assert_eq!(infer.headers()[HOST], "host:8000");
        assert_eq!(target(Some("1")).path(), "/v2/models/a%20b%2Fc/versions/1");
    }

    #[test]
    fn binary_requests_say_where_their_json_ends() {
        let request = encode(&target(None), &Payload::default()).unwrap();
        let headers = request.headers();
        assert_eq!(headers[HEADER_LENGTH], headers[CONTENT_LENGTH]);
        assert_eq!(headers[CONTENT_TYPE], "application/octet-stream");
    }

    #[test]
    fn an_error_is_shown_whether_json_or_not() {
        let json = status_failure(StatusCode::NOT_FOUND, br#"{"error": "no such model"}"#);
        assert_eq!(json.to_string(), "404: no such model");
        assert_eq!(status_failure(StatusCode::BAD_GATEWAY, b"oops\n").to_string(), "502: oops");
    }

    #[test]
    fn status_200_alone_is_no_inference_response() {
        let said =
            |text: &str| check_answer(text.as_bytes()).map_err(|failure| failure.to_string());
        assert_eq!(said(r#"{"model_name":"m","outputs":[]}"#), Ok(()));
        let long = format!(r#" {{"id":"{}"#, "x".repeat(START_BYTES));
        assert_eq!(said(&long[..START_BYTES]), Ok(()));
        assert_eq!(said("{ \"error\": \"full\"}"), Err("200: full".into()));
        assert_eq!(said(r#"{"id":"a"}"#), Err(r#"200: {"id":"a"}"#.into()));
        assert_eq!(
            said("\n<html>"),
            Err("200: the answer is not an inference response: <html>".into())
        );
        assert!(said("").is_err());
        let long = format!(r#"{{"error":"{}"#, "x".repeat(START_BYTES));
        assert!(said(&long[..START_BYTES]).unwrap_err().starts_with(r#"200: {"error":"xxx"#));
    }
}
