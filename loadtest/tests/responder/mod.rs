//! Server of a minimal Open Inference Protocol, over HTTP/1.1 and gRPC on one port. The model's
//! name selects its behaviour.

mod pages;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use prost::Message;
use serde_json::{Value, json};
use skysail_protocol::grpc::model_metadata_response::TensorMetadata;
use skysail_protocol::grpc::{
    ModelInferRequest, ModelInferResponse, ModelMetadataResponse, ModelStreamInferResponse,
};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

/// Stall of the model `stalls`, at its hundredth request.
pub(crate) const STALL: Duration = Duration::from_millis(300);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Running responder, ended when dropped.
pub(crate) struct Responder {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    runtime: Runtime,
}

#[derive(Default)]
struct State {
    connections: AtomicU64,
    inferred: AtomicU64,
    last: Mutex<Option<Inferred>>,
    stalled_until: Mutex<Option<Instant>>,
    /// Lock of the model `serial` while it runs.
    serial: tokio::sync::Mutex<()>,
}

/// Received inference request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inferred {
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Responder {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        runtime.spawn(accept(listener, state.clone()));
        Self { address, state, runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Number of received inference requests.
    pub(crate) fn inferred(&self) -> u64 {
        self.state.inferred.load(Ordering::SeqCst)
    }

    /// Number of accepted connections.
    pub(crate) fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Waits until this many requests came.
    pub(crate) fn wait_inferred(&self, count: u64) {
        self.runtime.block_on(async {
            while self.inferred() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    /// Latest request.
    pub(crate) fn last(&self) -> Inferred {
        self.state.last.lock().clone().unwrap()
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        state.connections.fetch_add(1, Ordering::SeqCst);
        let state = state.clone();
        let service = service_fn(move |request| answer(request, state.clone()));
        let http = auto::Builder::new(TokioExecutor::new());
        tokio::spawn(
            async move { http.serve_connection(TokioIo::new(stream), service).await.ok() },
        );
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Body>, Infallible> {
    if request.uri().path() == "/inference.GRPCInferenceService/ModelStreamInfer" {
        return Ok(stream(request, state));
    }
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(Response::default()) };
    let body = body.to_bytes();
    let path = head.uri.path().to_owned();
    let inferred =
        Inferred { path: path.clone(), version: head.version, headers: head.headers, body };
    Ok(match path.as_str() {
        "/inference.GRPCInferenceService/ModelMetadata" => grpc(&grpc_metadata()),
        "/inference.GRPCInferenceService/ModelInfer" => {
            infer(inferred, "digits", &state).await;
            grpc(&ModelInferResponse::default())
        }
        _ => http1(inferred, &state).await,
    })
}

async fn http1(inferred: Inferred, state: &State) -> Response<Body> {
    let parts: Vec<&str> = inferred.path.split('/').collect();
    match parts[1..] {
        ["v2", "models", "unknown", ..] => {
            json(StatusCode::NOT_FOUND, &json!({"error": "no model `unknown`"}))
        }
        ["v2", "debug", "tail"] => json(StatusCode::OK, &pages::tail()),
        ["v2", "models", model, "stats"] => {
            json(StatusCode::OK, &pages::statistics(model, state.inferred.load(Ordering::SeqCst)))
        }
        ["v2", "models", _, "config"] => json(StatusCode::OK, &pages::config()),
        ["v2", "models", model] | ["v2", "models", model, "versions", _] => {
            json(StatusCode::OK, &metadata(model))
        }
        ["v2", "models", model, "infer"] | ["v2", "models", model, "versions", _, "infer"] => {
            let model = model.to_owned();
            match infer(inferred, &model, state).await {
                2.. if model == "refuses" => {
                    json(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "the queue is full"}))
                }
                2.. if model == "errs" => json(StatusCode::OK, &json!({"error": "it broke"})),
                2.. if model == "page" => {
                    Response::new(Full::from("<html>Sign in</html>").boxed_unsync())
                }
                _ => {
                    let mut answer =
                        json(StatusCode::OK, &json!({"model_name": model, "outputs": []}));
                    if model == "closes" {
                        answer.headers_mut().insert("connection", "close".parse().unwrap());
                    }
                    answer
                }
            }
        }
        _ => json(StatusCode::NOT_FOUND, &json!({"error": "no such path"})),
    }
}

/// Number of the request, from 1.
async fn infer(inferred: Inferred, model: &str, state: &State) -> u64 {
    *state.last.lock() = Some(inferred);
    let number = state.inferred.fetch_add(1, Ordering::SeqCst) + 1;
    if model == "stalls" && number == 100 {
        *state.stalled_until.lock() = Some(Instant::now() + STALL);
    }
    match model {
        "serial" => {
            let _running = state.serial.lock().await;
            tokio::time::sleep(pages::SERIAL_RUN).await;
        }
        "uneven" if number.is_multiple_of(4) => tokio::time::sleep(pages::SERIAL_RUN * 10).await,
        _ => {}
    }
    let until = *state.stalled_until.lock();
    if let Some(until) = until {
        tokio::time::sleep_until(until.into()).await;
    }
    number
}

fn metadata(model: &str) -> Value {
    let datatype = if model == "half" { "FP16" } else { "FP32" };
    json!({
        "name": model,
        "versions": ["1"],
        "platform": "test",
        "inputs": [{"name": "x", "datatype": datatype, "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": datatype, "shape": [-1, 2]}],
    })
}

fn grpc_metadata() -> ModelMetadataResponse {
    let x = TensorMetadata { name: "x".into(), datatype: "FP16".into(), shape: vec![-1, 4] };
    ModelMetadataResponse { name: "digits".into(), inputs: vec![x], ..Default::default() }
}

fn json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Full::from(body.to_string()).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// Answers each message of a stream. The model `errs` answers with an error message; `refuses`
/// answers all but the first with a status, if requested.
fn stream(request: Request<Incoming>, state: Arc<State>) -> Response<Body> {
    let status_errors = request.headers().get("triton_grpc_error").is_some_and(|v| v == "true");
    let mut body = request.into_body();
    let (frames, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut come = BytesMut::new();
        while let Some(Ok(frame)) = body.frame().await {
            come.extend(frame.into_data().unwrap_or_default());
            while let Some(message) = next_message(&mut come) {
                let inferred = Inferred { body: message.clone(), ..Inferred::default() };
                let number = infer(inferred, "digits", &state).await;
                let request = ModelInferRequest::decode(message.slice(5..)).unwrap();
                let mut answer = ModelStreamInferResponse::default();
                match &*request.model_name {
                    "refuses" if status_errors && number > 1 => {
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", "14".parse().unwrap());
                        trailers.insert("grpc-message", "the queue is full".parse().unwrap());
                        let _ = frames.send(Ok(Frame::trailers(trailers))).await;
                        return;
                    }
                    "errs" => answer.error_message = "the queue is full".into(),
                    _ => answer.infer_response = Some(ModelInferResponse::default()),
                }
                let _ = frames.send(Ok(Frame::data(framed(&answer)))).await;
            }
        }
    });
    let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receive));
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    response
}

/// First whole frame of the received bytes.
fn next_message(come: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(come.get(1..5)?.try_into().unwrap()) as usize + 5;
    (come.len() >= length).then(|| come.split_to(length).freeze())
}

/// Frames a message as gRPC does: a flag for no compression, the length, the bytes.
fn framed(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.encoded_len() as u32);
    message.encode(&mut framed).unwrap();
    framed.freeze()
}

/// Response of one message, then the status.
fn grpc(message: &impl Message) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames = [Frame::data(framed(message)), Frame::trailers(trailers)].map(Ok);
    let mut response = Response::new(StreamBody::new(tokio_stream::iter(frames)).boxed_unsync());
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    response
}

impl Inferred {
    /// Message of a gRPC request.
    pub(crate) fn grpc(&self) -> ModelInferRequest {
        ModelInferRequest::decode(self.body.slice(5..)).unwrap()
    }
}
