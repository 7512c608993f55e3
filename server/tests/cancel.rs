//! A client that goes away stops costing compute.

mod support;

use support::Server;
use support::http::Connection;
use support::models::{ADD_REQUEST, Models, SLOW_REQUEST, add, slow, waits};

/// Clients that ask and leave.
const LEAVING: u64 = 40;

/// Sends a request and leaves the answer for later.
fn ask(server: &Server, model: &str, request: &str) -> Connection {
    let mut client = server.connect();
    let path = format!("/v2/models/{model}/infer");
    client.send_request("POST", &path, &[], request.as_bytes());
    client
}

#[test]
fn requests_whose_clients_left_are_not_run() {
    let models = Models::empty();
    models.add("slow", &slow());
    let server = Server::start(models.path());
    let mut first = ask(&server, "slow", SLOW_REQUEST);
    let leaving: Vec<_> = (0..LEAVING).map(|_| ask(&server, "slow", SLOW_REQUEST)).collect();
    support::wait_until("most to come", || server.waiting("slow") > LEAVING / 2);
    drop(leaving);
    support::wait_until("most to leave", || server.cancelled("slow") > LEAVING / 2);
    let mut last = ask(&server, "slow", SLOW_REQUEST);
    assert_eq!([first.answer().status, last.answer().status], [200, 200]);
    let rows = server.rows_run("slow");
    assert!(rows < LEAVING / 2, "{rows} of {} requests were run", LEAVING + 2);
}

#[test]
fn a_batch_has_no_rows_of_clients_that_left() {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("add/model.toml", waits(LEAVING as usize + 2, 60_000));
    let server = Server::start(models.path());
    let mut stays = ask(&server, "add", ADD_REQUEST);
    let leaving: Vec<_> = (0..LEAVING).map(|_| ask(&server, "add", ADD_REQUEST)).collect();
    server.wait_for_waiting("add", LEAVING + 1);
    drop(leaving);
    support::wait_until("all to leave", || server.cancelled("add") == LEAVING);
    // Requests that are over fill a batch no more than they fill the queue.
    let mut rest = Vec::new();
    support::wait_until("the batch to be full", || {
        rest.push(ask(&server, "add", ADD_REQUEST));
        server.rows_run("add") > 0
    });
    assert_eq!(stays.answer().status, 200);
    let live = rest.len() as u64 + 1;
    assert!(server.rows_run("add") <= live, "{} rows, {live} clients", server.rows_run("add"));
}
