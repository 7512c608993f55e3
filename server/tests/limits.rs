//! The server's limits: a request beyond one waits, or gets an error that names the flag or setting.

mod support;

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use support::Server;
use support::http::{Answer, Connection};
use support::models::{ADD_REQUEST, Models, SLOW_REQUEST, add, slow, texts, waits};

const INFER: &str = "/v2/models/add/infer";

/// A request that is a whole batch.
const TWO_ROWS: &str =
    r#"{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]}"#;

/// A model whose batches wait for two requests, or longer than a test takes.
fn waiting_model() -> Models {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("add/model.toml", waits(2, 60_000));
    models
}

/// Clients that keep a model busy.
const BUSY: u64 = 8;

/// [`ADD_REQUEST`], padded with blanks.
fn padded(bytes: usize) -> String {
    format!("{ADD_REQUEST:bytes$}")
}

/// Checks that an error has retry advice.
#[track_caller]
fn expect_retry(rejected: &Answer) {
    let headers = ["retry-after", "retry-after-ms"].map(|name| rejected.header(name));
    assert_eq!(headers, [Some("1"), Some("1000")]);
}

/// Requests for `add` that were shed for a reason.
fn shed_requests(server: &Server, reason: &str) -> f64 {
    let labels = ["model=\"add\"", "version=\"1\"", &format!("reason=\"{reason}\"")];
    server.metric("skysail_shed_requests_total", &labels)
}

#[test]
fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start_with(models.path(), &["--body-bytes-max", "1000"]);
    assert_eq!(server.infer("add", padded(1000)).status, 200);
    server.infer("add", padded(1001)).expect_error(413, "larger than 1000 bytes");
    server.post("/v2/repository/index", padded(1001)).expect_error(413, "--body-bytes-max");
    assert_eq!(server.infer("add", padded(1000)).status, 200);
}

#[test]
fn other_bodies_than_inference_have_a_small_limit() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start(models.path());
    let blanks = |bytes: usize| "{}".to_owned() + &" ".repeat(bytes - 2);
    for path in ["/v2/repository/index", "/v2/logging", "/v2/trace/setting"] {
        assert_eq!(server.post(path, blanks(1 << 20)).status, 200, "{path}");
        server.post(path, blanks((1 << 20) + 1)).expect_error(413, "larger than 1048576 bytes");
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(blanks(2 << 20).as_bytes()).unwrap();
    let (body, headers) = (gzip.finish().unwrap(), ["content-encoding: gzip"]);
    let bomb = server.connect().request("POST", "/v2/logging", &headers, &body);
    bomb.expect_error(413, "larger than 1048576 bytes");
    assert_eq!(server.infer("add", ADD_REQUEST.to_owned() + &blanks(2 << 20)[2..]).status, 200);
}

#[test]
fn a_connection_over_the_limit_waits() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start_with(models.path(), &["--connections-max", "1"]);
    let mut first = server.connect();
    assert_eq!(first.request("GET", "/v2", &[], b"").status, 200);
    let mut second = server.connect();
    second.send_request("POST", INFER, &[], ADD_REQUEST.as_bytes());
    // The first still works, and nothing has run for the second.
    let statistics = first.request("GET", "/v2/models/add/stats", &[], b"").json();
    assert_eq!(statistics["model_stats"][0]["inference_count"], 0);
    drop(first);
    assert_eq!(second.answer().status, 200);
}

#[test]
fn a_request_over_the_in_flight_limit_has_retry_advice() {
    let models = waiting_model();
    let server = Server::start_with(models.path(), &["--requests-max", "1"]);
    let mut first = server.connect();
    first.send_request("POST", INFER, &[], ADD_REQUEST.as_bytes());
    server.wait_for_waiting("add", 1);
    let rejected = server.infer("add", ADD_REQUEST);
    rejected.expect_error(503, "1 requests in flight, its limit; try again later");
    expect_retry(&rejected);
    assert_eq!(shed_requests(&server, "busy"), 1.0);
    // Other requests than inference are not counted.
    assert_eq!(server.get("/v2/models/add").status, 200);
    drop(first);
    support::wait_until("a free place", || server.infer("add", TWO_ROWS).status == 200);
}

#[test]
fn bodies_share_one_memory_budget() {
    let models = waiting_model();
    let server = Server::start_with(models.path(), &["--in-flight-bytes-max", "2500"]);
    let mut first = server.connect();
    first.send_request("POST", INFER, &[], padded(2000).as_bytes());
    server.wait_for_waiting("add", 1);
    let rejected = server.infer("add", padded(1000));
    rejected.expect_error(503, "2500 bytes of bodies, its limit");
    expect_retry(&rejected);
    assert_eq!(shed_requests(&server, "busy"), 1.0);
    // A smaller one fits, and fills the batch.
    assert_eq!(server.infer("add", padded(300)).status, 200);
    assert_eq!(first.answer().status, 200);
    assert_eq!(server.infer("add", format!("{TWO_ROWS:2500}")).status, 200);
}

/// Sends this many raw texts of one byte to the model `texts`.
fn send_texts(server: &Server, count: usize) -> Answer {
    let parameters = r#""parameters": {"binary_data_output": true}"#;
    let own = format!(r#""parameters": {{"binary_data_size": {}}}"#, 5 * count);
    let json = format!(
        r#"{{{parameters}, "inputs": [{{"name": "x", "shape": [{count}], "datatype": "BYTES", {own}}}]}}"#
    );
    let header = format!("Inference-Header-Content-Length: {}", json.len());
    let body = [json.as_bytes(), &b"\x01\0\0\0a".repeat(count)].concat();
    server.connect().request("POST", "/v2/models/texts/infer", &[&header], &body)
}

#[test]
fn texts_count_with_what_a_run_takes_for_them() {
    const COUNT: usize = 1 << 20;
    let models = Models::empty();
    models.add("texts", &texts());
    let server = Server::start_with(models.path(), &["--in-flight-bytes-max", "120000000"]);
    assert_eq!(send_texts(&server, 10).status, 200);
    let before = server.peak_memory_bytes();
    let answer = send_texts(&server, COUNT);
    assert_eq!(answer.status, 200);
    assert!(answer.body.ends_with(&b"\x01\0\0\0a".repeat(COUNT)));
    let after = server.peak_memory_bytes();
    assert!(after < before + 120_000_000, "{before} bytes became {after}");
    let large = send_texts(&server, 2 * COUNT);
    large.expect_error(413, "raise the server's flag --in-flight-bytes-max");
    assert!(large.header("retry-after").is_none());
    assert_eq!(send_texts(&server, COUNT).status, 200);
    let again = server.peak_memory_bytes();
    assert!(again < before + 120_000_000, "{before} bytes became {again}: a run keeps its texts");
}

#[test]
fn a_full_queue_rejects_with_its_limit() {
    let models = waiting_model();
    models.write("add/model.toml", waits(3, 60_000) + "[queue]\nrequests_max = 2\n");
    let server = Server::start(models.path());
    let mut waiting = [(); 2].map(|()| server.connect());
    for client in &mut waiting {
        client.send_request("POST", INFER, &[], ADD_REQUEST.as_bytes());
    }
    server.wait_for_waiting("add", 2);
    let rejected = server.infer("add", ADD_REQUEST);
    rejected.expect_error(503, "'add' has 2 requests waiting, its limit; try again later");
    expect_retry(&rejected);
    let of_all = ["queue_full", "overloaded", "expired", "busy"];
    assert_eq!(of_all.map(|reason| shed_requests(&server, reason)), [1.0, 0.0, 0.0, 0.0]);
    let failures = ["model=\"add\"", "reason=\"REJECTED\""];
    assert_eq!(server.metric("nv_inference_request_failure", &failures), 1.0);
    // Clients that left free their places in the queue.
    let [mut stays, leaves] = waiting;
    drop(leaves);
    support::wait_until("a place in the queue", || server.infer("add", TWO_ROWS).status == 200);
    assert_eq!(stays.answer().status, 200);
}

#[test]
fn a_request_expires_at_its_timeout() {
    let models = waiting_model();
    let server = Server::start(models.path());
    let answer = server.infer("add", with_timeout(ADD_REQUEST, 20_000));
    answer.expect_error(504, "longer than its timeout of 20000 us");
    assert_eq!(server.rows_run("add"), 0);
    assert_eq!(shed_requests(&server, "expired"), 1.0);
}

/// Clients that keep the model `slow` busy, with timeouts of minutes.
fn keep_busy(server: &Server) -> [Connection; BUSY as usize] {
    let request = with_timeout(SLOW_REQUEST, 600_000_000);
    let clients = [(); BUSY as usize].map(|()| {
        let mut client = server.connect();
        client.send_request("POST", "/v2/models/slow/infer", &[], request.as_bytes());
        client
    });
    support::wait_until("every replica to be busy", || server.waiting("slow") > 0);
    clients
}

/// A request with its own timeout.
fn with_timeout(request: &str, us: u64) -> String {
    request.replacen('{', &format!("{{\"parameters\": {{\"timeout\": {us}}},"), 1)
}

#[test]
fn a_request_that_can_not_meet_its_timeout_is_rejected_at_once() {
    let models = Models::empty();
    models.add("slow", &slow());
    let server = Server::start(models.path());
    let busy = keep_busy(&server);
    let rejected = server.infer("slow", with_timeout(SLOW_REQUEST, 5000));
    rejected.expect_error(503, "'slow' is overloaded: an answer within 5000 us is not possible");
    assert!(server.rows_run("slow") < BUSY, "it was told when the others were done");
    assert!(
        rejected.header("retry-after").is_some() && rejected.header("retry-after-ms").is_some()
    );
    let labels = ["model=\"slow\"", "reason=\"overloaded\""];
    assert_eq!(server.metric("skysail_shed_requests_total", &labels), 1.0);
    assert!(busy.map(|mut client| client.answer().status).iter().all(|&status| status == 200));
}

#[test]
fn a_request_that_can_not_meet_the_objective_is_rejected_at_once() {
    let models = Models::empty();
    models.add("slow", &slow()).write("slow/model.toml", "[replicas]\ncount = 1\n");
    // The engine raises it to the time that a request needs behind another.
    let server = Server::start_with(models.path(), &["--objective-ms", "5"]);
    let mut clients = [(); BUSY as usize].map(|()| server.connect());
    for client in &mut clients {
        client.send_request("POST", "/v2/models/slow/infer", &[], SLOW_REQUEST.as_bytes());
    }
    let answers = clients.map(|mut client| client.answer());
    let (answered, rejected): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
    assert!(!answered.is_empty() && !rejected.is_empty());
    for answer in rejected {
        answer.expect_error(503, "'slow' is overloaded: ");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
}

#[test]
fn an_objective_is_a_metric() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let objective = |flags: &[&str]| {
        let server = Server::start_with(models.path(), flags);
        server.metric("skysail_objective_seconds", &["model=\"add\"", "version=\"1\""])
    };
    assert_eq!(objective(&["--objective-ms", "60000"]), 60.0);
    assert_eq!(objective(&[]), 0.0);
}

#[test]
fn a_request_of_too_many_rows_is_an_error() {
    let models = waiting_model();
    let server = Server::start(models.path());
    let rows = r#"{"inputs": [{"name": "x", "shape": [3, 2], "datatype": "FP32",
        "data": [1, 2, 3, 4, 5, 6]}]}"#;
    server.infer("add", rows).expect_error(400, "3 rows, and the model's max_batch_size is 2");
}
