//! HTTP: paths, bodies in and out, and errors. What a request means is decided elsewhere.

use crate::body::{self, BodyLimits, Encoding};
use crate::debug;
use crate::decode;
use crate::journeys::failed_early;
use crate::lag;
use crate::predict::{Call, Prediction, predict};
use crate::respond;
use crate::server::Server;
use crate::spans::tell;
use crate::status::Error;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzEncoder, ZlibEncoder};
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER,
};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;
use skysail_engine::payload::Payload;
use skysail_engine::request_record::RequestId;
use skysail_protocol::HEADER_LENGTH;
use smallvec::smallvec;
use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

mod admin;
mod pieces;
mod route;

pub(crate) use pieces::{Pieces, SLOW_BYTES_MIN};
use route::{Route, Target, route};

/// A body at least this large is decoded where it does not hold up other connections.
pub(crate) const OFFLOAD_BYTES: usize = 256 << 10;

/// The header beside `Retry-After`, whose whole seconds are long for a queue.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// The header in which proxies and callers name a request.
const REQUEST_ID: &str = "x-request-id";

/// Answers one request.
pub(crate) async fn serve(server: Arc<Server>, request: Request<Incoming>) -> Response<Pieces> {
    let accepted = lag::arrival();
    match answer(&server, request, accepted).await {
        Ok(response) => response,
        Err(error) => refusal(&error),
    }
}

async fn answer(
    server: &Arc<Server>,
    request: Request<Incoming>,
    accepted: Instant,
) -> Result<Response<Pieces>, Error> {
    let (head, body) = request.into_parts();
    let route = route(&head.method, head.uri.path())?;
    match route {
        Route::Infer(Target { model, version }) => {
            let trace = server.tracing().begin(&head.headers);
            let trace = trace.as_ref();
            let request_id = request_id(&head.headers);
            let call = Call::new(server, &model, version, accepted);
            let call = Call { request_id, trace, ..call };
            let answer = infer(server, &call, &head.headers, body).await;
            let mut answer = answer.unwrap_or_else(|error| refusal(&error));
            tell(trace, answer.headers_mut());
            Ok(answer)
        }
        Route::Tail => {
            let tail = offload(true, || debug::tail(server, head.uri.query()))?;
            Ok(respond_json(StatusCode::OK, &tail))
        }
        Route::Admin(asked) => {
            let limits = server.body_limits().of_admin();
            let (body, _held) = read_body(server, &head.headers, body, limits).await?;
            admin::answer(server, &head.method, asked, &body).await
        }
    }
}

/// The path of an inference request over HTTP.
async fn infer(
    server: &Arc<Server>,
    call: &Call<'_>,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response<Pieces>, Error> {
    let read = read_body(server, headers, body, server.body_limits()).await;
    let (payload, held) = read.inspect_err(|error| failed_early(server, call, error))?;
    let header_length = header_length(headers);
    let header_length = header_length.inspect_err(|error| failed_early(server, call, error))?;
    let encoding = accepted_encoding(headers);
    // Raw tensors behind the JSON are not copied.
    let json_bytes = header_length.unwrap_or(payload.len()).min(payload.len());
    let is_large = json_bytes >= OFFLOAD_BYTES;
    let decode = |model: &skysail_engine::endpoint::Endpoint| match header_length {
        Some(length) => decode::binary::decode(payload, length, model.signature()),
        None => decode::json::decode(&payload.contiguous()),
    };
    let decode = |model: &_| offload(is_large, || decode(model));
    let respond = |prediction: Prediction| respond_prediction(&prediction, encoding, held);
    predict(server, call, decode, respond).await
}

fn respond_prediction(
    prediction: &Prediction,
    encoding: Encoding,
    held: body::Held,
) -> Result<Response<Pieces>, Error> {
    let Prediction { response, decoded } = prediction;
    let bytes: usize = response.outputs.iter().map(|output| output.data.len()).sum();
    let body = offload(bytes >= OFFLOAD_BYTES, || respond::http::respond(response, decoded))?;
    let content_type = match body.header_length {
        Some(_) => "application/octet-stream",
        None => "application/json",
    };
    let pieces = match encoding {
        Encoding::Identity => body.pieces,
        encoding => {
            smallvec![offload(bytes >= OFFLOAD_BYTES, || compress(&body.pieces, encoding))?]
        }
    };
    let mut response = Response::new(Pieces::new(pieces).held(held));
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

/// Runs long work where it does not hold up the connections of this thread.
pub(crate) fn offload<T>(is_long: bool, work: impl FnOnce() -> T) -> T {
    if is_long { tokio::task::block_in_place(work) } else { work() }
}

async fn read_body(
    server: &Server,
    headers: &HeaderMap,
    body: Incoming,
    limits: BodyLimits,
) -> Result<(Payload, body::Held), Error> {
    let (payload, mut held) = body::read(body, limits, server.budget()).await?;
    let Some(encoding) = headers.get(CONTENT_ENCODING) else { return Ok((payload, held)) };
    let encoding =
        encoding.to_str().map_err(|_| Error::malformed("Content-Encoding is no text"))?;
    let encoding = Encoding::from_name(encoding)?;
    let is_long = payload.len() >= OFFLOAD_BYTES / 8;
    let decompress = || body::decompress(payload, encoding, limits.bytes_max, &mut held);
    let payload = offload(is_long, decompress)?;
    Ok((payload, held))
}

fn compress(pieces: &[Bytes], encoding: Encoding) -> Result<Bytes, Error> {
    let whole = pieces.concat();
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

/// The name that a request has in its head.
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

/// An answer of JSON.
pub(crate) fn respond_json(status: StatusCode, json: &Value) -> Response<Pieces> {
    json_response(status, json.to_string().into())
}

fn json_response(status: StatusCode, body: Bytes) -> Response<Pieces> {
    let mut response = Response::new(Pieces::new(smallvec![body]));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error as its status and a JSON body that says why.
pub(crate) fn refusal(error: &Error) -> Response<Pieces> {
    let mut response = json_response(error.status().0, respond::http::error(error));
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
    fn a_refusal_says_when_to_try_again_in_seconds_rounded_up_and_precisely() {
        for (retry_after_ms, seconds) in [(0, "1"), (30, "1"), (1000, "1"), (1001, "2")] {
            let model = "m".to_owned();
            let error = EngineError::Overloaded { model, deadline_us: 5, retry_after_ms };
            let response = refusal(&error.into());
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[RETRY_AFTER], seconds);
            assert_eq!(response.headers()[RETRY_AFTER_MS], retry_after_ms.to_string());
        }
        let other = refusal(&Error::malformed("x"));
        assert!(!other.headers().contains_key(RETRY_AFTER));
        assert!(!other.headers().contains_key(RETRY_AFTER_MS));
    }
}
