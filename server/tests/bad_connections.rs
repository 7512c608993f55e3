//! Connections that violate the protocol, stall, or break off.
//!
//! Each ends, with a response if possible, and the server keeps serving.

mod support;

use support::Server;
use support::http::{Connection, head};
use support::models::{ADD_REQUEST, Models, add, same};

const INFER: &str = "/v2/models/add/infer";

/// A server with one connection permit, so that a connection that stays open fails the test.
fn server(flags: &[&str]) -> Server {
    let models = Models::empty();
    models.add("add", &add(1.0)).add("same", &same());
    let flags = [&["--model-control", "none", "--connections-max", "1"], flags].concat();
    Server::start_with(models.path(), &flags)
}

#[track_caller]
fn expect_good(server: &Server) {
    let answer = server.infer("add", ADD_REQUEST);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Sends bytes and checks the status of the response, after which the connection ends.
#[track_caller]
fn expect_end(server: &Server, bytes: impl AsRef<[u8]>, status: u16) {
    let mut client = server.connect();
    client.send(bytes);
    assert_eq!(client.answer().status, status);
    client.wait_for_close();
}

#[test]
fn bytes_that_are_not_http_get_400_and_end_the_connection() {
    let server = server(&[]);
    expect_end(&server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello TLS\r\n\r\n", 400);
    expect_end(&server, "hello\r\n\r\n", 400);
    expect_end(&server, "GET /v2 HTTP/9.9\r\n\r\n", 400);
    expect_end(&server, "GET /v2 HTTP/1.1\r\nno colon\r\n\r\n", 400);
    let mut client = server.connect();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nno frames at all, whatever the preface says");
    client.wait_for_close();
    expect_good(&server);
}

#[test]
fn invalid_content_lengths_get_400() {
    let server = server(&[]);
    let with = |headers: &str| format!("POST {INFER} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    expect_end(&server, with("Content-Length: -1\r\n"), 400);
    expect_end(&server, with("Content-Length: ten\r\n"), 400);
    expect_end(&server, with("Content-Length: 99999999999999999999\r\n"), 400);
    expect_end(&server, with("Content-Length: 1\r\nContent-Length: 2\r\n"), 400);
    expect_end(&server, with("Transfer-Encoding: chunked\r\n") + "many\r\n", 400);
    expect_good(&server);
}

#[test]
fn a_body_of_ten_gigabytes_is_rejected_before_it_arrives() {
    let server = server(&[]);
    let mut client = server.connect();
    client.send(head("POST", INFER, &[], 10_000_000_000));
    client.answer().expect_error(413, "larger than 268435456 bytes; the server's flag --body-");
    client.wait_for_close();
    // A body without a declared length is stopped at the limit.
    let mut client = server.connect();
    client.send(format!("POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
    let chunk = [b"1000000\r\n", vec![b' '; 16 << 20].as_slice(), b"\r\n"].concat();
    while client.try_send(&chunk).is_ok() {}
    drop(client);
    expect_good(&server);
}

#[test]
fn a_head_that_is_too_long_gets_431() {
    let server = server(&["--header-bytes-max", "10000"]);
    let fill = |bytes: usize| format!("X-Fill: {}", "x".repeat(bytes));
    let fits = server.connect().request("GET", "/v2", &[&fill(9000)], b"");
    assert_eq!(fits.status, 200);
    expect_end(&server, head("GET", "/v2", &[&fill(20_000)], 0), 431);
    let many = vec!["X-Fill: 1"; 200];
    expect_end(&server, head("GET", "/v2", &many, 0), 431);
    expect_good(&server);
}

#[test]
fn silent_and_slow_heads_time_out() {
    let server = server(&["--header-timeout-ms", "100"]);
    for start in
        ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n", "GET /v2 HT", "GET /v2 HTTP/1.1\r\nHost: x\r\n"]
    {
        let mut client = server.connect();
        client.send(start);
        client.wait_for_close();
    }
    // A connection with a completed request may stay no longer than a new one.
    let mut client = server.connect();
    assert_eq!(client.request("GET", "/v2", &[], b"").status, 200);
    client.wait_for_close();
    expect_good(&server);
}

#[test]
fn a_stalled_body_gets_408() {
    let server = server(&["--body-timeout-ms", "100"]);
    let mut client = server.connect();
    client.send(head("POST", INFER, &[], 100) + "{");
    client.answer().expect_error(408, "no byte of the body came for 100 ms");
    client.wait_for_close();
    expect_good(&server);
}

#[test]
fn a_truncated_body_ends_the_connection() {
    let server = server(&[]);
    let whole = head("POST", INFER, &[], ADD_REQUEST.len() + 1) + ADD_REQUEST;
    for end in [1, 20, whole.len() / 2, whole.len()] {
        let mut client = server.connect();
        client.send(&whole[..end]);
        client.close_sending();
        client.wait_for_close();
    }
    expect_good(&server);
    assert_eq!(server.rows_run("add"), 1);
}

#[test]
fn a_client_that_never_reads_is_disconnected() {
    let server = server(&["--write-timeout-ms", "100"]);
    let mut client = server.connect();
    // More than the buffers of two sockets.
    let floats = 16_usize << 20;
    let json = format!(
        r#"{{"inputs": [{{"name": "x", "shape": [1, {floats}], "datatype": "FP32",
            "parameters": {{"binary_data_size": {}}}}}], "parameters": {{"binary_data_output": true}}}}"#,
        4 * floats
    );
    let length = format!("Inference-Header-Content-Length: {}", json.len());
    let body = [json.as_bytes(), &vec![0; 4 * floats]].concat();
    client.send_request("POST", "/v2/models/same/infer", &[&length], &body);
    // The only permit is free again while the client keeps its side open.
    expect_good(&server);
    client.wait_for_close();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = server(&[]);
    let mut client = Connection::open(server.http());
    let request = head("POST", INFER, &[], ADD_REQUEST.len()) + ADD_REQUEST;
    let wrong = head("GET", "/v1", &[], 0);
    client.send([request.as_str(), &wrong, &request].concat());
    assert_eq!([(); 3].map(|()| client.answer().status), [200, 404, 200]);
}

#[test]
fn a_client_may_expect_100_continue() {
    let server = server(&["--body-bytes-max", "1000"]);
    let mut client = server.connect();
    client.send(head("POST", INFER, &["Expect: 100-continue"], ADD_REQUEST.len()));
    assert_eq!(client.answer().status, 100);
    client.send(ADD_REQUEST);
    assert_eq!(client.answer().status, 200);
    drop(client);
    let mut client = server.connect();
    client.send(head("POST", INFER, &["Expect: 100-continue"], 2000));
    assert_eq!(client.answer().status, 413);
}
