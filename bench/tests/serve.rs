//! `skysail-bench serve --quick` on the server of this build: every table is measured, and each figure
//! stands beside its target.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test panics")]

use std::path::{Path, PathBuf};
use std::process::Command;

const BENCH: &str = env!("CARGO_BIN_EXE_skysail-bench");

/// The server beside the benchmark. The tests of the whole project have built it; a test of this
/// package alone cannot ask cargo for it, and builds it.
fn server() -> PathBuf {
    let folder = Path::new(BENCH).parent().unwrap();
    let server = folder.join("skysail-server");
    if !server.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", "skysail-server", "--bin", "skysail-server"]);
        build.arg("--target-dir").arg(folder.parent().unwrap());
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
    }
    server
}

/// Prints these tables, with the server as both builds.
fn tables(names: &str) -> String {
    let server = server();
    let mut bench = Command::new(BENCH);
    // The workspace's folder, where ONNX Runtime's library is.
    bench.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    bench.args(["serve", "--quick", "--tables", names]);
    let output = bench.arg("--old").arg(&server).arg("--new").arg(&server).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    text
}

/// Asserts that a figure was measured: its row has a number and a verdict.
fn assert_measured(text: &str, what: &str) {
    let row = text.lines().find(|line| line.starts_with(&format!("| {what}")));
    let row = row.unwrap_or_else(|| panic!("no figure of {what}: {text}"));
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    assert!(cells[1].parse::<f64>().unwrap().is_finite(), "{row}");
    assert!(["reached", "MISSED"].contains(&cells[4]), "{row}");
}

#[test]
fn the_request_path_is_measured() {
    let text = tables("requests,paths,caller");
    for what in [
        "small, binary, 64: req/s",
        "start to first answer: ms",
        "small, binary, 64: CPU a request, new/old",
        "small, json, 64: req/s, new/old",
        "small, grpc, 64: req/s, new/old",
        "p50 relative to the bare responder's and a run",
    ] {
        assert_measured(&text, what);
    }
}

#[test]
fn many_connections_and_models_are_measured() {
    let text = tables("connections,models");
    for what in [
        "128 connections: p99 relative to p50",
        "128 connections: slowest connection, relative to the mean",
        "128 connections at rest: kB of each",
        "16 models: CPU a request, relative to one model",
        "16 idle tiny models: threads",
    ] {
        assert_measured(&text, what);
    }
}

#[test]
fn larger_models_and_bodies_are_measured() {
    let text = tables("cnn,wide,bodies");
    for what in [
        "CNN, 1 connections: req/s, new/old",
        "wide MLP, 64 connections: req/s, relative to ONNX Runtime",
    ] {
        assert_measured(&text, what);
    }
    assert!(text.contains("| 100kB | grpc | new |"), "{text}");
}

#[test]
fn loading_and_idle_memory_are_measured() {
    let text = tables("load,footprint");
    for what in [
        "load of an unseen file, relative to a session",
        "loaded: MB beyond a session",
        "unloaded: MB that remain",
        "5 one-operator models: resident MB",
        "2 replicas: MB beyond one replica's",
    ] {
        assert_measured(&text, what);
    }
}
