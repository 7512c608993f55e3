//! Web pages of other origins that call the server.

mod support;

use support::Server;
use support::http::Answer;
use support::models::{ADD_REQUEST, Models, add};

const PAGE: &str = "Origin: http://localhost:3000";
const PREFLIGHT: [&str; 3] = [
    PAGE,
    "Access-Control-Request-Method: POST",
    "Access-Control-Request-Headers: content-type, x-request-id",
];
const INFER: &str = "/v2/models/add/infer";

fn server(flags: &[&str]) -> Server {
    let models = Models::empty();
    models.add("add", &add(1.0));
    Server::start_with(models.path(), &[&["--model-control", "none"], flags].concat())
}

fn ask(server: &Server, method: &str, path: &str, headers: &[&str]) -> Answer {
    let body = if method == "POST" { ADD_REQUEST } else { "" };
    server.connect().request(method, path, headers, body.as_bytes())
}

#[test]
fn no_page_may_call_by_default() {
    let server = server(&[]);
    let preflight = ask(&server, "OPTIONS", INFER, &PREFLIGHT);
    assert_eq!(preflight.status, 405);
    let answer = ask(&server, "POST", INFER, &[PAGE]);
    assert_eq!(answer.status, 200);
    for answer in [preflight, answer] {
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("vary"), None);
    }
}

#[test]
fn pages_of_a_named_origin_may_call() {
    let flags = ["--cors-origin", "https://example.org", "--cors-origin", "http://localhost:3000"];
    let server = server(&flags);
    let preflight = ask(&server, "OPTIONS", INFER, &PREFLIGHT);
    assert_eq!(preflight.status, 204);
    for (header, value) in [
        ("access-control-allow-origin", "http://localhost:3000"),
        ("access-control-allow-methods", "GET, HEAD, POST"),
        ("access-control-allow-headers", "content-type, x-request-id"),
    ] {
        assert_eq!(preflight.header(header), Some(value));
    }
    assert!(preflight.header("vary").unwrap().contains("Origin"));
    // Errors are for the page to read, too.
    for (method, path, status) in
        [("POST", INFER, 200), ("POST", "/v2/models/no-such/infer", 404), ("GET", "/no-such", 404)]
    {
        let answer = ask(&server, method, path, &[PAGE]);
        assert_eq!(answer.status, status);
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(
            (allowed, answer.header("vary")),
            (Some("http://localhost:3000"), Some("Origin"))
        );
        let exposed = answer.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("inference-header-content-length"), "{exposed}");
    }
}

#[test]
fn pages_of_other_origins_may_not() {
    let server = server(&["--cors-origin", "https://example.org"]);
    let other = [&["Origin: https://example.org.evil.net"], &PREFLIGHT[1..]].concat();
    let preflight = ask(&server, "OPTIONS", INFER, &other);
    assert_eq!(preflight.status, 405);
    assert_eq!(preflight.header("access-control-allow-origin"), None);
    assert_eq!(preflight.header("vary"), Some("Origin"));
    // A call without an origin is no page's.
    let answer = ask(&server, "POST", INFER, &[]);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
}

#[test]
fn a_star_allows_every_page() {
    let server = server(&["--cors-origin", "*"]);
    assert_eq!(ask(&server, "OPTIONS", INFER, &PREFLIGHT).status, 204);
    let answer = ask(&server, "POST", INFER, &["Origin: null"]);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(ask(&server, "OPTIONS", INFER, &[PAGE]).status, 405);
}

#[test]
fn a_wrong_origin_is_an_error_at_the_start() {
    let models = Models::empty();
    let folder = models.path().to_str().unwrap();
    let output = support::run(&["--models", folder, "--cors-origin", "example.org"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64));
    assert!(said.contains("cors-origin is example.org"), "{said}");
}
