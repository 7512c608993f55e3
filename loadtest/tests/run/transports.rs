//! Protocols and connections.

use super::responder::Responder;
use super::{SHORT, load, report, short};
use http::Version;

#[test]
fn connections_are_kept_by_default() {
    let responder = Responder::start();
    let flags = ["--model", "digits", "--rate", "200", "--connections", "4"];
    let report = short(&responder, &flags);
    assert_eq!((&report["answered"], &report["failed"]), (&60.into(), &0.into()));
    // Four connections, and those for metadata, the trial, and statistics.
    let kept = responder.connections();
    assert!(kept <= 10, "{kept}");
    let report = short(&responder, &[&flags[..], &["--no-keep-alive"]].concat());
    assert_eq!((&report["answered"], &report["failed"]), (&60.into(), &0.into()));
    assert!(responder.connections() - kept >= 60, "{}", responder.connections());
    assert_eq!(responder.last().headers["connection"], "close");
}

#[test]
fn http2_shares_connections() {
    let responder = Responder::start();
    let flags = ["--model", "digits", "--protocol", "binary", "--http2", "--streams", "3"];
    let report = short(&responder, &[&flags[..], &["--connections", "6"]].concat());
    assert!(report["answered"].as_u64().unwrap() > 10, "{report}");
    assert_eq!(report["failed"], 0);
    assert!(responder.connections() <= 8, "{}", responder.connections());
    let last = responder.last();
    assert_eq!((last.version, &*last.path), (Version::HTTP_2, "/v2/models/digits/infer"));
}

#[test]
fn a_stream_carries_one_request_after_the_other() {
    let responder = Responder::start();
    let flags = ["--model", "digits", "--protocol", "grpc-stream", "--connections", "3"];
    let report = short(&responder, &[&flags[..], &["--rate", "300"]].concat());
    assert_eq!((&report["answered"], &report["protocol"]), (&90.into(), &"grpc-stream".into()));
    // The trial is one more request.
    assert_eq!(responder.inferred(), 91);
    assert_eq!(&*responder.last().grpc().model_name, "digits");
}

#[test]
fn an_error_on_a_stream_is_a_failure() {
    let responder = Responder::start();
    let flags = ["--model", "errs", "--protocol", "grpc-stream"];
    let output = load(&responder.url(), &[&flags[..], &SHORT].concat());
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("the first request failed"), "{message}");
    assert!(message.contains("stream: the queue is full"), "{message}");
}

#[test]
fn rejections_on_a_stream_are_distinguished_from_failures() {
    let responder = Responder::start();
    let flags = ["--model", "refuses", "--protocol", "grpc-stream", "--rate", "100"];
    let flags = [&flags[..], &["--connections", "2", "--output", "json"], &SHORT].concat();
    let report = report(&load(&responder.url(), &flags));
    assert_eq!((&report["failed"], &report["rejected"]), (&30.into(), &30.into()));
    assert_eq!(report["failures"][0]["message"], "Unavailable: the queue is full");
    // Each request has its own stream, over the same connections.
    assert_eq!(responder.inferred(), 31);
}

#[test]
fn a_server_that_closes_connections_gets_new_ones() {
    let responder = Responder::start();
    let flags = ["--model", "closes", "--connections", "2", "--rate", "200", "--output", "json"];
    let report = report(&load(&responder.url(), &[&flags[..], &SHORT].concat()));
    assert_eq!((&report["answered"], &report["failed"]), (&60.into(), &0.into()));
    assert!(responder.connections() >= 60, "{}", responder.connections());
}

#[test]
fn an_error_or_a_page_with_status_200_is_a_failure() {
    for (model, message) in [
        ("errs", "200: it broke"),
        ("page", "200: the answer is not an inference response: <html>Sign in</html>"),
    ] {
        for more in [&[][..], &["--http2", "--protocol", "binary"]] {
            let responder = Responder::start();
            let flags = ["--model", model, "--connections", "2", "--rate", "100"];
            let flags = [&flags[..], more, &["--output", "json"], &SHORT].concat();
            let report = report(&load(&responder.url(), &flags));
            assert_eq!((&report["failed"], &report["answered"]), (&30.into(), &0.into()));
            assert_eq!(report["failures"][0]["message"], message);
        }
    }
}
