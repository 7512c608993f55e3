//! Requests whose clients leave stop using compute.

mod support;

use bytes::Bytes;
use skysail_protocol::grpc::ModelInferRequest;
use skysail_protocol::grpc::grpc_inference_service_client::GrpcInferenceServiceClient;
use skysail_protocol::grpc::model_infer_request::InferInputTensor;
use support::http::Connection;
use support::models::{
    ADD_REQUEST, LONG_REQUEST, Models, SLOW_REQUEST, add, as_long_as_wanted, short_request, slow,
    waits,
};
use support::{Server, TIMEOUT};
use tonic::transport::Channel;

/// Clients that send a request and leave.
const LEAVING: u64 = 40;

/// Sends a request without reading the response.
fn ask(server: &Server, model: &str, request: &str) -> Connection {
    let mut client = server.connect();
    let path = format!("/v2/models/{model}/infer");
    client.send_request("POST", &path, &[], request.as_bytes());
    client
}

#[test]
fn cancelled_requests_are_not_run() {
    let models = Models::empty();
    models.add("slow", &slow());
    let server = Server::start(models.path());
    let mut first = ask(&server, "slow", SLOW_REQUEST);
    let leaving: Vec<_> = (0..LEAVING).map(|_| ask(&server, "slow", SLOW_REQUEST)).collect();
    support::wait_until("most to come", || server.waiting("slow") > LEAVING / 2);
    drop(leaving);
    support::wait_until("most to leave", || server.cancelled("slow") > LEAVING / 2);
    let mut last = ask(&server, "slow", SLOW_REQUEST);
    assert_eq!([first.answer().status, last.answer().status], [200, 200]);
    let rows = server.rows_run("slow");
    assert!(rows < LEAVING / 2, "{rows} of {} requests were run", LEAVING + 2);
}

#[test]
fn a_cancelled_request_is_not_batched() {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("add/model.toml", waits(LEAVING as usize + 2, 60_000));
    let server = Server::start(models.path());
    let mut stays = ask(&server, "add", ADD_REQUEST);
    let leaving: Vec<_> = (0..LEAVING).map(|_| ask(&server, "add", ADD_REQUEST)).collect();
    server.wait_for_waiting("add", LEAVING + 1);
    drop(leaving);
    support::wait_until("all to leave", || server.cancelled("add") == LEAVING);
    // Cancelled requests count neither in a batch nor in the queue.
    let mut rest = Vec::new();
    support::wait_until("the batch to be full", || {
        rest.push(ask(&server, "add", ADD_REQUEST));
        server.rows_run("add") > 0
    });
    assert_eq!(stays.answer().status, 200);
    let live = rest.len() as u64 + 1;
    assert!(server.rows_run("add") <= live, "{} rows, {live} clients", server.rows_run("add"));
}

/// A server with one replica, whose model runs for minutes on request.
fn server_of_long_runs() -> Server {
    let models = Models::empty();
    models.add("long", &as_long_as_wanted()).write("long/model.toml", "replicas.count = 1");
    Server::start_with(models.path(), &["--model-control", "none"])
}

/// Waits until a long run occupies the replica, so that short requests expire.
fn wait_for_long_run(server: &Server) {
    support::wait_until("the long run", || {
        server.infer("long", short_request(200_000)).status != 200
    });
}

/// Checks that a run was cancelled, and that the replica serves other requests.
fn expect_cancelled_run(server: &Server) {
    let patience_us = TIMEOUT.as_micros() as u64;
    assert_eq!(server.infer("long", short_request(patience_us)).status, 200);
    assert_eq!(server.metric("skysail_cancelled_batches_total", &["model=\"long\""]), 1.0);
}

#[test]
fn a_run_is_cancelled_when_its_client_disconnects() {
    let server = server_of_long_runs();
    let client = ask(&server, "long", LONG_REQUEST);
    wait_for_long_run(&server);
    drop(client);
    expect_cancelled_run(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_cancelled_with_its_call() {
    let server = server_of_long_runs();
    let address = format!("http://{}", server.grpc());
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    let mut client = GrpcInferenceServiceClient::new(channel);
    let request = ModelInferRequest {
        model_name: "long".into(),
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "INT64".into(),
            shape: vec![1],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![Bytes::copy_from_slice(&2016_i64.to_le_bytes())],
        ..ModelInferRequest::default()
    };
    let call = tokio::spawn(async move { client.model_infer(request).await });
    tokio::task::block_in_place(|| wait_for_long_run(&server));
    call.abort();
    tokio::task::block_in_place(|| expect_cancelled_run(&server));
}
