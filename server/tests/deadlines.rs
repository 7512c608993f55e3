//! Deadlines over gRPC, and what a refusal tells a client that could try again.

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

/// Serves `add`, `slow`, and `waiting`, whose requests wait for another for longer than a test
/// takes.
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

/// Calls a method with `grpc-timeout` and gives the status. It is done by hand, for gRPC's
/// clients end a call at its deadline by themselves.
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
    let answer = tokio::time::timeout(support::PATIENCE, async {
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
        Status::from_header_map(&head.headers).or(Status::from_header_map(&trailers))
    });
    answer.await.unwrap().unwrap()
}

/// Checks that a request was not answered for its deadline: refused when it came, as that could
/// be foreseen, or when the deadline had passed.
#[track_caller]
fn expect_late(status: &Status) {
    let foreseen = status.code() == Code::Unavailable && status.get_details_retry_info().is_some();
    assert!(foreseen || status.code() == Code::DeadlineExceeded, "{status:?}");
}

fn refused_for_time(server: &Server, model: &str) -> f64 {
    let model = format!("model=\"{model}\"");
    let refused = |reason| server.metric("skysail_shed_requests_total", &[&model, reason]);
    refused("reason=\"expired\"") + refused("reason=\"overloaded\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_does_not_outlast_its_deadline() {
    let server = server();
    for (refused, timeout) in ["50m", "50000u", "1n"].iter().enumerate() {
        assert_eq!(refused_for_time(&server, "waiting"), refused as f64);
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
    // An idle replica tries everything.
    let status = call(&server, "ModelInfer", "50m", &message).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(status.message().contains("deadline of 50000 us"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sooner_of_the_deadline_and_the_timeout_counts() {
    let server = server();
    let soon = with_timeout(request("waiting"), 50_000);
    expect_late(&call(&server, "ModelInfer", "1H", &soon).await);
    let late = with_timeout(request("waiting"), HOUR_US);
    expect_late(&call(&server, "ModelInfer", "50m", &late).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_is_far_away_changes_nothing() {
    let server = server();
    for timeout in ["1H", "99999999H", "60M", "3600S", "60000m", "99999999u"] {
        let status = call(&server, "ModelInfer", timeout, &request("add")).await;
        assert_eq!(status.code(), Code::Ok, "{timeout}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_can_not_be_read_is_refused() {
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
async fn a_refused_call_says_when_to_try_again() {
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
    // A stream is told in words, and goes on.
    let requests = tokio_stream::iter([request("waiting"), request("add")]);
    let mut answers = client.model_stream_infer(requests).await.unwrap().into_inner();
    let refused = answers.message().await.unwrap().unwrap().error_message;
    assert!(refused.contains("try again later"), "{refused}");
    let answered = answers.message().await.unwrap().unwrap();
    assert_eq!(answered.error_message, "");
    let labels = ["model=\"waiting\"", "reason=\"queue_full\""];
    assert_eq!(server.metric("skysail_shed_requests_total", &labels), 2.0);
}
