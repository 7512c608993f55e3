//! Stopping the server: requests are answered, or told that they are not.

mod support;

use bytes::Bytes;
use skysail_protocol::grpc::ModelInferRequest;
use skysail_protocol::grpc::grpc_inference_service_client::GrpcInferenceServiceClient;
use skysail_protocol::grpc::model_infer_request::InferInputTensor;
use support::http::head;
use support::models::{
    LONG_REQUEST, Models, SLOW_REQUEST, add, as_long_as_wanted, digits_request, shipped, slow,
    waits,
};
use support::{Server, wait_until};
use tonic::Code;
use tonic::transport::Channel;

#[test]
fn stopping_finishes_running_requests() {
    let models = Models::empty();
    models.add("slow", &slow());
    let server = Server::start(models.path());
    let mut client = server.connect();
    client.send_request("POST", "/v2/models/slow/infer", &[], SLOW_REQUEST.as_bytes());
    let mut idle = server.connect();
    assert_eq!(idle.request("GET", "/v2/health/ready", &[], b"").status, 200);
    wait_until("the request to run", || server.metric("skysail_replicas_busy", &[]) == 1.0);
    server.tell_to_stop();
    assert_eq!(client.answer().status, 200);
    let log = server.stop();
    assert!(log.contains("stopped"), "{log}");
}

#[test]
fn stopping_runs_at_once_what_waits_for_a_fuller_batch() {
    let models = Models::digits();
    models.write("digits/model.toml", waits(8, 3_600_000));
    models.write("delayed/1/model.onnx", shipped("digits/1/model.onnx"));
    let delay = "dynamic_batching { max_queue_delay_microseconds: 3600000000 }";
    models.write("delayed/config.pbtxt", format!("max_batch_size: 8\n{delay}\n"));
    let server = Server::start(models.path());
    let mut clients = ["digits", "delayed", "digits"].map(|model| {
        let mut client = server.connect();
        let path = format!("/v2/models/{model}/infer");
        client.send_request("POST", &path, &[], &digits_request());
        client
    });
    server.wait_for_waiting("digits", 2);
    server.wait_for_waiting("delayed", 1);
    server.tell_to_stop();
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    server.stop();
}

#[test]
fn stopping_waits_up_to_its_timeout_and_refuses_the_rest() {
    let models = Models::empty();
    models.add("long", &as_long_as_wanted()).write("long/model.toml", "replicas.count = 1");
    let server = Server::start_with(models.path(), &["--stop-timeout-ms", "100"]);
    let ask = || {
        let mut client = server.connect();
        client.send_request("POST", "/v2/models/long/infer", &[], LONG_REQUEST.as_bytes());
        client
    };
    let mut running = ask();
    wait_until("the request to run", || server.metric("skysail_replicas_busy", &[]) == 1.0);
    let mut waiting = ask();
    server.wait_for_waiting("long", 1);
    let mut arriving = server.connect();
    arriving.send(head("POST", "/v2/models/long/infer", &["Expect: 100-continue"], 1000));
    assert_eq!(arriving.answer().status, 100, "the server has read the head");
    server.tell_to_stop();
    for client in [&mut running, &mut waiting, &mut arriving] {
        let answer = client.answer();
        answer.expect_error(503, "stopping");
        assert!(answer.header("retry-after").is_some());
    }
    let log = server.stop();
    assert!(log.contains("still ran 100 ms"), "{log}");
}

#[test]
fn stopping_works_at_the_limit_of_connections() {
    let models = Models::digits();
    let server = Server::start_with(models.path(), &["--connections-max", "1"]);
    let mut only = server.connect();
    assert_eq!(only.request("GET", "/v2/health/live", &[], b"").status, 200);
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_runs_or_refuses_what_waits() {
    let models = Models::empty();
    models.add("long", &as_long_as_wanted()).write("long/model.toml", "replicas.count = 1");
    models.add("add", &add(1.0)).write("add/model.toml", waits(8, 3_600_000));
    let flags = ["--model-control", "none", "--stop-timeout-ms", "200"];
    let server = Server::start_with(models.path(), &flags);
    let mut blocker = server.connect();
    blocker.send_request("POST", "/v2/models/long/infer", &[], LONG_REQUEST.as_bytes());
    wait_until("a run", || server.metric("skysail_replicas_busy", &[]) == 1.0);
    let address = format!("http://{}", server.grpc());
    let ask = |model_name: &str, datatype: &str, shape: Vec<i64>| {
        let (name, datatype) = ("x".into(), datatype.into());
        let request = ModelInferRequest {
            model_name: model_name.into(),
            inputs: vec![InferInputTensor { name, datatype, shape, ..Default::default() }],
            raw_input_contents: vec![Bytes::from_static(&[0; 8])],
            ..Default::default()
        };
        let channel = Channel::from_shared(address.clone()).unwrap();
        tokio::spawn(async move {
            let channel = channel.connect().await.unwrap();
            GrpcInferenceServiceClient::new(channel).model_infer(request).await
        })
    };
    let (behind, delayed) = (ask("long", "INT64", vec![1]), ask("add", "FP32", vec![1, 2]));
    tokio::task::block_in_place(|| {
        server.wait_for_waiting("long", 1);
        server.wait_for_waiting("add", 1);
        server.tell_to_stop();
    });
    let (behind, delayed) = (behind.await.unwrap(), delayed.await.unwrap());
    let refused = behind.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("stopping"), "{refused:?}");
    assert_eq!(delayed.unwrap().into_inner().outputs[0].name, "y");
}
