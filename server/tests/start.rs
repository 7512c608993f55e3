//! Starting the server, and errors at the start.

mod support;

use std::net::TcpListener;
use std::process::Output;
use support::models::{Models, digits_request};
use support::{Server, command, run};

/// Checks the exit code and the message of a command that fails to start.
#[track_caller]
fn expect_failed_start(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "'{word}' is not in: {said}");
    }
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let models = Models::digits();
    let folder = models.path().to_str().unwrap();
    for flag in ["--http", "--grpc", "--metrics"] {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let mut arguments = vec!["--models", folder];
        for port in ["--http", "--grpc", "--metrics"] {
            let address = if port == flag { &address } else { "127.0.0.1:0" };
            arguments.extend([port, address]);
        }
        expect_failed_start(&run(&arguments), 1, &[&address, flag, "choose another", "in use"]);
    }
}

#[test]
fn a_missing_runtime_is_an_error_with_the_command_to_install_it() {
    let models = Models::digits();
    let start = |library: &std::path::Path| {
        let mut command = command();
        for port in ["--http", "--grpc", "--metrics"] {
            command.args([port, "127.0.0.1:0"]);
        }
        command.arg("--models").arg(models.path());
        command.env("SKYSAIL_ONNXRUNTIME", library).output().unwrap()
    };
    let missing = models.path().join("nothing-here");
    let words = ["nothing-here", "ONNX Runtime is missing", "cargo xtask setup"];
    expect_failed_start(&start(&missing), 1, &words);

    let broken = models.path().join("libonnxruntime.so");
    std::fs::write(&broken, "no library").unwrap();
    expect_failed_start(&start(&broken), 1, &["libonnxruntime.so", "can not be used"]);
}

#[test]
fn a_bad_configuration_is_an_error_with_line_and_key() {
    let models = Models::digits();
    models.write("server.toml", "[limits]\nbody_bytes_max = 1000\nbody_max = 5\n");
    let file = models.path().join("server.toml");
    let output = run(&["--config", file.to_str().unwrap()]);
    expect_failed_start(&output, 64, &["server.toml", "line 3", "body_max"]);

    models.write("server.toml", "[limits]\nbody_bytes_max = \"much\"\n");
    let output = run(&["--config", file.to_str().unwrap()]);
    expect_failed_start(&output, 64, &["line 2", "body_bytes_max"]);

    models.write("server.toml", "[listen]\nhttp = \"nowhere\"\n");
    let output = run(&["--config", file.to_str().unwrap()]);
    expect_failed_start(&output, 64, &["line 2", "http"]);

    models.write("server.toml", "[latency]\nobjective_ms = \"soon\"\n");
    let output = run(&["--config", file.to_str().unwrap()]);
    expect_failed_start(&output, 64, &["line 2", "objective_ms"]);

    expect_failed_start(&run(&["--config", "no/such/file.toml"]), 64, &["no/such/file.toml"]);
}

#[test]
fn invalid_settings_are_errors() {
    let models = Models::digits();
    let folder = models.path().to_str().unwrap();
    let with = |flags: &[&str]| run(&[&["--models", folder][..], flags].concat());
    expect_failed_start(&run(&["--models", "no/such/folder"]), 64, &["no/such/folder"]);
    expect_failed_start(&with(&["--connections-max", "0"]), 64, &["connections_max"]);
    for ms in ["0", "-5", "NaN", "inf", "0.0001"] {
        expect_failed_start(
            &with(&["--objective-ms", ms]),
            64,
            &["objective-ms", "at least 0.001"],
        );
    }
    expect_failed_start(&with(&["--objective-ms", "soon"]), 2, &["--objective-ms", "soon"]);
    expect_failed_start(&with(&["--load-model", "digits"]), 64, &["explicit", "named"]);
    expect_failed_start(&with(&["--ready-when", "named"]), 64, &["needs load-model"]);
    let untold = ["--otlp", "http://localhost:4317", "--request-records", "false"];
    expect_failed_start(&with(&untold), 64, &["otlp needs request-records"]);
    expect_failed_start(&with(&["--trace-file", folder]), 1, &["--trace-file", folder]);
    expect_failed_start(&with(&["--no-such-flag"]), 2, &["--no-such-flag", "--help"]);
    expect_failed_start(&with(&["--http", "nowhere"]), 2, &["--http", "nowhere"]);
    expect_failed_start(&with(&["--model-control", "often"]), 2, &["often", "poll", "explicit"]);
}

#[test]
fn an_empty_folder_is_ready_and_has_no_models() {
    let models = Models::empty();
    let server = Server::start(models.path());
    assert_eq!(server.post("/v2/repository/index", "").text(), "[]");
    server.infer("digits", digits_request()).expect_error(404, "no model 'digits'");
}
