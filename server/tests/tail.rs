//! The slowest requests: each cause of latency is provoked, and reported by its name.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::{Value, json};
use skysail_protocol::grpc::ModelInferRequest;
use skysail_protocol::grpc::model_infer_request::InferInputTensor;
use std::time::Duration;
use support::Server;
use support::http::{Connection, head};
use support::models::{ADD_REQUEST, Models, SLOW_REQUEST, add, grows, same, slow, waits};
use tokio::net::TcpStream;

/// Delay of a slow client: most of its request's time.
const SLOW: Duration = Duration::from_millis(700);

/// Settings for one replica, so that requests run one by one.
const ONE_REPLICA: &str = "replicas = { count = 1, threads = 1 }\n";

/// Bytes of a tensor that exceeds the socket buffers of an unread response.
const LARGE_BYTES: usize = 24 << 20;

/// Delays a client.
#[expect(clippy::disallowed_methods, reason = "being slow is what is tested")]
fn be_slow() {
    std::thread::sleep(SLOW);
}

/// Length of a request for `grows` that runs for some tenths of a second.
const LONG: usize = 700;

/// A request for `grows` of a length, with this id. Its values stay small.
fn grows_request(id: &str, length: usize) -> Vec<u8> {
    let data = vec![(length as f32).sqrt().recip(); length];
    let input = json!({"name": "x", "shape": [length], "datatype": "FP32", "data": data});
    json!({"id": id, "inputs": [input]}).to_string().into()
}

/// A request with this id.
fn named(id: &str, request: &str) -> Vec<u8> {
    let mut request: Value = serde_json::from_str(request).unwrap();
    request["id"] = id.into();
    request.to_string().into()
}

/// Sends a request without reading the response.
fn ask(server: &Server, model: &str, request: &[u8]) -> Connection {
    let mut client = server.connect();
    client.send_request("POST", &format!("/v2/models/{model}/infer"), &[], request);
    client
}

/// Slowest requests of a model.
fn tail(server: &Server, model: &str) -> Vec<Value> {
    let tail = server.get(&format!("/v2/debug/tail?model={model}&window=5m"));
    assert_eq!(tail.status, 200, "{}", tail.text());
    tail.json()["models"][0]["requests"].as_array().unwrap().clone()
}

/// Waits for the record of one request.
fn remembered(server: &Server, model: &str, id: &str) -> Value {
    support::wait_for(&format!("request {id} in the tail"), || {
        tail(server, model).into_iter().find(|request| request["request_id"] == id)
    })
}

#[track_caller]
fn expect_cause(request: &Value, cause: &str) {
    assert_eq!(request["cause"], cause, "{request:#}");
}

fn stage_us(request: &Value, stage: &str) -> u64 {
    request["stages_us"][stage].as_u64().unwrap()
}

#[test]
fn a_request_behind_a_batch_names_the_batch() {
    let models = Models::empty();
    models.add("grows", &grows()).write("grows/model.toml", ONE_REPLICA);
    let server = Server::start(models.path());
    // A model that is known to be slow runs on its replica's threads.
    assert_eq!(server.infer("grows", grows_request("known", LONG)).status, 200);
    let mut long = ask(&server, "grows", &grows_request("long", LONG));
    let busy = || server.metric("skysail_replicas_busy", &["model=\"grows\""]) == 1.0;
    support::wait_until("the long one to run", busy);
    assert_eq!(server.infer("grows", grows_request("short", 3)).status, 200);
    assert_eq!(long.answer().status, 200);
    let long = remembered(&server, "grows", "long");
    assert_eq!(long["behind"], Value::Null);
    let short = remembered(&server, "grows", "short");
    expect_cause(&short, "waited_behind_batch");
    let number = long["batch"]["number"].as_u64().unwrap();
    assert_eq!(short["explanation"], format!("waited behind batch {number} of 1 row"));
    assert_eq!((&short["behind"]["number"], &short["behind"]["rows"]), (&number.into(), &1.into()));
    assert_eq!(short["batch"]["number"], number + 1);
    assert!(stage_us(&short, "queue") > stage_us(&short, "execute"), "{short:#}");
}

#[test]
fn a_run_during_a_load_has_that_cause() {
    let models = Models::empty();
    models.add("grows", &grows()).write("grows/model.toml", ONE_REPLICA);
    models.add("loads", &slow());
    models.write("loads/model.toml", ONE_REPLICA.to_owned() + "[[warm_up]]\ncount = 4\n");
    let flags = ["--model-control", "explicit", "--load-model", "grows"];
    let server = Server::start_with(models.path(), &flags);
    assert_eq!(server.infer("grows", grows_request("new", LONG)).status, 200);
    let mut loads = server.connect();
    loads.send_request("POST", "/v2/repository/models/loads/load", &[], b"");
    server.wait_for_state("loads", "1", "LOADING");
    assert_eq!(server.infer("grows", grows_request("beside", LONG)).status, 200);
    expect_cause(&remembered(&server, "grows", "beside"), "load_in_progress");
    assert_eq!(loads.answer().status, 200);
    assert!(server.metric("skysail_loading_seconds", &[]) > 0.1);
}

#[test]
fn a_client_that_sends_slowly_is_the_cause() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start(models.path());
    let mut client = server.connect();
    let request = named("drips", ADD_REQUEST);
    let (begin, end) = request.split_at(10);
    client.send(head("POST", "/v2/models/add/infer", &[], request.len()));
    client.send(begin);
    be_slow();
    client.send(end);
    assert_eq!(client.answer().status, 200);
    let drips = remembered(&server, "add", "drips");
    expect_cause(&drips, "client_slow_to_send");
    assert!(stage_us(&drips, "accept") > 500_000, "{drips:#}");
}

/// A request for `same` with this id, and many bytes in both directions.
fn large_request(id: &str) -> (Vec<u8>, String) {
    let data = json!({"binary_data_size": LARGE_BYTES});
    let input =
        json!({"name": "x", "shape": [1, LARGE_BYTES / 4], "datatype": "FP32", "parameters": data});
    let json = json!({"id": id, "inputs": [input], "parameters": {"binary_data_output": true}});
    let mut body = json.to_string().into_bytes();
    let header = format!("Inference-Header-Content-Length: {}", body.len());
    body.resize(body.len() + LARGE_BYTES, 0);
    (body, header)
}

#[test]
fn a_client_that_reads_slowly_is_the_cause() {
    let models = Models::empty();
    models.add("same", &same());
    let server = Server::start(models.path());
    let (body, header) = large_request("dozes");
    let mut client = server.connect();
    client.send_request("POST", "/v2/models/same/infer", &[&header], &body);
    support::wait_until("it to run", || server.rows_run("same") == 1);
    be_slow();
    assert!(tail(&server, "same").is_empty(), "it is not over before it is read");
    assert_eq!(client.answer().body.len() / LARGE_BYTES, 1);
    let dozes = remembered(&server, "same", "dozes");
    expect_cause(&dozes, "client_slow_to_read");
    assert!(dozes["written_us"].as_u64().unwrap() > 500_000, "{dozes:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_client_that_reads_slowly_is_the_cause() {
    let models = Models::empty();
    models.add("same", &same());
    let server = Server::start(models.path());
    let message = ModelInferRequest {
        model_name: "same".into(),
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            shape: vec![1, (LARGE_BYTES / 4) as i64],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![Bytes::from(vec![0; LARGE_BYTES])],
        ..ModelInferRequest::default()
    };
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut body).unwrap();
    let path = format!("http://{}/inference.GRPCInferenceService/ModelInfer", server.grpc());
    let request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-request-id", "dozes")
        .body(Full::new(body.freeze()))
        .unwrap();
    let stream = TokioIo::new(TcpStream::connect(server.grpc()).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    tokio::time::sleep(SLOW).await;
    let body = answer.into_body().collect().await.unwrap();
    assert!(body.trailers().unwrap()["grpc-status"] == "0");
    tokio::task::block_in_place(|| {
        expect_cause(&remembered(&server, "same", "dozes"), "client_slow_to_read");
    });
}

#[test]
fn a_coalesced_request_has_the_cause_cache_stampede() {
    let models = Models::empty();
    let cached = "cache = { bytes_max = 1048576 }\n".to_owned() + &waits(2, 60_000);
    models.add("add", &add(1.0)).write("add/model.toml", cached);
    // One I/O thread handles requests in the order of arrival.
    let server = Server::start_with(models.path(), &["--io-threads", "1"]);
    let mut first = ask(&server, "add", &named("first", ADD_REQUEST));
    server.wait_for_waiting("add", 1);
    // An arrival is estimated from before the thread's last work, which is short now.
    let live = || server.connect().request("GET", "/v2/health/live", &[], b"").status;
    assert_eq!(live(), 200);
    let mut second = ask(&server, "add", &named("second", ADD_REQUEST));
    // A request that is answered now came after the second was accepted, and takes a while.
    assert_eq!(live(), 200);
    for _ in 0..4 {
        server.wait_for_waiting("add", 1);
    }
    let other = ADD_REQUEST.replace("[1, 2]}", "[3, 4]}");
    assert_eq!(server.infer("add", named("third", &other)).status, 200);
    assert_eq!((first.answer().status, second.answer().status), (200, 200));
    let second = remembered(&server, "add", "second");
    expect_cause(&second, "cache_stampede");
    assert_eq!(second["cache"], "coalesced");
    assert_eq!(remembered(&server, "add", "first")["cache"], "miss");
    assert_eq!(server.infer("add", named("hit", ADD_REQUEST)).status, 200);
    let hit = remembered(&server, "add", "hit");
    assert_eq!((&hit["cache"], &hit["batch"]), (&json!("hit"), &Value::Null));
}

#[test]
fn a_request_without_a_response_is_kept_with_its_reason() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    models.write("add/model.toml", waits(2, 60_000) + "[queue]\nrequests_max = 1\n");
    let server = Server::start(models.path());
    let leaves = ask(&server, "add", &named("leaves", ADD_REQUEST));
    server.wait_for_waiting("add", 1);
    assert_eq!(server.infer("add", named("full", ADD_REQUEST)).status, 503);
    let bad = server.connect().request(
        "POST",
        "/v2/models/add/infer",
        &["X-Request-Id: bad <b>\"&"],
        b"{",
    );
    assert_eq!(bad.status, 400);
    drop(leaves);
    let of = |id| remembered(&server, "add", id);
    let cases = [
        ("full", "shed", "queue_full", "shed"),
        ("bad <b>\"&", "failed", "REJECTED", "failed"),
        ("leaves", "failed", "CANCELED", "failed"),
    ];
    for (id, outcome, reason, cause) in cases {
        let request = of(id);
        expect_cause(&request, cause);
        assert_eq!((&request["outcome"], &request["reason"]), (&outcome.into(), &reason.into()));
    }
    assert_eq!(of("bad <b>\"&")["stages_us"].as_object().unwrap().len(), 1, "it was not decoded");
    // The whole log: a line may come after the response.
    let log = server.stop();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("request_id=full")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("WARN") && lines[0].contains("reason=\"queue_full\""), "{log}");
}

#[test]
fn similar_log_lines_are_rate_limited() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start(models.path());
    for request in 0..40 {
        let header = format!("X-Request-Id: bad{request}");
        let answer = server.connect().request("POST", "/v2/models/add/infer", &[&header], b"{");
        assert_eq!(answer.status, 400);
    }
    (0..40).for_each(|_| assert_eq!(server.infer("no%0Asuch", "{}").status, 404));
    // The whole log: a line may come after the response.
    let log = server.stop();
    let about = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    // A period of the rate limit may end in between.
    assert!((3..=6).contains(&about("request_id=bad")), "{log}");
    assert!((3..=6).contains(&about("'no such'")), "{log}");
}

#[test]
fn an_id_can_not_forge_a_log_line() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start(models.path());
    let request = named("7\n2026 ERROR the end\u{1b}[31m", r#"{"inputs": []}"#);
    assert_eq!(server.infer("add", request).status, 400);
    // The whole log: a line may come after the response.
    let log = server.stop();
    assert!(log.contains("request_id=7 2026 ERROR the end [31m"), "{log}");
    assert!(!log.contains("\n2026 ERROR"), "{log}");
}

#[test]
fn the_slowest_requests_are_on_both_ports_and_bad_queries_are_errors() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start_with(models.path(), &["--objective-ms", "5000"]);
    assert_eq!(server.infer("add", named("one", ADD_REQUEST)).status, 200);
    remembered(&server, "add", "one");
    let metrics = || Connection::open(server.metrics());
    for mut client in [server.connect(), metrics()] {
        let tail = client.request("GET", "/v2/debug/tail", &[], b"").json();
        assert_eq!(
            (&tail["window_s"], &tail["models"][0]["objective_ms"]),
            (&60.into(), &5000.0.into())
        );
        let one = &tail["models"][0]["requests"][0];
        assert_eq!((&one["request_id"], &one["outcome"]), (&"one".into(), &"answered".into()));
        assert_eq!(one["stages_us"].as_object().unwrap().len(), 7);
        for (query, status, words) in [
            ("window=10m", 400, "at most 300s"),
            ("window=x", 400, "'window' is 'x'"),
            ("model=none", 404, "there is no model 'none'"),
            ("models=add", 400, "'models' is not known"),
        ] {
            let answer = client.request("GET", &format!("/v2/debug/tail?{query}"), &[], b"");
            answer.expect_error(status, words);
        }
        assert_eq!(client.request("POST", "/v2/debug/tail", &[], b"").status, 405);
    }
}

#[test]
fn request_records_can_be_switched_off() {
    let models = Models::empty();
    models.add("add", &add(1.0)).add("late", &add(1.0));
    models.write("late/model.toml", "objective_ms = 0.001\n");
    let server = Server::start_with(models.path(), &["--request-records", "false"]);
    assert_eq!(server.infer("add", ADD_REQUEST).status, 200);
    assert_eq!(server.infer("add", "{").status, 400);
    // Outcomes are counted all the same.
    let ended = |model: &str, outcome: &str| {
        let labels = [format!("model=\"{model}\""), format!("outcome=\"{outcome}\"")];
        server.metric("skysail_requests_total", &labels.each_ref().map(String::as_str))
    };
    assert_eq!((ended("add", "answered"), ended("add", "failed")), (1.0, 1.0));
    let mut patient: Value = serde_json::from_str(ADD_REQUEST).unwrap();
    patient["parameters"] = json!({"timeout": 60_000_000});
    assert_eq!(server.infer("late", patient.to_string()).status, 200);
    assert_eq!((ended("late", "answered"), ended("late", "missed")), (0.0, 1.0));
    assert_eq!(server.metric("nv_inference_request_success", &["model=\"add\""]), 1.0);
    assert!(tail(&server, "add").is_empty());
    assert_eq!(server.metric("skysail_request_duration_seconds_count", &[]), 0.0);
}

#[test]
fn a_slow_request_has_all_its_stages() {
    let models = Models::empty();
    models.add("slow", &slow());
    let server = Server::start_with(models.path(), &["--objective-ms", "1"]);
    assert_eq!(server.infer("slow", named("slow", SLOW_REQUEST)).status, 200);
    let slow = remembered(&server, "slow", "slow");
    let sum: u64 =
        slow["stages_us"].as_object().unwrap().values().map(|us| us.as_u64().unwrap()).sum();
    let total = slow["total_us"].as_u64().unwrap();
    assert!(total.abs_diff(sum) <= 7, "{slow:#}");
    assert!(stage_us(&slow, "execute") > total / 2, "{slow:#}");
}

/// A run is slow only beside its prediction, which follows the pace of the machine.
mod wall_clock {
    use super::*;

    #[test]
    fn the_first_run_of_a_size_is_cold_and_a_slow_second_one_is_cpu_contention() {
        let models = Models::empty();
        models.add("grows", &grows()).write("grows/model.toml", ONE_REPLICA);
        let server = Server::start(models.path());
        for id in ["new", "again"] {
            assert_eq!(server.infer("grows", grows_request(id, LONG)).status, 200);
        }
        let new = remembered(&server, "grows", "new");
        expect_cause(&new, "cold_batch_size");
        assert_eq!(new["batch"]["cold"], true);
        let again = remembered(&server, "grows", "again");
        expect_cause(&again, "cpu_contention");
        assert_eq!(again["batch"]["cold"], false);
        let [ran, predicted] =
            ["ran_us", "predicted_us"].map(|us| again["batch"][us].as_u64().unwrap());
        assert!(ran > predicted, "{again:#}");
    }
}
