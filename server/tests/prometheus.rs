//! The metrics in Prometheus.
//!
//! promtool accepts the metrics, the rules and their tests. A real Prometheus scrapes a server and
//! answers the queries of the dashboard.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test panics")]

mod support;
#[path = "support/deploy.rs"]
mod deploy;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use support::http::Connection;
use support::models::{ADD_REQUEST, Models, add};
use support::{Server, wait_for, wait_until};
use tempfile::TempDir;

/// A program of Prometheus; `None` if it is not installed.
#[expect(clippy::print_stdout, reason = "says that a test was skipped")]
fn tool(name: &str) -> Option<Command> {
    let version = Command::new(name).arg("--version").stderr(Stdio::null()).output();
    if version.is_ok_and(|output| output.status.success()) {
        return Some(Command::new(name));
    }
    println!("skipped: there is no {name}");
    None
}

/// Serves `add` with an objective and a cache, after a response, a failure and a cache hit.
///
/// The folder must outlive the server.
fn server() -> (Server, Models) {
    let models = Models::empty();
    models.add("add", &add(1.0));
    models.write("add/model.toml", "objective_ms = 1000.0\ncache = { bytes_max = 1048576 }\n");
    let server = Server::start(models.path());
    for _ in 0..3 {
        assert_eq!(server.infer("add", ADD_REQUEST).status, 200);
    }
    assert_eq!(server.infer("add", "{}").status, 400);
    (server, models)
}

fn metrics(server: &Server, headers: &[&str]) -> String {
    Connection::open(server.metrics()).request("GET", "/metrics", headers, b"").text()
}

/// Runs `promtool check metrics` on a page. Returns success and output.
fn check_metrics(mut promtool: Command, page: &str) -> (bool, String) {
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut check = promtool.stdout(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    (output.status.success(), said(&output))
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// Selects families by name.
fn families(page: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    let name = |line: &str| {
        let line = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ").to_owned();
        line.split([' ', '{']).next().unwrap_or_default().to_owned()
    };
    let lines = page.lines().filter(|line| is_wanted(&name(line)));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn promtool_accepts_the_metrics() {
    let Some(promtool) = tool("promtool") else { return };
    let page = metrics(&server().0, &[]);
    let own = families(&page, |name| !name.starts_with("nv_"));
    assert!(own.contains("skysail_stage_duration_seconds_bucket"), "{page}");
    let (is_content, said) = check_metrics(promtool, &own);
    assert!(is_content, "{said}");
}

/// Triton's names break Prometheus' conventions for units and endings. Nothing else may be wrong.
#[test]
fn only_the_names_of_tritons_metrics_are_criticized() {
    let Some(promtool) = tool("promtool") else { return };
    let (_, said) = check_metrics(promtool, &metrics(&server().0, &[]));
    for line in said.lines() {
        let of_name = ["abbreviated units", "suffix", "base unit"];
        let is_known = line.starts_with("nv_") && of_name.iter().any(|words| line.contains(words));
        assert!(is_known, "{line}");
    }
}

#[test]
fn promtool_accepts_the_rules_and_the_settings() {
    let folder = deploy::path("prometheus");
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "skysail.rules.yml"],
        ["test", "rules", "skysail.rules.test.yml"],
    ] {
        let Some(mut promtool) = tool("promtool") else { return };
        let output = promtool.args(arguments).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains("SUCCESS"), "{arguments:?}: {}", said(&output));
    }
}

/// A Prometheus that scrapes a server, five times a second, until the test ends.
struct Prometheus {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    fn start(mut command: Command, server: &Server, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = deploy::text("prometheus/prometheus.yml")
            .replace("127.0.0.1:8002", &server.metrics().to_string())
            .replace("15s", "200ms")
            .replace(
                "skysail.rules.yml",
                deploy::path("prometheus/skysail.rules.yml").to_str().unwrap(),
            );
        assert!(settings.contains(&server.metrics().to_string()));
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, settings).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Self { process, address, _folder: folder };
        wait_until("Prometheus to listen", || TcpStream::connect(prometheus.address).is_ok());
        wait_until("it to be ready", || {
            let answer = Connection::open(prometheus.address).request("GET", "/-/ready", &[], b"");
            answer.status == 200
        });
        prometheus
    }

    /// Gets a path of its API, by HTTP/1.0, which has no chunked responses.
    fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Result of a query: series with values.
    fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let answer = self.get(&format!("/api/v1/query?query={query}"));
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// Waits until all rules have been evaluated without errors.
    fn expect_rules(&self) {
        let rules = wait_for("all rules", || {
            let answer = self.get("/api/v1/rules");
            let groups = answer["data"]["groups"].as_array()?.clone();
            let rules: Vec<_> = groups
                .iter()
                .filter_map(|group| group["rules"].as_array())
                .flatten()
                .cloned()
                .collect();
            let are_known = rules.iter().all(|rule| rule["health"] != "unknown");
            (are_known && !rules.is_empty()).then_some(rules)
        });
        for rule in rules {
            assert_eq!(rule["health"], "ok", "{rule}");
        }
    }

    /// Waits for a query to have one value.
    fn value(&self, query: &str) -> f64 {
        wait_for(query, || {
            let series = self.query(query).unwrap();
            let value = series.first()?["value"][1].as_str()?.parse::<f64>().unwrap();
            (!value.is_nan()).then_some(value)
        })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Checks what a Prometheus with these flags has stored of a server.
fn expect_scraped(flags: &[&str], count: &str, p99: &str) {
    let Some(command) = tool("prometheus") else { return };
    let (server, _models) = server();
    let prometheus = Prometheus::start(command, &server, flags);
    assert_eq!(prometheus.value(r#"up{job="skysail"}"#), 1.0);
    assert_eq!(prometheus.value(r#"nv_inference_request_success{model="add"}"#), 3.0);
    assert_eq!(prometheus.value(r#"sum(skysail_requests_total{outcome="failed"})"#), 1.0);
    assert_eq!(prometheus.value(count), 3.0);
    let p99 = prometheus.value(p99);
    assert!((1e-6..10.0).contains(&p99), "{p99}");
    assert_eq!(server.infer("add", ADD_REQUEST).status, 200);
    assert_eq!(prometheus.value(r#"skysail:late_requests:ratio_rate5m{model="add"}"#), 0.0);
    let p99 = prometheus.value(r#"skysail:request_duration_seconds:p99{model="add"}"#);
    assert!((1e-6..10.0).contains(&p99), "{p99}");
    prometheus.expect_rules();
    for query in deploy::dashboard_queries() {
        if let Err(error) = prometheus.query(&query) {
            panic!("{query}: {error}");
        }
    }
    // A late scrape or an open connection must not keep the server from stopping.
    server.stop();
}

#[test]
fn prometheus_stores_native_histograms() {
    let stage = r#"skysail_stage_duration_seconds{model="add", stage="respond"}"#;
    expect_scraped(
        &["--enable-feature=native-histograms"],
        &format!("histogram_count({stage})"),
        &format!("histogram_quantile(0.99, {stage})"),
    );
}

#[test]
fn prometheus_stores_classic_histograms() {
    let stage = r#"{model="add", stage="respond"}"#;
    let name = "skysail_stage_duration_seconds";
    expect_scraped(
        &[],
        &format!("{name}_count{stage}"),
        &format!("histogram_quantile(0.99, {name}_bucket{stage})"),
    );
}
