//! HTTP: paths, bodies in and out, and errors.

use crate::accept::IoThread;
use crate::body::{self, BodyLimits, Encoding};
use crate::call::Call;
use crate::decode;
use crate::memory_budget::MemoryPermit;
use crate::observe::debug;
use crate::observe::tracing::write_headers;
use crate::predict::{Arriving, Prediction, predict};
use crate::respond;
use crate::respond::http::Body;
use crate::server::Server;
use crate::status::Error;
use bytes::Bytes;
pub(crate) use chunked_body::{ChunkedBody, SLOW_BYTES_MIN};
pub(crate) use cors::Cors;
use flate2::Compression;
use flate2::read::{GzEncoder, ZlibEncoder};
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use route::{Route, Target, route};
use serde_json::Value;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::payload::Payload;
use skysail_engine::request_record::RequestId;
use skysail_protocol::HEADER_LENGTH;
use smallvec::{SmallVec, smallvec};
use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

mod admin;
mod chunked_body;
mod cors;
mod near_paths;
mod route;

/// Bodies of at least this size are decoded without blocking the thread's other connections.
pub(crate) const OFFLOAD_BYTES: usize = 256 << 10;

/// Header beside `Retry-After`, which has whole seconds only.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// Header with the id of a request, from proxies and callers.
const REQUEST_ID: &str = "x-request-id";

/// Answers one request.
pub(crate) async fn serve(
    server: Arc<Server>,
    thread: Arc<IoThread>,
    request: Request<Incoming>,
) -> Response<ChunkedBody> {
    let accepted = thread.clock().arrival();
    let cors = server.cors().headers_for(&request);
    let mut response = match &cors {
        Some(cors) if cors.is_preflight() => no_content(),
        _ => match dispatch(&server, &thread, request, accepted).await {
            Ok(response) => response,
            Err(error) => error_response(&error),
        },
    };
    if let Some(cors) = cors {
        cors.write(response.headers_mut());
    }
    response
}

fn no_content() -> Response<ChunkedBody> {
    let mut response = Response::new(ChunkedBody::new(SmallVec::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Version of the inference protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    V1,
    V2,
}

async fn dispatch(
    server: &Arc<Server>,
    thread: &IoThread,
    request: Request<Incoming>,
    accepted: Instant,
) -> Result<Response<ChunkedBody>, Error> {
    let (head, body) = request.into_parts();
    let route = route(&head.method, head.uri.path())?;
    match route {
        Route::Infer(target) => {
            Ok(traced(server, (thread, accepted), &head, body, target, Protocol::V2).await)
        }
        Route::Predict(target) => {
            Ok(traced(server, (thread, accepted), &head, body, target, Protocol::V1).await)
        }
        Route::Slowest => {
            let json = offload(true, || debug::slowest(server, head.uri.query()))?;
            Ok(json_response(StatusCode::OK, &json))
        }
        Route::Admin(route) => {
            let limits = match route {
                route::Admin::Load { .. } => server.load_limits(),
                _ => server.body_limits().for_admin(),
            };
            let (body, mut permit) = read_body(server, thread, &head.headers, body, limits).await?;
            // Files are decoded from text.
            permit.grow_to(2 * body.len())?;
            admin::respond(server, &head.method, route, &body).await
        }
    }
}

/// Serves an inference request, with the headers of its trace.
async fn traced(
    server: &Arc<Server>,
    (thread, accepted): (&IoThread, Instant),
    head: &Parts,
    body: Incoming,
    Target { model, version }: Target,
    protocol: Protocol,
) -> Response<ChunkedBody> {
    let trace = server.tracing().begin(&head.headers);
    let trace = trace.as_ref();
    let request_id = request_id(&head.headers);
    let call = Call::new(server, thread, (&model, version), accepted);
    let call = Call { request_id, trace, ..call };
    let response = infer(server, &call, protocol, &head.headers, body).await;
    let mut response = response.unwrap_or_else(|error| error_response(&error));
    write_headers(trace, response.headers_mut());
    response
}

/// Serves an inference request.
async fn infer(
    server: &Arc<Server>,
    call: &Call<'_>,
    protocol: Protocol,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response<ChunkedBody>, Error> {
    let arriving = Arriving::new(server, call);
    let read = read_body(server, call.thread, headers, body, server.body_limits()).await;
    let header_length = || match protocol {
        Protocol::V1 => Ok(None),
        Protocol::V2 => header_length(headers),
    };
    let read = read.and_then(|(payload, permit)| Ok((payload, permit, header_length()?)));
    let (payload, permit, header_length) = arriving.end(read)?;
    let encoding = accepted_encoding(headers);
    // Raw tensors after the JSON are not copied.
    let json_bytes = header_length.unwrap_or(payload.len()).min(payload.len());
    let is_large = json_bytes >= OFFLOAD_BYTES;
    let decode = |model: &Endpoint| match (protocol, header_length) {
        (Protocol::V1, _) => decode::v1::decode(&payload.contiguous(), model.signature()),
        (Protocol::V2, None) => decode::json::decode(&payload.contiguous()),
        (Protocol::V2, Some(length)) => {
            decode::binary::decode(payload, length, model.signature(), model.batching().is_on())
        }
    };
    let decode = |model: &_| offload(is_large, || decode(model));
    let respond = |prediction: Prediction| {
        let bytes: usize = prediction.response.outputs.iter().map(|o| o.data.len()).sum();
        let is_large = bytes >= OFFLOAD_BYTES;
        let body = offload(is_large, || encode(server, protocol, &prediction))?;
        body_response(body, encoding, is_large, permit)
    };
    predict(server, call, decode, respond).await
}

/// Encodes the body of a response.
fn encode(server: &Server, protocol: Protocol, prediction: &Prediction) -> Result<Body, Error> {
    let Prediction { response, decoded } = prediction;
    match protocol {
        Protocol::V1 => {
            let body = respond::v1::respond(response, decoded.instances, server.non_finite())?;
            Ok(Body { chunks: smallvec![body], header_length: None })
        }
        Protocol::V2 => respond::http::respond(response, decoded, server.non_finite()),
    }
}

fn body_response(
    body: Body,
    encoding: Encoding,
    is_large: bool,
    permit: MemoryPermit,
) -> Result<Response<ChunkedBody>, Error> {
    let content_type = match body.header_length {
        Some(_) => "application/octet-stream",
        None => "application/json",
    };
    let chunks = match encoding {
        Encoding::Identity => body.chunks,
        encoding => {
            smallvec![offload(is_large, || compress(&body.chunks, encoding))?]
        }
    };
    let mut response = Response::new(ChunkedBody::new(chunks).charged_to(permit));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(length) = body.header_length {
        headers.insert(HeaderName::from_static(HEADER_LENGTH), length.into());
    }
    if let Some(name) = encoding.name() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    Ok(response)
}

/// Runs `work`; if long, without blocking the other connections of this thread.
pub(crate) fn offload<T>(is_long: bool, work: impl FnOnce() -> T) -> T {
    if is_long { tokio::task::block_in_place(work) } else { work() }
}

async fn read_body(
    server: &Server,
    thread: &IoThread,
    headers: &HeaderMap,
    body: Incoming,
    limits: BodyLimits,
) -> Result<(Payload, MemoryPermit), Error> {
    let (payload, mut permit) = body::read(body, limits, server.budget(), thread.clock()).await?;
    let Some(encoding) = headers.get(CONTENT_ENCODING) else { return Ok((payload, permit)) };
    let encoding =
        encoding.to_str().map_err(|_| Error::malformed("Content-Encoding is no text"))?;
    let encoding = Encoding::from_name(encoding)?;
    let is_long = payload.len() >= OFFLOAD_BYTES / 8;
    let decompress = || body::decompress(payload, encoding, limits.bytes_max, &mut permit);
    let payload = offload(is_long, decompress)?;
    Ok((payload, permit))
}

fn compress(chunks: &[Bytes], encoding: Encoding) -> Result<Bytes, Error> {
    let whole = chunks.concat();
    let mut out = Vec::new();
    let level = Compression::fast();
    match encoding {
        Encoding::Identity => return Ok(whole.into()),
        Encoding::Gzip => GzEncoder::new(whole.as_slice(), level).read_to_end(&mut out),
        Encoding::Deflate => ZlibEncoder::new(whole.as_slice(), level).read_to_end(&mut out),
    }
    .map_err(|error| Error::malformed(format!("the response can not be compressed: {error}")))?;
    Ok(out.into())
}

/// Id of a request in its head.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<RequestId> {
    let name = headers.get(REQUEST_ID)?.to_str().ok()?;
    (!name.is_empty()).then(|| RequestId::of_caller(name))
}

fn header_length(headers: &HeaderMap) -> Result<Option<usize>, Error> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    length.map(Some).ok_or_else(|| {
        Error::malformed(format!("the header {HEADER_LENGTH} must be a natural number"))
    })
}

fn accepted_encoding(headers: &HeaderMap) -> Encoding {
    let header = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    header.map_or(Encoding::Identity, Encoding::accepted)
}

/// A response of JSON.
pub(crate) fn json_response(status: StatusCode, json: &Value) -> Response<ChunkedBody> {
    json_bytes_response(status, json.to_string().into())
}

fn json_bytes_response(status: StatusCode, body: Bytes) -> Response<ChunkedBody> {
    let mut response = Response::new(ChunkedBody::new(smallvec![body]));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The response to an error: its status, and a JSON body with the message.
pub(crate) fn error_response(error: &Error) -> Response<ChunkedBody> {
    let mut response = json_bytes_response(error.status().0, respond::http::error(error));
    if let Some(ms) = error.retry_after_ms() {
        let seconds = ms.div_ceil(1000).max(1);
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
        response.headers_mut().insert(HeaderName::from_static(RETRY_AFTER_MS), ms.into());
    }
    if let Error::WrongMethod(methods) = error {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_engine::Error as EngineError;

    #[test]
    fn an_overload_error_has_retry_headers_in_seconds_and_milliseconds() {
        for (retry_after_ms, seconds) in [(0, "1"), (30, "1"), (1000, "1"), (1001, "2")] {
            let model = "m".to_owned();
            let error = EngineError::Overloaded { model, deadline_us: 5, retry_after_ms };
            let response = error_response(&error.into());
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[RETRY_AFTER], seconds);
            assert_eq!(response.headers()[RETRY_AFTER_MS], retry_after_ms.to_string());
        }
        let other = error_response(&Error::malformed("x"));
        assert!(!other.headers().contains_key(RETRY_AFTER));
        assert!(!other.headers().contains_key(RETRY_AFTER_MS));
    }
}
