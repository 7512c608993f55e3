//! Tests of the files in `deploy/`: all names of metrics and flags in them exist.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;
#[path = "support/deploy.rs"]
mod deploy;

use std::collections::BTreeSet;
use support::Server;
use support::http::Connection;
use support::models::{ADD_REQUEST, Models, add};
use support::wait_until;

/// Names of all metrics of a server whose model has an objective and a cache.
fn exposed() -> BTreeSet<String> {
    let models = Models::empty();
    models.add("add", &add(1.0));
    models.write("add/model.toml", "objective_ms = 1000.0\ncache = { bytes_max = 1048576 }\n");
    let server = Server::start(models.path());
    assert_eq!(server.infer("add", ADD_REQUEST).status, 200);
    let text = Connection::open(server.metrics()).request("GET", "/metrics", &[], b"").text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|rest| rest.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn every_metric_in_rules_and_dashboard_exists() {
    let exposed = exposed();
    let rules = deploy::text("prometheus/skysail.rules.yml");
    let tests = deploy::text("prometheus/skysail.rules.test.yml");
    let dashboard = deploy::dashboard_queries().join("\n");
    for (what, text) in [("rules", rules), ("their test", tests), ("the dashboard", dashboard)] {
        let asked = deploy::metric_names(&text);
        assert!(asked.len() > 5, "{what}: {asked:?}");
        let missing: Vec<_> = asked.difference(&exposed).collect();
        assert!(missing.is_empty(), "{what} ask for {missing:?}, which no server has: {exposed:?}");
    }
}

#[test]
fn every_recorded_series_is_used_and_every_used_one_is_recorded() {
    let rules = deploy::text("prometheus/skysail.rules.yml");
    let recorded: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let used: BTreeSet<_> =
        rules.split(|c| !is_word(c)).filter(|word| word.starts_with("skysail:")).collect();
    assert_eq!(used, recorded);
    assert!(!recorded.is_empty());
}

#[test]
fn the_dashboard_has_its_panels_in_a_valid_grid() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&deploy::text("grafana/skysail.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let titles: Vec<_> = panels.iter().map(|panel| panel["title"].as_str().unwrap()).collect();
    for title in ["Where the time goes", "Rows per batch", "Replicas", "Shed requests by reason"] {
        assert!(titles.contains(&title), "{titles:?}");
    }
    let place = |panel: &serde_json::Value, name: &str| panel["gridPos"][name].as_u64().unwrap();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| place(panel, name));
        assert!(x + w <= 24, "{}", panel["title"]);
        let cells = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
        for cell in cells {
            assert!(taken.insert(cell), "{} lies on another", panel["title"]);
        }
    }
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
}

#[test]
fn every_flag_in_the_manifest_exists() {
    let manifest = deploy::text("kubernetes/skysail.yaml");
    let arguments = manifest.lines().filter_map(|line| line.trim().strip_prefix("- --"));
    let flags: Vec<_> = arguments.map(|text| text.split('=').next().unwrap()).collect();
    assert!(flags.contains(&"stop-timeout-ms"), "{flags:?}");
    let help = String::from_utf8(support::run(&["--help"]).stdout).unwrap();
    for flag in flags {
        assert!(help.contains(&format!("--{flag} ")), "there is no --{flag}");
    }
}

/// A probe of the manifest.
struct Probe {
    path: String,
    /// Failures in a row that count.
    failures: usize,
}

impl Probe {
    /// Reads a probe, whose port must be that of HTTP.
    fn of(manifest: &str, name: &str) -> Self {
        let (_, rest) = manifest.split_once(&format!("{name}:\n")).unwrap();
        let value = |key: &str| {
            let (_, value) = rest.split_once(&format!("{key}: ")).unwrap();
            value.split([',', ' ', '}', '\n']).next().unwrap().to_owned()
        };
        assert_eq!(value("port"), "http", "{name}");
        let is_set = rest.split("Probe:").next().unwrap().contains("failureThreshold");
        let failures = if is_set { value("failureThreshold").parse().unwrap() } else { 3 };
        Self { path: value("path"), failures }
    }

    /// True if the server passes, as the kubelet decides.
    fn passes(&self, server: &Server) -> bool {
        (0..self.failures.min(3)).any(|_| (200..400).contains(&server.get(&self.path).status))
    }
}

/// A server with the flags of the manifest, but for its paths and addresses.
fn as_deployed(manifest: &str, models: &Models) -> Server {
    let own = ["--models", "--http", "--grpc", "--metrics", "--probe-cache", "--log-format"];
    let flags = manifest.lines().filter_map(|line| line.trim().strip_prefix("- --"));
    let flags: Vec<_> = flags.map(|flag| format!("--{flag}")).collect();
    let is_own = |flag: &&str| own.iter().any(|own| flag.split('=').next() == Some(own));
    let flags: Vec<&str> = flags.iter().map(String::as_str).filter(|f| !is_own(f)).collect();
    Server::start_unready(models.path(), &flags)
}

#[test]
fn a_rollout_with_a_broken_model_replaces_no_good_server() {
    let manifest = deploy::text("kubernetes/skysail.yaml");
    assert!(manifest.contains("maxUnavailable: 0"), "a good server goes only after a ready one");
    assert!(manifest.contains("--http=0.0.0.0:8000"));
    assert!(manifest.contains("{ name: http, containerPort: 8000 }"));
    let probe = |name| Probe::of(&manifest, name);
    let [startup, readiness, liveness] =
        ["startupProbe", "readinessProbe", "livenessProbe"].map(probe);
    let models = Models::empty();
    models.add("add", &add(1.0));
    let old = as_deployed(&manifest, &models);
    wait_until("the old server to be ready", || readiness.passes(&old));
    // The model that comes with the rollout is broken.
    models.write("broken/1/model.onnx", "no model");
    let new = as_deployed(&manifest, &models);
    assert!(startup.passes(&new) && liveness.passes(&new), "it would be restarted");
    assert!(!readiness.passes(&new));
    new.wait_for_state("broken", "1", "UNAVAILABLE");
    new.wait_for_state("add", "1", "READY");
    assert!(!readiness.passes(&new), "it would replace the old one");
    assert!(startup.passes(&new) && liveness.passes(&new), "a restart would mend nothing");
    for server in [&old, &new] {
        assert_eq!(server.infer("add", ADD_REQUEST).status, 200);
    }
    assert!([&startup, &readiness, &liveness].iter().all(|probe| probe.passes(&old)));
    // With the model repaired, the rollout goes on.
    models.add("broken", &add(2.0));
    let mended = as_deployed(&manifest, &models);
    wait_until("the mended server to be ready", || readiness.passes(&mended));
}
