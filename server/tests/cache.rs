//! The cache: settings, responses, statistics and metrics.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use serde_json::Value;
use support::Server;
use support::models::{ADD_REQUEST, Models, add, waits};

const CACHED: &str = "cache = { bytes_max = 1048576 }\n";
const OTHER_REQUEST: &str =
    r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [3, 4]}]}"#;

/// Sums that `add` returns for a request.
#[track_caller]
fn sums(server: &Server, request: &str) -> Value {
    let answer = server.infer("add", request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["outputs"][0]["data"].clone()
}

/// Hits, misses, requests answered, rows and batches run.
fn counts(server: &Server) -> [u64; 5] {
    let statistics = server.statistics("add");
    let of = |name: &str| statistics["inference_stats"][name]["count"].as_u64().unwrap();
    let runs = |name: &str| statistics[name].as_u64().unwrap();
    let (rows, batches) = (runs("inference_count"), runs("execution_count"));
    [of("cache_hit"), of("cache_miss"), of("success"), rows, batches]
}

#[test]
fn a_repeated_request_is_a_cache_hit() {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("add/model.toml", CACHED);
    let server = Server::start(models.path());
    for _ in 0..3 {
        assert_eq!(sums(&server, ADD_REQUEST), serde_json::json!([2.0, 3.0]));
    }
    assert_eq!(sums(&server, OTHER_REQUEST), serde_json::json!([4.0, 5.0]));
    assert_eq!(counts(&server), [2, 2, 4, 2, 2]);
    let metric = |name| server.metric(name, &["model=\"add\"", "version=\"1\""]);
    assert_eq!(metric("nv_cache_num_hits_per_model"), 2.0);
    assert_eq!(metric("nv_cache_num_misses_per_model"), 2.0);
    assert_eq!(metric("skysail_cache_entries"), 2.0);
    assert!((100.0..10_000.0).contains(&metric("skysail_cache_bytes")));
    let config = server.get("/v2/models/add/config").json();
    assert_eq!(config["response_cache"]["enable"], true);
}

#[test]
fn models_have_no_cache_by_default() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start(models.path());
    for _ in 0..2 {
        sums(&server, ADD_REQUEST);
    }
    assert_eq!(counts(&server), [0, 0, 2, 2, 2]);
    assert_eq!(server.get("/v2/models/add/config").json()["response_cache"]["enable"], false);
}

#[test]
fn identical_requests_in_flight_are_coalesced() {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("add/model.toml", CACHED.to_owned() + &waits(2, 60_000));
    let server = Server::start(models.path());
    let mut same = [(); 4].map(|()| {
        let mut client = server.connect();
        client.send_request("POST", "/v2/models/add/infer", &[], ADD_REQUEST.as_bytes());
        client
    });
    server.wait_for_waiting("add", 1);
    assert_eq!(sums(&server, OTHER_REQUEST), serde_json::json!([4.0, 5.0]));
    for client in &mut same {
        let sums = client.answer().json()["outputs"][0]["data"].clone();
        assert_eq!(sums, serde_json::json!([2.0, 3.0]));
    }
    assert_eq!(counts(&server), [3, 2, 5, 2, 1]);
}

#[test]
fn a_new_version_starts_with_an_empty_cache() {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("add/model.toml", CACHED);
    let server = Server::start_with(models.path(), &["--poll-ms", "5"]);
    for _ in 0..2 {
        assert_eq!(sums(&server, ADD_REQUEST), serde_json::json!([2.0, 3.0]));
    }
    models.add("add", &add(10.0));
    let new = serde_json::json!([11.0, 12.0]);
    support::wait_until("the new files", || sums(&server, ADD_REQUEST) == new);
    models.add_version("add", 2, &add(20.0));
    let new = serde_json::json!([21.0, 22.0]);
    support::wait_until("the new version", || sums(&server, ADD_REQUEST) == new);
}
