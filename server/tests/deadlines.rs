//! Deadlines over gRPC, and the retry advice of shed calls.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use skysail_protocol::grpc::grpc_inference_service_client::GrpcInferenceServiceClient;
use skysail_protocol::grpc::infer_parameter::ParameterChoice;
use skysail_protocol::grpc::model_infer_request::InferInputTensor;
use skysail_protocol::grpc::{InferParameter, ModelInferRequest};
use std::time::Duration;
use support::Server;
use support::models::{ADD_REQUEST, Models, add, slow, waits};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const HOUR_US: i64 = 3_600_000_000;

/// Serves `add`, `slow`, and `waiting`, whose requests wait for others longer than a test takes.
fn server() -> Server {
    let models = Models::empty();
    models.add("add", &add(1.0)).add("slow", &slow()).add("waiting", &add(1.0));
    models.write("waiting/model.toml", waits(2, 60_000) + "[queue]\nrequests_max = 1\n");
    Server::start_with(models.path(), &["--model-control", "none"])
}

/// A request of one row for `add` or `waiting`.
fn request(model: &str) -> ModelInferRequest {
    ModelInferRequest {
        model_name: model.into(),
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            shape: vec![1, 2],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![Bytes::from_static(&[0; 8])],
        ..ModelInferRequest::default()
    }
}

fn with_timeout(mut request: ModelInferRequest, us: i64) -> ModelInferRequest {
    let timeout = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(us)) };
    request.parameters.insert("timeout".into(), timeout);
    request
}

/// Calls a method with `grpc-timeout` and returns the status. It bypasses the gRPC client, which
/// would end the call at its deadline by itself.
async fn call(server: &Server, method: &str, timeout: &str, message: &ModelInferRequest) -> Status {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut body).unwrap();
    let path = format!("http://{}/inference.GRPCInferenceService/{method}", server.grpc());
    let request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(Full::new(body.freeze()))
        .unwrap();
    let stream = TokioIo::new(TcpStream::connect(server.grpc()).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let answer = tokio::time::timeout(support::TIMEOUT, async {
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
        Status::from_header_map(&head.headers).or(Status::from_header_map(&trailers))
    });
    answer.await.unwrap().unwrap()
}

/// Checks that a request missed its deadline: rejected on arrival, or ended when it passed.
#[track_caller]
fn expect_late(status: &Status) {
    let foreseen = status.code() == Code::Unavailable && status.get_details_retry_info().is_some();
    assert!(foreseen || status.code() == Code::DeadlineExceeded, "{status:?}");
}

fn shed_for_time(server: &Server, model: &str) -> f64 {
    let model = format!("model=\"{model}\"");
    let rejected = |reason| server.metric("skysail_shed_requests_total", &[&model, reason]);
    rejected("reason=\"expired\"") + rejected("reason=\"overloaded\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_at_its_deadline() {
    let server = server();
    for (rejected, timeout) in ["50m", "50000u", "1n"].iter().enumerate() {
        assert_eq!(shed_for_time(&server, "waiting"), rejected as f64);
        expect_late(&call(&server, "ModelInfer", timeout, &request("waiting")).await);
    }
    assert_eq!(server.rows_run("waiting"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_while_its_model_runs() {
    let server = server();
    let mut message = request("slow");
    message.inputs[0].shape = vec![1];
    message.raw_input_contents[0].truncate(4);
    // An idle replica runs any request, and this one for tens of milliseconds.
    let status = call(&server, "ModelInfer", "5m", &message).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(status.message().contains("deadline of 5000 us"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shorter_of_deadline_and_timeout_holds() {
    let server = server();
    let soon = with_timeout(request("waiting"), 50_000);
    expect_late(&call(&server, "ModelInfer", "1H", &soon).await);
    let late = with_timeout(request("waiting"), HOUR_US);
    expect_late(&call(&server, "ModelInfer", "50m", &late).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_distant_deadline_has_no_effect() {
    let server = server();
    for timeout in ["1H", "99999999H", "60M", "3600S", "60000m", "99999999u"] {
        let status = call(&server, "ModelInfer", timeout, &request("add")).await;
        assert_eq!(status.code(), Code::Ok, "{timeout}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_deadline_is_an_error() {
    let server = server();
    for timeout in ["", "5", "5s", "-5m", "soon", "123456789m"] {
        for method in ["ModelInfer", "ModelStreamInfer", "ServerLive"] {
            let status = call(&server, method, timeout, &request("add")).await;
            let fits = status.message().contains("grpc-timeout");
            assert!(fits && status.code() == Code::InvalidArgument, "{timeout}: {status:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_deadline() {
    let server = server();
    let status = call(&server, "ModelStreamInfer", "50m", &request("waiting")).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let is_cancelled = || server.cancelled("waiting") == 1;
    tokio::task::block_in_place(|| support::wait_until("its request to end", is_cancelled));
    assert_eq!(server.rows_run("waiting"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shed_call_has_retry_advice() {
    let server = server();
    let mut first = server.connect();
    first.send_request("POST", "/v2/models/waiting/infer", &[], ADD_REQUEST.as_bytes());
    tokio::task::block_in_place(|| server.wait_for_waiting("waiting", 1));
    let address = format!("http://{}", server.grpc());
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    let mut client = GrpcInferenceServiceClient::new(channel);
    let status = client.model_infer(request("waiting")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let info = status.get_details_retry_info().unwrap();
    assert_eq!(info.retry_delay, Some(Duration::from_secs(1)));
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
    // A stream gets a message, and goes on.
    let requests = tokio_stream::iter([request("waiting"), request("add")]);
    let mut answers = client.model_stream_infer(requests).await.unwrap().into_inner();
    let rejected = answers.message().await.unwrap().unwrap().error_message;
    assert!(rejected.contains("try again later"), "{rejected}");
    let answered = answers.message().await.unwrap().unwrap();
    assert_eq!(answered.error_message, "");
    let labels = ["model=\"waiting\"", "reason=\"queue_full\""];
    assert_eq!(server.metric("skysail_shed_requests_total", &labels), 2.0);
}
