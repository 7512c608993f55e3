//! Readiness: what a probe is told while models load, are broken or are missing, and when the server
//! gives up at its start.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_protocol::grpc::ServerReadyRequest;
use skysail_protocol::grpc::grpc_inference_service_client::GrpcInferenceServiceClient;
use support::http::{Answer, Connection};
use support::models::{ADD_REQUEST, Models, add};
use support::{Server, run, wait_until};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Flags of a server whose trials are those of the script, which hangs for models of that name.
const SCRIPT: [&str; 2] = [
    "--probe-program",
    concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/support/probe-child.sh"),
];

fn scripted(models: &Models, flags: &[&str]) -> Server {
    Server::start_unready(models.path(), &[&SCRIPT, flags].concat())
}

fn ready(server: &Server) -> Answer {
    server.get("/v2/health/ready")
}

/// Readiness by gRPC: the protocol's own call, and the standard health service.
fn ready_by_grpc(server: &Server) -> (bool, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let address = format!("http://{}", server.grpc());
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        let mut client = GrpcInferenceServiceClient::new(channel.clone());
        let own = client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready;
        let request = HealthCheckRequest { service: String::new() };
        let health = HealthClient::new(channel).check(request).await.unwrap().into_inner();
        (own, health.status() == ServingStatus::Serving)
    })
}

/// Waits until all three say the same.
#[track_caller]
fn expect_ready(server: &Server, is_ready: bool) {
    let status = if is_ready { 200 } else { 503 };
    wait_until("the probes to agree", || {
        ready(server).status == status && ready_by_grpc(server) == (is_ready, is_ready)
    });
}

/// Begins to load a model by name.
fn begin_load(server: &Server, model: &str) -> Connection {
    let mut client = server.connect();
    client.send_request("POST", &format!("/v2/repository/models/{model}/load"), &[], b"");
    client
}

fn load(server: &Server, model: &str) -> Answer {
    server.post(&format!("/v2/repository/models/{model}/load"), "")
}

fn unload(server: &Server, model: &str) -> Answer {
    server.post(&format!("/v2/repository/models/{model}/unload"), "")
}

#[test]
fn a_server_with_a_broken_model_is_not_ready_and_says_why() {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("broken/1/model.onnx", "no model");
    let server = Server::start(models.path());
    expect_ready(&server, false);
    let why = ready(&server).error();
    assert!(why.contains("'broken' version 1 is UNAVAILABLE") && !why.contains("'add'"), "{why}");
    assert_eq!(server.infer("add", ADD_REQUEST).status, 200);
    assert_eq!(server.get("/v2/health/live").status, 200);
    // Once repaired, the server is ready. A broken new version leaves it so: the old one serves.
    models.add("broken", &add(2.0));
    expect_ready(&server, true);
    assert_eq!(server.infer("broken", ADD_REQUEST).status, 200, "it serves, as the server says");
    models.write("broken/2/model.onnx", "no model");
    server.wait_for_state("broken", "2", "UNAVAILABLE");
    expect_ready(&server, true);
    models.delete("broken/1");
    models.delete("broken");
    wait_until("the model to be gone", || server.state("broken", "1").is_none());
    expect_ready(&server, true);
    let log = server.stop();
    let states: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("the server is not ready: model 'broken'"))
        .collect();
    assert!(states[0].contains("UNAVAILABLE"), "{log}");
    assert!(states[1..].iter().all(|line| line.contains("LOADING")), "{log}");
    assert!(log.contains("the server is not ready: the server is stopping"), "{log}");
}

#[test]
fn rules_choose_the_models_that_must_serve() {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("broken/1/model.onnx", "no model");
    let start = |flags: &[&str]| Server::start_with(models.path(), flags);
    expect_ready(&start(&["--ready-when", "any"]), true);
    expect_ready(&start(&["--ready-when", "named", "--load-model", "add"]), true);
    let named = ["--ready-when", "named", "--load-model"];
    expect_ready(&start(&[&named[..], &["broken"]].concat()), false);
    let server = start(&[&named[..], &["absent"]].concat());
    expect_ready(&server, false);
    assert!(ready(&server).error().contains("model 'absent' is not in the repository"));
    let explicit = ["--model-control", "explicit"];
    expect_ready(&start(&explicit), true);
    expect_ready(&start(&[&explicit[..], &["--ready-when", "any"]].concat()), false);
    let empty = Models::empty();
    expect_ready(&Server::start_with(empty.path(), &["--ready-when", "any"]), false);
}

#[test]
fn a_start_fails_with_a_named_model_that_can_not_be_served() {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("broken/1/model.onnx", "no model");
    let folder = models.path().to_str().unwrap();
    let explicit = ["--model-control", "explicit", "--load-model", "add", "--load-model"];
    for (name, words) in [("broken", "failed to load 'broken'"), ("absent", "'absent'")] {
        let ports = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
        let output =
            run(&[&["--models", folder, "--probe", "never"], &ports[..], &explicit, &[name]]
                .concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words) && said.contains("--exit-on-load-error false"), "{said}");
    }
    let goes_on = ["broken", "--exit-on-load-error", "false"];
    let server = Server::start_with(models.path(), &[&explicit[..], &goes_on].concat());
    assert_eq!(server.infer("add", ADD_REQUEST).status, 200);
    expect_ready(&server, false);
    // It may be repaired, or given up.
    models.add("broken", &add(2.0));
    assert_eq!(load(&server, "broken").status, 200);
    expect_ready(&server, true);
    models.write("broken/1/model.onnx", "no model again");
    load(&server, "broken").expect_error(400, "serves from older files");
    expect_ready(&server, true);
    assert_eq!(unload(&server, "broken").status, 200);
    expect_ready(&server, true);
}

#[test]
fn a_model_that_loads_is_listed_at_once_and_never_missing() {
    let models = Models::empty();
    models.add("hangs", &add(1.0)).add("sound", &add(2.0));
    let server = scripted(&models, &["--compute-threads", "1"]);
    assert_eq!(server.state("hangs", "1").unwrap().0, "LOADING");
    for path in ["hangs", "hangs/versions/1"] {
        let answer = server.infer(path, ADD_REQUEST);
        answer.expect_error(503, "version 1 is LOADING");
        assert!(answer.header("retry-after").is_some());
    }
    // It holds nobody up, and keeps the server from being ready.
    wait_until("the other model", || server.infer("sound", ADD_REQUEST).status == 200);
    expect_ready(&server, false);
    let why = ready(&server).error();
    assert!(why.contains("'hangs' version 1 is LOADING"), "{why}");
    // Its new version that loads is not missing either, while the old one serves.
    models.add_version("sound", 2, &add(3.0));
    server.wait_for_state("sound", "2", "READY");
    models.delete("hangs");
    wait_until("the model to be forgotten", || server.infer("hangs", ADD_REQUEST).status == 404);
    expect_ready(&server, true);
}

#[test]
fn a_version_that_loads_beside_one_that_serves_is_not_missing() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    models.write("add/model.toml", "versions = { all = true }");
    let server = Server::start_with(models.path(), &["--probe", "never", "--poll-ms", "5"]);
    let answer = server.infer("add/versions/2", ADD_REQUEST);
    answer.expect_error(404, "no version 2 in service");
    models.add_version("add", 2, &add(2.0));
    wait_until("version 2", || {
        let answer = server.infer("add/versions/2", ADD_REQUEST);
        assert!([200, 404, 503].contains(&answer.status), "{}", answer.text());
        answer.status == 200
    });
}

#[test]
fn a_load_by_name_waits_for_no_other_and_answers_when_it_is_done() {
    let models = Models::empty();
    models.add("hangs", &add(1.0)).add("sound", &add(2.0)).write("broken/1/model.onnx", "no");
    let server = scripted(&models, &["--model-control", "explicit", "--compute-threads", "1"]);
    let mut hanging = begin_load(&server, "hangs");
    server.wait_for_state("hangs", "1", "LOADING");
    assert_eq!(load(&server, "sound").status, 200);
    assert_eq!(server.infer("sound", ADD_REQUEST).status, 200);
    load(&server, "broken").expect_error(400, "failed to load 'broken'");
    expect_ready(&server, true);
    // Unloading gives a load up, and whoever waits for it is told.
    assert_eq!(unload(&server, "hangs").status, 200);
    hanging.answer().expect_error(400, "unloaded before it was loaded");
    assert_eq!(server.wait_for_state("hangs", "1", "UNAVAILABLE"), "unloaded");
}

#[test]
fn loads_of_one_model_at_once_are_all_answered() {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("broken/1/model.onnx", "no model");
    let server = Server::start_with(models.path(), &["--model-control", "explicit"]);
    for (model, status) in [("add", 200), ("broken", 400)] {
        let mut clients: Vec<_> = (0..4).map(|_| begin_load(&server, model)).collect();
        for client in &mut clients {
            assert_eq!(client.answer().status, status);
        }
    }
    // Each gets what it asked for, in this order.
    let with = |rows: usize| {
        let config = format!("{{\"max_batch_size\": {rows}}}");
        serde_json::json!({"parameters": {"config": config}}).to_string()
    };
    let mut clients = Vec::new();
    for rows in [2, 3] {
        let mut client = server.connect();
        let path = "/v2/repository/models/add/load";
        client.send_request("POST", path, &[], with(rows).as_bytes());
        clients.push(client);
    }
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
    let rows = server.get("/v2/models/add/config").json()["max_batch_size"].as_u64();
    assert!(matches!(rows, Some(2 | 3)), "{rows:?}");
}

#[test]
fn files_that_change_while_they_load_are_loaded_again() {
    let models = Models::empty();
    models.add("hangs", &add(1.0));
    let server = scripted(&models, &["--poll-ms", "5", "--probe-timeout-ms", "1000"]);
    server.wait_for_state("hangs", "1", "LOADING");
    models.add("hangs", &add(2.0));
    models.write("hangs/model.toml", "max_batch_size = 3");
    // The trial of either file takes too long, and that of the newer one is the result.
    let reason = server.wait_for_state("hangs", "1", "UNAVAILABLE");
    assert!(reason.contains("longer than 1000 ms"), "{reason}");
    wait_until("the log", || server.log().contains("is not wanted any more"));
}

#[test]
fn stopping_does_not_wait_for_a_load() {
    let models = Models::empty();
    models.add("hangs", &add(1.0)).add("sound", &add(2.0));
    let server = scripted(&models, &["--model-control", "explicit"]);
    let mut client = begin_load(&server, "hangs");
    server.wait_for_state("hangs", "1", "LOADING");
    server.tell_to_stop();
    client.answer().expect_error(503, "the repository is closed");
    server.stop();
}
