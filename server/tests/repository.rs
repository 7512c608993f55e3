//! Changes of the repository: serving versions go on, and broken ones report their reason.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use support::Server;
use support::models::{ADD_REQUEST, Models, SLOW_REQUEST, add, shared, slow, unsupported, waits};

/// A server that polls its folder very often.
fn polling(models: &Models) -> Server {
    Server::start_with(models.path(), &["--poll-ms", "5"])
}

fn explicit(models: &Models, flags: &[&str]) -> Server {
    Server::start_with(models.path(), &[&["--model-control", "explicit"], flags].concat())
}

/// First sum that `add` returns.
#[track_caller]
fn sum(server: &Server) -> f64 {
    let answer = server.infer("add", ADD_REQUEST);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["outputs"][0]["data"][0].as_f64().unwrap()
}

fn version(server: &Server) -> String {
    server.infer("add", ADD_REQUEST).json()["model_version"].as_str().unwrap().to_owned()
}

/// True if the version answers under its number.
fn serves(server: &Server, version: u64) -> bool {
    server.infer(&format!("add/versions/{version}"), ADD_REQUEST).status == 200
}

/// Sends requests to a model while `change` is made. None of them may fail.
fn under_load(server: &Server, model: &str, request: &str, change: impl FnOnce()) {
    let (done, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = server.connect();
                let path = format!("/v2/models/{model}/infer");
                while !done.load(Relaxed) {
                    let answer = client.request("POST", &path, &[], request.as_bytes());
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answers.fetch_add(1, Relaxed);
                }
            });
        }
        let wait_for_more = || {
            let enough = answers.load(Relaxed) + 10;
            support::wait_until("answers", || answers.load(Relaxed) >= enough);
        };
        wait_for_more();
        change();
        wait_for_more();
        done.store(true, Relaxed);
    });
}

#[test]
fn policies_choose_the_versions_that_serve() {
    let cases = [
        ("", [false, false, true]),
        ("versions = { latest = 2 }", [false, true, true]),
        ("versions = { all = true }", [true, true, true]),
        ("versions = { specific = [1, 3, 9] }", [true, false, true]),
    ];
    let models = Models::empty();
    for version in 1..=3 {
        models.add_version("add", version, &add(version as f32));
    }
    let server = polling(&models);
    for (settings, wanted) in cases {
        models.write("add/model.toml", settings);
        support::wait_until(settings, || {
            [1, 2, 3].map(|version| serves(&server, version)) == wanted
        });
        assert_eq!(version(&server), "3");
    }
}

#[test]
fn a_new_version_takes_over_without_a_failed_request() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = polling(&models);
    under_load(&server, "add", ADD_REQUEST, || {
        for version in 2..=4 {
            models.add_version("add", version, &add(version as f32));
            let number = version.to_string();
            server.wait_for_state("add", &number, "READY");
        }
        support::wait_until("the new version", || sum(&server) == 5.0);
    });
    let reason = server.wait_for_state("add", "1", "UNAVAILABLE");
    assert_eq!(reason, "unloaded");
    server
        .infer("add/versions/1", ADD_REQUEST)
        .expect_error(404, "no version 1 in service; it serves 4");
}

#[test]
fn a_broken_new_version_leaves_the_old_one_serving_and_reports_the_reason() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = polling(&models);
    under_load(&server, "add", ADD_REQUEST, || {
        models.write("add/2/model.onnx", "no model");
        let reason = server.wait_for_state("add", "2", "UNAVAILABLE");
        assert!(reason.contains("ONNX Runtime can not load it"), "{reason}");
    });
    assert_eq!((version(&server).as_str(), sum(&server)), ("1", 2.0));
    server.infer("add/versions/2", ADD_REQUEST).expect_error(404, "it serves 1");
    // Once repaired, it takes over. Once deleted, it is forgotten.
    models.add_version("add", 2, &add(2.0));
    support::wait_until("the mended version", || sum(&server) == 3.0);
    models.write("add/3/model.onnx", "no model");
    server.wait_for_state("add", "3", "UNAVAILABLE");
    models.delete("add/3");
    support::wait_until("version 3 to be forgotten", || server.state("add", "3").is_none());
    assert_eq!(sum(&server), 3.0);
}

#[test]
fn one_of_two_versions_may_be_broken() {
    let models = Models::empty();
    models.add_version("add", 2, &add(2.0)).write("add/1/model.onnx", "no model");
    models.write("add/model.toml", "versions = { all = true }");
    let server = polling(&models);
    assert_eq!(sum(&server), 3.0);
    assert_eq!(server.state("add", "1").unwrap().0, "UNAVAILABLE");
    assert_eq!(server.state("add", "2").unwrap().0, "READY");
}

#[test]
fn files_that_can_not_be_served_report_the_reason() {
    let models = Models::empty();
    let whole = add(1.0).to_bytes().unwrap();
    models
        .write("corrupt/1/model.onnx", [&whole[..60], &[0xff; 60]].concat())
        .write("cut/1/model.onnx", &whole[..whole.len() / 2])
        .write("empty/1/model.onnx", "")
        .add("unsupported", &unsupported())
        .write("nothing/readme.txt", "no version here")
        .write("wrong-key/1/model.onnx", &whole)
        .write("wrong-key/model.toml", "max_batch_size = 4\nmax_batch = 4\n")
        .write("wrong-pbtxt/1/model.onnx", &whole)
        .write("wrong-pbtxt/config.pbtxt", "max_batch_siez: 4")
        .write("wrong-tensor/1/model.onnx", &whole)
        .write("wrong-tensor/config.pbtxt", "input { name: 'z' data_type: TYPE_FP32 dims: 2 }")
        .write("other-backend/1/model.onnx", &whole)
        .write("other-backend/config.pbtxt", "backend: 'pytorch'")
        .add("add", &add(1.0));
    let server = polling(&models);
    let cases = [
        ("corrupt", "1", "ONNX Runtime can not load it"),
        ("cut", "1", "ONNX Runtime can not load it"),
        ("empty", "1", "empty"),
        ("unsupported", "1", "NoSuchOperator"),
        ("nothing", "", "no VERSION/model.onnx"),
        ("wrong-key", "", "line 2"),
        ("wrong-pbtxt", "", "max_batch_siez"),
        ("wrong-tensor", "1", "input 'z', and the graph has none"),
        ("other-backend", "", "'pytorch', and only ONNX models are served"),
    ];
    for (model, version, words) in cases {
        let (state, reason) = server.state(model, version).unwrap();
        assert!(state == "UNAVAILABLE" && reason.contains(words), "{model}: {state} {reason}");
        server.infer(model, ADD_REQUEST).expect_error(503, words);
        assert_eq!(server.get(&format!("/v2/models/{model}/ready")).status, 503);
    }
    assert_eq!(sum(&server), 2.0);
    let log = server.stop();
    assert!(log.contains("model 'wrong-key'") && log.contains("max_batch"), "{log}");
}

#[test]
fn a_sequence_of_maps_is_an_error_with_advice() {
    let Some(model) = shared("ort-logreg-iris") else { return };
    let models = Models::empty();
    models.write("iris/1/model.onnx", std::fs::read(model).unwrap());
    let server = polling(&models);
    let (state, reason) = server.state("iris", "1").unwrap();
    assert!(state == "UNAVAILABLE" && reason.contains("zipmap=False"), "{state} {reason}");
    assert!(reason.contains("a sequence of maps"), "{reason}");
}

#[test]
fn deleting_a_folder_unloads_its_model() {
    let models = Models::empty();
    models.add("add", &add(1.0)).add("other", &add(2.0));
    let server = polling(&models);
    under_load(&server, "other", ADD_REQUEST, || {
        models.delete("add");
        support::wait_until("the model to be gone", || {
            server.infer("add", ADD_REQUEST).status == 404
        });
        support::wait_until("the index to forget it", || server.state("add", "1").is_none());
        models.add("add", &add(5.0));
        support::wait_until("the model to be back", || serves(&server, 1));
    });
    assert_eq!(sum(&server), 6.0);
}

#[test]
fn changed_files_and_settings_are_reloaded() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = polling(&models);
    under_load(&server, "add", ADD_REQUEST, || {
        models.add("add", &add(2.0));
        support::wait_until("the new file", || sum(&server) == 3.0);
        models.write("add/model.toml", "max_batch_size = 7");
        support::wait_until("the new settings", || {
            server.get("/v2/models/add/config").json()["max_batch_size"] == 7
        });
        models.write("add/1/model.onnx", "no model");
        support::wait_until("the reason", || {
            let (state, reason) = server.state("add", "1").unwrap();
            state == "READY" && reason.contains("serves from older files")
        });
        models.write("add/model.toml", "max_batch = 7");
        let reason = server.wait_for_state("add", "", "UNAVAILABLE");
        assert!(reason.contains("model.toml") && reason.contains("max_batch"), "{reason}");
    });
    assert_eq!(sum(&server), 3.0);
}

#[test]
fn a_repository_of_triton_is_served_unchanged() {
    let models = Models::empty();
    models.write("add/1/sum.onnx", add(1.0).to_bytes().unwrap());
    models.write("add/2/sum.onnx", add(2.0).to_bytes().unwrap());
    models.write(
        "add/config.pbtxt",
        r#"
        name: "add"
        platform: "onnxruntime_onnx"
        default_model_filename: "sum.onnx"
        max_batch_size: 4
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 2 ] } ]
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] } ]
        version_policy: { all { } }
        dynamic_batching { preserve_ordering: true }
        instance_group [ { count: 1 gpus: [ 0 ] } ]
        "#,
    );
    let server = polling(&models);
    assert!(serves(&server, 1) && serves(&server, 2));
    let config = server.get("/v2/models/add/config").json();
    assert_eq!(
        (&config["max_batch_size"], &config["default_model_filename"]),
        (&4.into(), &"sum.onnx".into())
    );
    let log = server.stop();
    assert!(log.contains("instance_group.gpus") && !log.contains("preserve_ordering"), "{log}");
}

#[test]
fn mode_none_ignores_changes() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start_with(models.path(), &["--model-control", "none"]);
    models.delete("add");
    for change in ["load", "unload"] {
        let answer = server.post(&format!("/v2/repository/models/add/{change}"), "");
        answer.expect_error(503, "explicit");
    }
    assert_eq!(sum(&server), 2.0);
}

#[test]
fn mode_explicit_loads_and_unloads_by_name() {
    let models = Models::empty();
    models.add("add", &add(1.0)).add("other", &add(2.0)).write("broken/1/model.onnx", "no");
    let server = explicit(&models, &["--load-model", "other"]);
    let load = |model: &str| server.post(&format!("/v2/repository/models/{model}/load"), "");
    let unload = |model: &str| server.post(&format!("/v2/repository/models/{model}/unload"), "");
    assert_eq!(server.infer("other", ADD_REQUEST).status, 200);
    assert_eq!(server.infer("add", ADD_REQUEST).status, 404);
    assert_eq!(load("add").status, 200);
    assert_eq!(sum(&server), 2.0);
    load("no-such").expect_error(404, "no folder 'no-such'");
    load("..%2fadd").expect_error(404, "no folder '../add'");
    load("broken").expect_error(400, "failed to load 'broken': ONNX Runtime can not load it");
    // A new file is loaded on request only, and a broken one not at all.
    models.add("add", &add(3.0));
    assert_eq!((sum(&server), load("add").status, sum(&server)), (2.0, 200, 4.0));
    models.write("add/1/model.onnx", "no model");
    load("add").expect_error(400, "serves from older files");
    assert_eq!(sum(&server), 4.0);
    models.add_version("add", 2, &add(5.0));
    assert_eq!((load("add").status, sum(&server)), (200, 6.0));
    under_load(&server, "other", ADD_REQUEST, || {
        assert_eq!(unload("add").status, 200);
        let rejected = server.infer("add", ADD_REQUEST);
        assert!(rejected.status == 503 || rejected.status == 404, "{}", rejected.text());
        assert_eq!(load("add").status, 200);
        assert_eq!(unload("add").status, 200);
    });
    server.wait_for_state("add", "2", "UNAVAILABLE");
    // An unloaded model can be loaded again, also from new files.
    models.delete("add/2");
    models.add_version("add", 3, &add(7.0));
    assert_eq!((load("add").status, sum(&server)), (200, 8.0));
}

#[test]
fn a_load_can_override_settings() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = explicit(&models, &[]);
    let load = |body: &str| server.post("/v2/repository/models/add/load", body);
    let with =
        |config: &str| load(&serde_json::json!({"parameters": {"config": config}}).to_string());
    assert_eq!(with(r#"{"max_batch_size": 3}"#).status, 200);
    assert_eq!(server.get("/v2/models/add/config").json()["max_batch_size"], 3);
    with(r#"{"max_batch_siez": 3}"#).expect_error(400, "max_batch_siez");
    with("not json").expect_error(400, "failed to load");
    load(r#"{"parameters": {"no_such": 1}}"#).expect_error(400, "'no_such'");
    load(r#"{"parameters": {"file:1/model.onnx": "AAAA"}}"#).expect_error(400, "failed to load");
    load("[").expect_error(400, "can not be read");
    let none = r#"{"version_policy": {"specific": {"versions": [7]}}}"#;
    with(none).expect_error(400, "no version is to serve");
    with(r#"{"default_model_filename": "none.onnx"}"#).expect_error(400, "none.onnx");
    load(r#"{"parameters": {"file:x": "AAAA"}}"#).expect_error(400, "no version is to serve");
    assert_eq!(server.get("/v2/models/add/config").json()["max_batch_size"], 3);
    assert_eq!(server.get("/v2/health/ready").status, 200);
}

#[test]
fn errors_show_no_place_of_this_machine() {
    let models = Models::empty();
    models.write("bad/1/model.onnx", "no model").write("settings/model.toml", "x = 1");
    models.add("settings", &add(1.0)).add("add", &add(1.0));
    let server = explicit(&models, &["--load-model", "add"]);
    let load = |name: &str, body: &str| {
        let answer = server.post(&format!("/v2/repository/models/{name}/load"), body);
        assert_eq!(answer.status, 400);
        answer.error()
    };
    let file = |bytes: &[u8]| {
        let file = BASE64_STANDARD.encode(bytes);
        serde_json::json!({"parameters": {"file:1/model.onnx": file}}).to_string()
    };
    let errors = [
        load("bad", ""),
        load("settings", ""),
        load("sent", &file(b"no model")),
        load("sent", &file(&unsupported().to_bytes().unwrap())),
        server.state("bad", "1").unwrap().1,
    ];
    let folder = models.path().display().to_string();
    for error in &errors {
        for hidden in [&folder, "/tmp", "/proc", "onnxruntime_src", ".cc:", ".h:"] {
            assert!(!error.contains(hidden), "{error}");
        }
    }
    assert!(errors[1].contains("'settings': settings/model.toml: "), "{}", errors[1]);
    assert!(errors[3].contains("NoSuchOperator"), "{}", errors[3]);
    // Whoever runs the server sees the whole path.
    assert!(server.log().contains(&folder));
}

#[test]
fn unloading_runs_at_once_what_waits_for_a_fuller_batch() {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("add/model.toml", waits(8, 3_600_000));
    let server = explicit(&models, &["--load-model", "add"]);
    let ask = || {
        let mut client = server.connect();
        client.send_request("POST", "/v2/models/add/infer", &[], ADD_REQUEST.as_bytes());
        server.wait_for_waiting("add", 1);
        client
    };
    let mut client = ask();
    // New files replace the version that the request waits for.
    models.add("add", &add(2.0));
    assert_eq!(server.post("/v2/repository/models/add/load", "").status, 200);
    assert_eq!(client.answer().json()["outputs"][0]["data"][0], 2.0);
    let mut client = ask();
    assert_eq!(server.post("/v2/repository/models/add/unload", "").status, 200);
    assert_eq!(client.answer().json()["outputs"][0]["data"][0], 3.0);
}

#[test]
fn unloading_waits_for_running_requests() {
    let models = Models::empty();
    models.add("slow", &slow()).add("add", &add(1.0));
    let server = explicit(&models, &["--load-model", "slow", "--load-model", "add"]);
    let mut client = server.connect();
    client.send_request("POST", "/v2/models/slow/infer", &[], SLOW_REQUEST.as_bytes());
    support::wait_until("the request to run", || {
        server.infer("add", ADD_REQUEST).status == 200 && server.waiting("slow") == 0
    });
    assert_eq!(server.post("/v2/repository/models/slow/unload", "").status, 200);
    assert_eq!(client.answer().status, 200);
    assert_eq!(server.wait_for_state("slow", "1", "UNAVAILABLE"), "unloaded");
}
