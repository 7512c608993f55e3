//! Starts the built server for a test, on free ports, and stops it with the test.

#![allow(dead_code, reason = "each file of tests uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test panics")]
#![allow(clippy::print_stderr, reason = "prints the log of a server that failed")]

pub(crate) mod browser;
pub(crate) mod http;
pub(crate) mod memory;
pub(crate) mod models;

use http::{Answer, Connection};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time limit of any single step of a test.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// A command of the server, without arguments.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_skysail-server"))
}

/// Runs the server with arguments that make it end by itself.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

/// Waits until `condition` returns a value.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(started.elapsed() < TIMEOUT, "waited too long for {what}");
        pause();
    }
}

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

#[expect(clippy::disallowed_methods, reason = "another process tells nobody when it is done")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// A running server. Dropping it stops it, which must succeed.
pub(crate) struct Server {
    process: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    http: SocketAddr,
    grpc: SocketAddr,
    metrics: SocketAddr,
}

impl Server {
    /// Serves a folder, and waits until every model has been loaded or has failed.
    pub(crate) fn start(models: &Path) -> Self {
        Self::start_with(models, &[])
    }

    /// Starts a server with more flags.
    pub(crate) fn start_with(models: &Path, flags: &[&str]) -> Self {
        let server = Self::start_unready(models, flags);
        wait_until("the server to start", || server.has_started());
        server
    }

    /// True once every model has been loaded or has failed.
    fn has_started(&self) -> bool {
        let index = self.post("/v2/repository/index", "").json();
        let is_loading = |entry: &Value| entry["state"] == "LOADING";
        !index.as_array().unwrap().iter().any(is_loading)
            && !self.get("/v2/health/ready").text().contains("is being read")
    }

    /// Starts a server, and waits only until it listens.
    pub(crate) fn start_unready(models: &Path, flags: &[&str]) -> Self {
        Self::start_in(models, flags, &[])
    }

    /// Starts a server with variables of its environment, and waits only until it listens.
    pub(crate) fn start_in(models: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command();
        for port in ["--http", "--grpc", "--metrics"] {
            command.args([port, "127.0.0.1:0"]);
        }
        command.arg("--models").arg(models).args(flags);
        // A test must not touch the user's own cache.
        command.env("XDG_CACHE_HOME", models.join(".cache"));
        command.envs(variables.iter().copied());
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut log = String::new();
        let addresses = loop {
            let Some(line) = lines.next() else { panic!("the server did not start:\n{log}") };
            let line = line.unwrap();
            log.push_str(&line);
            log.push('\n');
            if let Some(addresses) = addresses(&line) {
                break addresses;
            }
        };
        let [http, grpc, metrics] = addresses;
        let log = Arc::new(Mutex::new(log));
        let shared = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = shared.lock();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { process, log, reader: Some(reader), http, grpc, metrics }
    }

    /// Address of HTTP.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// Address of gRPC.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Address of the metrics.
    pub(crate) fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// Log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// A connection to the HTTP port.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.http)
    }

    /// Gets a path of the HTTP port.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.connect().request("GET", path, &[], b"")
    }

    /// Posts to a path of the HTTP port.
    pub(crate) fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.connect().request("POST", path, &[], body.as_ref())
    }

    /// Sends an inference request.
    pub(crate) fn infer(&self, model: &str, request: impl AsRef<[u8]>) -> Answer {
        self.post(&format!("/v2/models/{model}/infer"), request)
    }

    /// State and reason of a version in the index.
    ///
    /// A model without a readable version has the version "".
    pub(crate) fn state(&self, model: &str, version: &str) -> Option<(String, String)> {
        let index = self.post("/v2/repository/index", "").json();
        let of_version = |entry: &&Value| entry["name"] == model && entry["version"] == version;
        let entry = index.as_array().unwrap().iter().find(of_version)?;
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        Some((text("state"), text("reason")))
    }

    /// Waits until a version is in a state, and returns the reason.
    pub(crate) fn wait_for_state(&self, model: &str, version: &str, state: &str) -> String {
        wait_for(&format!("{model} {version} to be {state}"), || {
            self.state(model, version).filter(|(is, _)| is == state).map(|(_, reason)| reason)
        })
    }

    /// The statistics of a model's newest version.
    pub(crate) fn statistics(&self, model: &str) -> Value {
        let answer = self.get(&format!("/v2/models/{model}/stats")).json();
        answer["model_stats"].as_array().unwrap().last().unwrap().clone()
    }

    /// Rows that a model has run.
    pub(crate) fn rows_run(&self, model: &str) -> u64 {
        self.statistics(model)["inference_count"].as_u64().unwrap()
    }

    /// Sum of a metric over all series with these labels, such as `model="add"`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = Connection::open(self.metrics).request("GET", "/metrics", &[], b"").text();
        let is_wanted = |line: &&str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
            rest.is_some_and(|rest| labels.iter().all(|label| rest.contains(label)))
        };
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        text.lines().filter(is_wanted).map(value).sum()
    }

    /// Requests that wait in a model's queue.
    pub(crate) fn waiting(&self, model: &str) -> u64 {
        let model = format!("model=\"{model}\"");
        self.metric("nv_inference_pending_request_count", &[&model]) as u64
    }

    /// Cancelled requests of a model.
    pub(crate) fn cancelled(&self, model: &str) -> u64 {
        let model = format!("model=\"{model}\"");
        self.metric("nv_inference_request_failure", &[&model, "reason=\"CANCELED\""]) as u64
    }

    /// Waits until this many requests wait in a model's queue.
    pub(crate) fn wait_for_waiting(&self, model: &str, requests: u64) {
        wait_until(&format!("{requests} requests to wait"), || self.waiting(model) == requests);
    }

    /// Peak memory of the process in bytes.
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Number of its threads.
    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap().count()
    }

    /// Ids of its running child processes.
    pub(crate) fn children(&self) -> Vec<u32> {
        let id = self.process.id();
        let tasks = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
        let of_task = |task: std::io::Result<std::fs::DirEntry>| {
            let children = std::fs::read_to_string(task.unwrap().path().join("children"));
            let ids = children.unwrap_or_default();
            ids.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>()
        };
        tasks.flat_map(of_task).collect()
    }

    /// Kills the process, as a crash would.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.wait_for_end();
    }

    /// Sends SIGTERM.
    pub(crate) fn tell_to_stop(&self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
    }

    /// Waits for the end of the process.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let status = wait_for("the server to end", || self.process.try_wait().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    /// Stops the server, whose exit code must be 0, and returns its log.
    pub(crate) fn stop(mut self) -> String {
        self.end();
        self.log()
    }

    fn end(&mut self) {
        self.tell_to_stop();
        let status = self.wait_for_end();
        assert!(status.success(), "the server ended with {status}:\n{}", self.log());
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let runs = self.reader.is_some();
        if runs && std::thread::panicking() {
            drop(self.process.kill());
            drop(self.process.wait());
            let log = self.log();
            eprintln!("log of the server:\n{log}");
        } else if runs {
            self.end();
        }
    }
}

/// Parses the addresses of HTTP, gRPC and metrics from their line of the log.
fn addresses(line: &str) -> Option<[SocketAddr; 3]> {
    let (_, rest) = line.split_once("HTTP on ")?;
    let mut words = rest.split([' ', ',']).filter_map(|word| word.parse().ok());
    Some([words.next()?, words.next()?, words.next()?])
}
