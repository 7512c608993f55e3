//! The server's limits: what is over one is refused with the flag or setting that sets it, or
//! waits, and what is inside goes on.

mod support;

use support::Server;
use support::models::{ADD_REQUEST, Models, SLOW_REQUEST, add, slow, waits};

const INFER: &str = "/v2/models/add/infer";

/// A request that is a batch of its own.
const TWO_ROWS: &str =
    r#"{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]}"#;

/// A model whose requests wait for others: until there are two, or for longer than a test takes.
fn waiting_model() -> Models {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("add/model.toml", waits(2, 60_000));
    models
}

/// [`ADD_REQUEST`] with blanks behind it.
fn padded(bytes: usize) -> String {
    format!("{ADD_REQUEST:bytes$}")
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
fn a_connection_over_the_limit_waits_for_a_place() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start_with(models.path(), &["--connections-max", "1"]);
    let mut first = server.connect();
    assert_eq!(first.request("GET", "/v2", &[], b"").status, 200);
    let mut second = server.connect();
    second.send_request("POST", INFER, &[], ADD_REQUEST.as_bytes());
    // The first goes on, and nothing has run for the second.
    let statistics = first.request("GET", "/v2/models/add/stats", &[], b"").json();
    assert_eq!(statistics["model_stats"][0]["inference_count"], 0);
    drop(first);
    assert_eq!(second.answer().status, 200);
}

#[test]
fn a_request_over_those_in_flight_may_try_again() {
    let models = waiting_model();
    let server = Server::start_with(models.path(), &["--requests-max", "1"]);
    let mut first = server.connect();
    first.send_request("POST", INFER, &[], ADD_REQUEST.as_bytes());
    server.wait_for_waiting("add", 1);
    let refused = server.infer("add", ADD_REQUEST);
    refused.expect_error(503, "1 requests in flight, its limit; try again later");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // What is no inference has no part in it.
    assert_eq!(server.get("/v2/models/add").status, 200);
    drop(first);
    support::wait_until("a free place", || server.infer("add", TWO_ROWS).status == 200);
}

#[test]
fn bodies_that_are_held_count_together() {
    let models = waiting_model();
    let server = Server::start_with(models.path(), &["--held-bytes-max", "2500"]);
    let mut first = server.connect();
    first.send_request("POST", INFER, &[], padded(2000).as_bytes());
    server.wait_for_waiting("add", 1);
    let refused = server.infer("add", padded(1000));
    refused.expect_error(503, "2500 bytes of bodies, its limit");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // A smaller one fits, and with it the batch is full.
    assert_eq!(server.infer("add", padded(300)).status, 200);
    assert_eq!(first.answer().status, 200);
    assert_eq!(server.infer("add", format!("{TWO_ROWS:2500}")).status, 200);
}

#[test]
fn a_full_queue_refuses_and_says_its_limit() {
    let models = waiting_model();
    models.write("add/model.toml", waits(3, 60_000) + "[queue]\nrequests_max = 2\n");
    let server = Server::start(models.path());
    let mut waiting = [(); 2].map(|()| server.connect());
    for client in &mut waiting {
        client.send_request("POST", INFER, &[], ADD_REQUEST.as_bytes());
    }
    server.wait_for_waiting("add", 2);
    let refused = server.infer("add", ADD_REQUEST);
    refused.expect_error(503, "'add' has 2 requests waiting, its limit; try again later");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Places of clients that left are free.
    let [mut stays, leaves] = waiting;
    drop(leaves);
    support::wait_until("a place in the queue", || server.infer("add", TWO_ROWS).status == 200);
    assert_eq!(stays.answer().status, 200);
}

#[test]
fn a_request_waits_no_longer_than_it_allows() {
    let models = waiting_model();
    let server = Server::start(models.path());
    let start = r#"{"parameters": {"timeout": 20000},"#;
    let answer = server.infer("add", ADD_REQUEST.replacen('{', start, 1));
    answer.expect_error(504, "longer than its timeout of 20000 us");
    assert_eq!(server.rows_run("add"), 0);
}

#[test]
fn a_timeout_is_told_while_every_replica_is_busy() {
    const BUSY: u64 = 8;
    let models = Models::empty();
    models.add("slow", &slow());
    let server = Server::start(models.path());
    let _busy = [(); BUSY as usize].map(|()| {
        let mut client = server.connect();
        client.send_request("POST", "/v2/models/slow/infer", &[], SLOW_REQUEST.as_bytes());
        client
    });
    server.wait_for_waiting("slow", 1);
    let start = r#"{"parameters": {"timeout": 20000},"#;
    let answer = server.infer("slow", SLOW_REQUEST.replacen('{', start, 1));
    answer.expect_error(504, "longer than its timeout of 20000 us");
    assert!(server.rows_run("slow") < BUSY, "it was told when the others were done");
}

#[test]
fn more_rows_than_a_batch_may_have_are_refused() {
    let models = waiting_model();
    let server = Server::start(models.path());
    let rows = r#"{"inputs": [{"name": "x", "shape": [3, 2], "datatype": "FP32",
        "data": [1, 2, 3, 4, 5, 6]}]}"#;
    server.infer("add", rows).expect_error(400, "3 rows, and the model's max_batch_size is 2");
}
