//! Models that crash the process that loads or runs them: the server keeps running.
//!
//! The probe's child process is a script here. It ends as the name of a model says.

mod support;

use std::fs;
use std::path::PathBuf;
use support::models::{ADD_REQUEST, Models, add, over_all, same, unsupported};
use support::{Server, run, wait_until};

/// A server that probes models with the script.
fn with_script(models: &Models, flags: &[&str]) -> Server {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/support/probe-child.sh");
    Server::start_with(models.path(), &[&["--probe-program", script], flags].concat())
}

/// A server whose probe can not run, so that it uses remembered results only.
fn remembering(models: &Models) -> Server {
    Server::start_with(models.path(), &["--probe-program", "/no/such/program"])
}

fn cache(models: &Models) -> PathBuf {
    models.path().join(".cache/skysail/probes.json")
}

/// A request for [`add`] or [`same`] with an empty input of this shape.
fn empty(shape: [usize; 2]) -> String {
    format!(
        r#"{{"inputs": [{{"name": "x", "shape": {shape:?}, "datatype": "FP32", "data": []}}]}}"#
    )
}

const NOT_TRIED: &str = "without a trial";

#[test]
fn models_that_crash_are_unavailable_and_others_serve() {
    let models = Models::empty();
    // Identical files share one verdict, under any name.
    let names = ["dies-at-load", "dies-at-row", "dies-with-rows", "exits", "grows", "sound"];
    for (value, name) in names.iter().enumerate() {
        models.add(name, &add(value as f32));
    }
    let server = with_script(&models, &["--probe-memory-bytes-max", "50000000"]);
    for (name, words) in [
        ("dies-at-load", "when it loaded it ended the process with signal 11 (SIGSEGV)"),
        ("dies-at-row", "when it ran one row it ended the process with signal 6 (SIGABRT)"),
        ("dies-with-rows", "after it ran one row it ended the process with signal 11 (SIGSEGV)"),
        ("exits", "exit code 3"),
        ("grows", "--probe-memory-bytes-max"),
    ] {
        let (state, reason) = server.state(name, "1").unwrap();
        assert!(state == "UNAVAILABLE" && reason.contains(words), "{name}: {state} {reason}");
        server.infer(name, ADD_REQUEST).expect_error(503, words);
    }
    assert_eq!(server.infer("sound", ADD_REQUEST).status, 200);
    assert_eq!(server.get("/v2/health/ready").status, 503);
    let log = server.stop();
    assert!(log.contains("the last words"), "{log}");
}

#[test]
fn a_model_that_crashes_with_several_rows_serves_if_it_shares_no_runs() {
    let models = Models::empty();
    models.add("dies-with-rows-shared", &add(1.0)).add("dies-with-rows-alone", &add(2.0));
    models.write("dies-with-rows-shared/model.toml", "max_batch_size = 8");
    models.write("dies-with-rows-alone/model.toml", "max_batch_size = 0");
    let check = |server: Server| {
        let (state, reason) = server.state("dies-with-rows-shared", "1").unwrap();
        let words = "after it ran one row it ended the process with signal 11 (SIGSEGV)";
        assert!(state == "UNAVAILABLE" && reason.contains(words), "{state} {reason}");
        assert_eq!(server.infer("dies-with-rows-alone", ADD_REQUEST).status, 200);
        server.stop();
    };
    check(with_script(&models, &[]));
    // A restart decides the same.
    check(remembering(&models));
}

#[test]
fn a_model_that_hangs_delays_others_up_to_the_timeout() {
    let models = Models::empty();
    models.add("hangs", &add(1.0)).add("sound", &add(2.0));
    let server = with_script(&models, &["--probe-timeout-ms", "500"]);
    let (state, reason) = server.state("hangs", "1").unwrap();
    assert!(state == "UNAVAILABLE" && reason.contains("longer than 500 ms"), "{state} {reason}");
    assert_eq!(server.infer("sound", ADD_REQUEST).status, 200);
}

#[test]
fn stopping_does_not_wait_for_a_model_that_hangs() {
    let models = Models::empty();
    models.add("hangs", &add(1.0));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/support/probe-child.sh");
    let server = Server::start_unready(models.path(), &["--probe-program", script]);
    wait_until("the trial", || !server.children().is_empty());
    server.stop();
}

#[test]
fn results_of_the_probe_survive_a_restart() {
    let models = Models::empty();
    models.add("dies-at-load", &add(1.0)).add("sound", &add(2.0));
    with_script(&models, &[]).stop();
    assert!(cache(&models).is_file());
    let server = remembering(&models);
    let (state, reason) = server.state("dies-at-load", "1").unwrap();
    assert!(state == "UNAVAILABLE" && reason.contains("SIGSEGV"), "{state} {reason}");
    assert_eq!(server.infer("sound", ADD_REQUEST).status, 200);
    let log = server.stop();
    assert!(!log.contains(NOT_TRIED), "{log}");
}

#[test]
fn a_broken_cache_is_ignored_and_replaced() {
    let models = Models::empty();
    models.add("dies-at-load", &add(1.0));
    fs::create_dir_all(cache(&models).parent().unwrap()).unwrap();
    for broken in ["", "{\"format\":", "\u{1}"] {
        fs::write(cache(&models), broken).unwrap();
        let server = with_script(&models, &[]);
        assert_eq!(server.state("dies-at-load", "1").unwrap().0, "UNAVAILABLE");
        server.stop();
        assert!(fs::read_to_string(cache(&models)).unwrap().contains("SIGSEGV"));
    }
}

#[test]
fn without_the_probe_models_are_loaded_directly() {
    let models = Models::empty();
    models.add("dies-at-load", &add(1.0));
    let server = with_script(&models, &["--probe", "never"]);
    assert_eq!(server.infer("dies-at-load", ADD_REQUEST).status, 200);
    assert_eq!(server.infer("dies-at-load", empty([0, 2])).status, 200);
    assert!(!cache(&models).exists());
    assert!(!server.stop().contains(NOT_TRIED));
}

#[test]
fn a_failing_child_process_is_logged_once() {
    let models = Models::empty();
    models.add("a", &add(1.0)).add("b", &add(1.0));
    let server = remembering(&models);
    assert_eq!(server.infer("b", ADD_REQUEST).status, 200);
    assert_eq!(server.stop().matches(NOT_TRIED).count(), 1);
}

#[test]
fn inputs_without_elements_run_if_the_probe_survived_them() {
    let models = Models::empty();
    // Their responses always have an element.
    models.add("dies-at-zero", &over_all("ReduceSum")).add("sound", &over_all("ReduceL1"));
    let server = with_script(&models, &[]);
    // The script reports that both survive [rows, 0].
    assert_eq!(server.infer("dies-at-zero", empty([1, 0])).status, 200);
    let rejected = server.infer("dies-at-zero", empty([0, 3]));
    rejected.expect_error(400, "a trial of that ended the runtime's process");
    server.infer("sound", empty([0, 2])).expect_error(400, "no trial has shown");
    server.infer("dies-at-zero", empty([0, 0])).expect_error(400, "input 'x' has shape [0,0]");
}

#[test]
fn the_server_program_is_its_own_child() {
    let models = Models::empty();
    models.add("add", &add(1.0)).add("same", &same()).add("unsupported", &unsupported());
    models.add("total", &over_all("ReduceSum"));
    let server = Server::start(models.path());
    assert_eq!(server.infer("add", ADD_REQUEST).status, 200);
    for shape in [[0, 2], [1, 0], [0, 0]] {
        let answer = server.infer("same", empty(shape)).json();
        assert_eq!(answer["outputs"][0]["shape"], serde_json::json!(shape));
    }
    for shape in [[0, 2], [1, 0]] {
        let answer = server.infer("total", empty(shape)).json();
        assert_eq!(answer["outputs"][0]["data"], serde_json::json!([0.0]));
    }
    server.infer("total", empty([0, 0])).expect_error(400, "no trial has shown");
    let (_, reason) = server.state("unsupported", "1").unwrap();
    assert!(reason.contains("ONNX Runtime can not load it"), "{reason}");
    wait_until("the child to end", || server.children().is_empty());
    let log = server.stop();
    assert!(!log.contains(NOT_TRIED), "{log}");
    let known = fs::read_to_string(cache(&models)).unwrap();
    assert_eq!(known.matches("\"survived\"").count(), 3, "{known}");
}

#[test]
fn the_child_has_no_sockets_and_ends_with_the_server() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start(models.path());
    let Some(child) = server.children().first().copied() else { return };
    let files = fs::read_dir(format!("/proc/{child}/fd")).into_iter().flatten().flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    let sockets: Vec<_> = targets.filter(|to| to.to_string_lossy().contains("socket")).collect();
    assert!(sockets.is_empty(), "{sockets:?}");
    server.kill();
    let state = || fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    wait_until("the child to end", || state().is_empty() || state().contains(") Z "));
}

#[test]
fn the_child_serves_only_its_server() {
    for arguments in [&["probe-child"][..], &["probe-child", "2"], &["probe-child", "a", "b"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("started by the server itself"), "{said}");
    }
    // It does nothing for another parent.
    assert!(run(&["probe-child", "1", "1"]).status.success());
}
