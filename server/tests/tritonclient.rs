//! The published clients of Triton and KServe against the server, by pytest in `clients/`.
//!
//! SKYSAIL_PYTEST_ARGS is passed to pytest. SKYSAIL_CLIENTS_PYTHON names the interpreter.

mod support;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::Server;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
const KSERVE_CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kserve_clients");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn published_clients_get_what_they_expect() {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(ROOT).join("../shared/data");
    let models = Path::new(ROOT).join("models");
    let [served, explicit, plain] =
        ["served", "explicit", "plain"].map(|name| folder.path().join(name));
    let script = Path::new(CLIENTS).join("repository.py");
    let made = python().arg(script).args([folder.path(), &models, &data]).output().unwrap();
    expect_success(&made);
    let trace = folder.path().join("trace.json");
    let trace_flags = ["--trace-file", trace.to_str().unwrap()];
    // Some models are there for the reason that they can not serve.
    let some_ready = ["--model-control", "none", "--ready-when", "any"];
    let flags = [&some_ready[..], &["--shared-memory", "/"], &trace_flags].concat();
    let all = Server::start_with(&served, &flags);
    let by_name = Server::start_with(&explicit, &["--model-control", "explicit"]);
    let nulls = Server::start_with(&plain, &["--json-non-finite", "null"]);
    let more = env::var("SKYSAIL_PYTEST_ARGS").unwrap_or_default();
    let test = |folder: &str| {
        python()
            .args(["-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", folder])
            .args(more.split_whitespace())
            .env("SKYSAIL_DATA", &data)
            .env("SKYSAIL_TRACE_FILE", &trace)
            .env("SKYSAIL_HTTP", all.http().to_string())
            .env("SKYSAIL_GRPC", all.grpc().to_string())
            .env("SKYSAIL_EXPLICIT_HTTP", by_name.http().to_string())
            .env("SKYSAIL_EXPLICIT_GRPC", by_name.grpc().to_string())
            .env("SKYSAIL_EXPLICIT_MODELS", &explicit)
            .env("SKYSAIL_NULL_HTTP", nulls.http().to_string())
            .output()
            .unwrap()
    };
    let tested = [test(CLIENTS), test(KSERVE_CLIENTS)];
    // First, so that long logs do not bury failures.
    all.stop();
    by_name.stop();
    nulls.stop();
    tested.iter().for_each(expect_success);
}

/// The interpreter with the clients.
fn python() -> Command {
    let default = || Path::new(ROOT).join("target/venv/bin/python");
    let path = env::var_os("SKYSAIL_CLIENTS_PYTHON").map_or_else(default, PathBuf::from);
    assert!(
        path.is_file(),
        "there is no {}: run `cargo xtask setup --clients`, which brings the clients",
        path.display()
    );
    let mut python = Command::new(path);
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

/// Prints the last lines of a command, and all lines if it failed.
#[expect(clippy::print_stdout, reason = "says what was tested and what was skipped")]
fn expect_success(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    // Pytest ends with 5 if SKYSAIL_PYTEST_ARGS chose no test of a folder.
    let is_well = output.status.success() || output.status.code() == Some(5);
    assert!(is_well, "{}:\n{said}\n{errors}", output.status);
    let lines: Vec<&str> = said.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(5)) {
        println!("{line}");
    }
}
