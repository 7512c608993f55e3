//! `skysail-load run` as a user runs it, against a small responder.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test panics")]

mod responder;
#[path = "run/arrivals.rs"]
mod arrivals;
#[path = "run/transports.rs"]
mod transports;
#[path = "run/reports.rs"]
mod reports;

use responder::{Responder, STALL};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const SHORT: [&str; 4] = ["--warm-up", "0s", "--duration", "300ms"];

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skysail-load"));
    command.args(["run", "--url", url]).args(arguments);
    command
}

fn load(url: &str, arguments: &[&str]) -> Output {
    command(url, arguments).output().unwrap()
}

fn report(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {errors}"))
}

fn short(responder: &Responder, arguments: &[&str]) -> Value {
    let output = load(&responder.url(), &[arguments, &SHORT, &["--output", "json"]].concat());
    let report = report(&output);
    // A busy machine may make the generator late, which is no fault of the code.
    assert!(output.status.success() || report["invalid_because"].is_string(), "{report}");
    report
}

fn failed(url: &str, arguments: &[&str]) -> (i32, String) {
    let output = load(url, arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_closed_loop_counts_the_requests_that_the_server_saw() {
    let responder = Responder::start();
    let report = short(&responder, &["--model", "digits", "--connections", "4", "--rows", "2"]);
    assert_eq!(report["arrival"], "closed");
    assert_eq!(report["failed"], 0);
    assert_eq!(report["rows_per_request"], 2);
    // The first request is a trial and does not count.
    assert_eq!(report["answered"].as_u64().unwrap() + 1, responder.inferred());
    let per_s = report["answered"].as_f64().unwrap() / report["elapsed_s"].as_f64().unwrap();
    // Up to four were still in flight when the measurement ended.
    let late_per_s = per_s - report["requests_per_s"].as_f64().unwrap();
    assert!((-1e-6..=4.0 / 0.3 + 1e-6).contains(&late_per_s), "{report}");
    assert!(report["latency_us_p50"].as_f64() <= report["latency_us_p99"].as_f64());
    assert_eq!(report["send_delay_us_p99"], Value::Null);

    let request: Value = serde_json::from_slice(&responder.last().body).unwrap();
    assert_eq!(request["inputs"][0]["shape"], serde_json::json!([2, 4]));
    assert_eq!(request["inputs"][0]["data"].as_array().unwrap().len(), 8);
}

#[test]
fn an_open_loop_sends_at_its_rate() {
    let responder = Responder::start();
    let report = short(&responder, &["--model", "digits", "--rate", "500", "--protocol", "binary"]);
    assert_eq!(report["arrival"], "open");
    assert_eq!(report["requests"], 150);
    assert_eq!(report["connections"], 128);
    assert!(report["send_delay_us_p99"].is_number());

    let last = responder.last();
    let json_length = last.headers["inference-header-content-length"].to_str().unwrap();
    assert_eq!(last.body.len() - json_length.parse::<usize>().unwrap(), 16);
}

#[test]
fn grpc_sends_raw_tensors() {
    let responder = Responder::start();
    let flags = ["--model", "digits", "--version", "3", "--protocol", "grpc"];
    let report = short(&responder, &[&flags[..], &["--rate", "300"]].concat());
    assert_eq!(report["answered"], 90);
    let request = responder.last().grpc();
    assert_eq!((&*request.model_name, &*request.model_version), ("digits", "3"));
    assert_eq!(request.raw_input_contents[0].len(), 8);
    short(&responder, &[&flags[..], &["--connections", "3"]].concat());
}

#[test]
fn a_stall_shows_in_every_request_that_it_delayed() {
    let responder = Responder::start();
    let flags = ["--model", "stalls", "--rate", "400", "--output", "json"];
    let times = ["--warm-up", "0s", "--duration", "800ms"];
    let report = report(&load(&responder.url(), &[&flags[..], &times].concat()));
    assert_eq!(report["answered"], 320);
    let stall_us = STALL.as_micros() as f64;
    // 120 requests were due during the stall, one every 2.5 ms of it.
    assert!(report["latency_us_p99"].as_f64().unwrap() > 0.9 * stall_us, "{report}");
    assert!(report["latency_us_p90"].as_f64().unwrap() > 0.5 * stall_us, "{report}");
    assert!(report["latency_us_p50"].as_f64().unwrap() < 0.5 * stall_us, "{report}");
}

#[test]
fn waiting_for_a_connection_is_latency_too() {
    let responder = Responder::start();
    let flags = ["--model", "stalls", "--rate", "400", "--connections", "1"];
    let times = ["--warm-up", "0s", "--duration", "800ms", "--output", "json"];
    let report = report(&load(&responder.url(), &[&flags[..], &times].concat()));
    assert_eq!(report["answered"], 320);
    assert!(report["waited_for_connection"].as_u64().unwrap() > 100, "{report}");
    assert!(report["latency_us_p90"].as_f64().unwrap() > 50_000.0, "{report}");
}

#[test]
fn a_request_may_come_from_a_file() {
    let responder = Responder::start();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let request = r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[[1,2,3,4]]}]}"#;
    file.write_all(request.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    short(&responder, &["--model", "digits", "--version", "1", "--input", path]);
    let last = responder.last();
    assert_eq!(last.path, "/v2/models/digits/versions/1/infer");
    let sent: Value = serde_json::from_slice(&last.body).unwrap();
    assert_eq!(sent["inputs"][0]["data"], serde_json::json!([1.0, 2.0, 3.0, 4.0]));

    let (code, message) = failed(&responder.url(), &["--model", "digits", "--input", "absent"]);
    assert_eq!(code, 1);
    assert!(message.contains("cannot read absent: No such file"), "{message}");
}

#[test]
fn refused_requests_are_counted_by_message() {
    let responder = Responder::start();
    let flags = ["--model", "refuses", "--output", "json"];
    let output = load(&responder.url(), &[&flags[..], &SHORT].concat());
    assert_eq!(output.status.code(), Some(1));
    let report = report(&output);
    assert_eq!(report["answered"], 0);
    assert_eq!(report["latency_us_p99"], Value::Null);
    assert_eq!(report["failures"][0]["message"], "503: the queue is full");
    assert_eq!(report["failures"][0]["count"], report["failed"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no request was answered"));
    assert_eq!(report["rejected"], report["failed"]);
    assert!(report["rejection_us_p99"].as_f64() <= report["rejection_us_max"].as_f64());
}

#[test]
fn answers_within_the_objective_are_goodput() {
    let responder = Responder::start();
    let flags = ["--model", "stalls", "--rate", "400", "--objective-ms", "100"];
    let times = ["--warm-up", "0s", "--duration", "800ms"];
    let json = [&flags[..], &times, &["--output", "json"]].concat();
    let seen = report(&load(&responder.url(), &json));
    assert_eq!((&seen["objective_us"], &seen["rejected"]), (&100_000.0.into(), &0.into()));
    // Requests that were due in the first 200 ms of the stall waited for longer than the objective.
    let in_time = seen["in_time"].as_u64().unwrap();
    assert!(in_time <= seen["answered"].as_u64().unwrap() - 75, "{seen}");
    let per_s = in_time as f64 / seen["elapsed_s"].as_f64().unwrap();
    assert!((seen["goodput_requests_per_s"].as_f64().unwrap() / per_s - 1.0).abs() < 1e-6);

    let output = load(&responder.url(), &[&flags[..], &times].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("goodput ") && text.contains(" within 100.00 ms, "), "{text}");
}

#[test]
fn hopeless_commands_fail_at_once() {
    let responder = Responder::start();
    let url = responder.url();
    for (arguments, expected) in [
        (&["--model", "unknown"][..], "does not describe the model `unknown`: 404: no model"),
        (&["--model", "digits", "--shape", "z:1"], "the model has no input `z`; it has x"),
        (&["--model", "digits", "--shape", "x:1,5"], "has the shape [-1, 4]"),
        (&["--model", "half"], "input `x` is FP16, which JSON cannot carry"),
    ] {
        let (code, message) = failed(&url, arguments);
        assert_eq!(code, 1);
        assert!(message.contains(expected), "{message}");
    }
    let (code, message) = failed("http://127.0.0.1:1", &["--model", "digits"]);
    assert_eq!(code, 1);
    assert!(message.contains("is a server running at http://127.0.0.1:1?"), "{message}");
    let (code, message) = failed("http://127.0.0.1:1", &["--model", "m", "--protocol", "grpc"]);
    assert_eq!(code, 1);
    assert!(message.contains("is a server running at http://127.0.0.1:1?"), "{message}");
}

#[test]
fn bad_usage_has_its_own_exit_code() {
    for (arguments, expected) in [
        (&["--model", "m", "--rate", "0"][..], "a rate is a number above 0"),
        (&["--model", "m", "--duration", "10"], "write a number and a unit"),
        (&["--model", "m", "--connections", "0"], "0"),
        (&["--model", "m", "--objective-ms", "0"], "milliseconds, a number above 0"),
        (&["--model", "m", "--protocol", "smtp"], "one of json, binary, grpc and grpc-stream"),
        (&["--model", "m", "--input", "f", "--rows", "2"], "cannot be used with"),
        (&[], "--model"),
    ] {
        let (code, message) = failed("http://127.0.0.1:1", arguments);
        assert_eq!(code, 2, "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let (code, message) = failed("127.0.0.1:8000", &["--model", "m"]);
    assert_eq!(code, 2);
    assert!(message.contains("it does not begin with http://"), "{message}");
}

#[test]
fn a_server_that_goes_away_fails_the_rest() {
    for protocol in ["json", "grpc"] {
        let responder = Responder::start();
        let flags = ["--model", "digits", "--protocol", protocol, "--output", "json"];
        let times = ["--connections", "2", "--warm-up", "0s", "--duration", "500ms"];
        let child = command(&responder.url(), &[&flags[..], &times].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        responder.wait_inferred(100);
        drop(responder);
        let report = report(&child.wait_with_output().unwrap());
        assert!(report["answered"].as_u64().unwrap() >= 97, "{report}");
        // Each connection retries slowly.
        assert!((2..30).contains(&report["failed"].as_u64().unwrap()), "{report}");
        let connect = report["failures"]
            .as_array()
            .unwrap()
            .iter()
            .any(|failure| failure["message"].as_str().unwrap().starts_with("cannot connect"));
        assert!(connect, "{report}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_a_run_with_its_report() {
    let responder = Responder::start();
    let child = command(&responder.url(), &["--model", "digits", "--warm-up", "0s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    responder.wait_inferred(100);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("digits at http://127.0.0.1"), "{text}");
    assert!(text.contains("latency p99"), "{text}");
}
