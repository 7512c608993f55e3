//! Traces at a collector: headers of responses, spans, sampling, and failing collectors.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test panics")]

mod support;
#[path = "support/collector.rs"]
mod collector;

use collector::{Collector, attribute, hex};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use skysail_protocol::grpc::ModelInferRequest;
use skysail_protocol::grpc::grpc_inference_service_client::GrpcInferenceServiceClient;
use skysail_protocol::grpc::model_infer_request::InferInputTensor;
use std::net::TcpListener;
use std::time::{Duration, Instant};
use support::Server;
use support::http::Answer;
use support::models::{ADD_REQUEST, Models, add, waits};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request};

const STAGES: [&str; 7] = ["accept", "decode", "admit", "queue", "batch", "execute", "respond"];

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A caller's `traceparent`, sampled or not.
fn traceparent(sampled: bool) -> String {
    format!("00-{TRACE}-{PARENT}-{:02x}", u8::from(sampled))
}

/// Serves `add`, and `late`, the same model with an objective that hardly any request meets.
///
/// Traces go to this collector.
fn server(url: &str, sample: &str) -> Server {
    let models = Models::empty();
    models.add("add", &add(1.0)).add("late", &add(1.0));
    models.write("late/model.toml", "objective_ms = 0.001\n");
    let flags = ["--model-control", "none", "--otlp", url, "--trace-sample", sample];
    Server::start_with(models.path(), &flags)
}

/// Sends a request with these headers.
fn ask(server: &Server, model: &str, headers: &[&str], body: &str) -> Answer {
    let path = format!("/v2/models/{model}/infer");
    server.connect().request("POST", &path, headers, body.as_bytes())
}

/// Trace, span and flags in the headers of a response.
#[track_caller]
fn told(answer: &Answer) -> [String; 3] {
    split(answer.header("traceparent").unwrap())
}

fn split(header: &str) -> [String; 3] {
    let parts: Vec<_> = header.split('-').map(str::to_owned).collect();
    let [version, rest @ ..] = parts.as_slice() else { panic!("{header}") };
    assert_eq!(version, "00");
    rest.to_vec().try_into().unwrap()
}

fn says(span: &Span, name: &str) -> String {
    attribute(&span.attributes, name).unwrap_or_else(|| panic!("no {name} in {span:?}"))
}

/// Child spans of one span, in order.
fn children(spans: &[Span], of: &Span) -> Vec<Span> {
    let mut children: Vec<_> =
        spans.iter().filter(|span| span.parent_span_id == of.span_id).cloned().collect();
    children.sort_by_key(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
    children
}

/// Checks that a span contains the stages in order.
#[track_caller]
fn expect_stages(spans: &[Span], whole: &Span, stages: &[&str]) {
    let children = children(spans, whole);
    assert_eq!(children.len(), stages.len(), "{children:?}");
    let mut at = whole.start_time_unix_nano;
    for name in stages {
        let child = children.iter().find(|span| span.name == *name).unwrap();
        assert_eq!(child.start_time_unix_nano, at, "{name}");
        assert_eq!(child.trace_id, whole.trace_id);
        assert!(child.end_time_unix_nano >= at);
        at = child.end_time_unix_nano;
    }
    assert!(at / 1000 <= whole.end_time_unix_nano.div_ceil(1000));
}

#[test]
fn a_request_over_http_is_a_span_with_its_stages() {
    let collector = Collector::start();
    let server = server(&collector.url(), "0");
    let parent = format!("traceparent: {}", traceparent(true));
    let named = ADD_REQUEST.replacen('{', r#"{"id": "mine", "#, 1);
    let answer = ask(&server, "add", &[&parent, "tracestate: a=1,b=2"], &named);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("tracestate"), Some("a=1,b=2"));
    let [trace, span, flags] = told(&answer);
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "01"));
    assert_ne!(span, PARENT);

    let run = &collector.wait_for("run add", 1)[0];
    let whole = &collector.wait_for("infer add", 1)[0];
    assert_eq!((hex(&whole.trace_id), hex(&whole.span_id)), (trace, span));
    assert_eq!(hex(&whole.parent_span_id), PARENT);
    assert_eq!((whole.kind(), whole.trace_state.as_str()), (SpanKind::Server, "a=1,b=2"));
    assert_eq!(whole.status.as_ref().map_or(StatusCode::Unset, |s| s.code()), StatusCode::Unset);
    assert_eq!(says(whole, "skysail.model"), "add");
    assert_eq!(says(whole, "skysail.version"), "1");
    assert_eq!(says(whole, "skysail.request_id"), "mine");
    assert_eq!(says(whole, "skysail.outcome"), "answered");
    assert_eq!(says(whole, "skysail.kept"), "sampled");
    let spans = collector.spans();
    expect_stages(&spans, whole, &STAGES);
    assert_eq!(run.links.len(), 1);
    assert_eq!(run.links[0].span_id, whole.span_id);
    let execute = collector.wait_for("execute", 1);
    assert_eq!(execute[0].links[0].span_id, run.span_id);
    assert_eq!(says(run, "skysail.batch.rows"), "1");
    assert_eq!(collector.resource("service.name").unwrap(), "skysail-server");
    assert_eq!(collector.resource("service.version").unwrap(), env!("CARGO_PKG_VERSION"));
    server.stop();
}

fn grpc_request(model: &str, parent: &str) -> Request<ModelInferRequest> {
    let input = InferInputTensor {
        name: "x".into(),
        datatype: "FP32".into(),
        shape: vec![1, 2],
        ..InferInputTensor::default()
    };
    let mut request = Request::new(ModelInferRequest {
        model_name: model.into(),
        inputs: vec![input],
        raw_input_contents: vec![bytes::Bytes::from_static(&[0; 8])],
        ..ModelInferRequest::default()
    });
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_call_and_each_request_of_a_stream_is_a_span() {
    let collector = Collector::start();
    let server = server(&collector.url(), "0");
    let channel = Channel::from_shared(format!("http://{}", server.grpc())).unwrap();
    let mut client = GrpcInferenceServiceClient::new(channel.connect().await.unwrap());
    let told =
        |metadata: &MetadataMap| split(metadata.get("traceparent").unwrap().to_str().unwrap());

    let answer = client.model_infer(grpc_request("add", &traceparent(true))).await.unwrap();
    let [trace, answered, _] = told(answer.metadata());
    assert_eq!(trace, TRACE);
    let mut wrong = grpc_request("add", &traceparent(true));
    wrong.get_mut().inputs[0].name = "z".into();
    let status = client.model_infer(wrong).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let [_, rejected, _] = told(status.metadata());

    let stream = grpc_request("add", &traceparent(true));
    let (metadata, extensions, message) = stream.into_parts();
    let messages = tokio_stream::iter(vec![message; 3]);
    let stream = Request::from_parts(metadata, extensions, messages);
    let mut answers = client.model_stream_infer(stream).await.unwrap().into_inner();
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.error_message, "");
    }

    let whole = tokio::task::block_in_place(|| collector.wait_for("infer add", 5));
    let of = |id: &str| whole.iter().find(|span| hex(&span.span_id) == id).unwrap();
    assert_eq!(says(of(&answered), "skysail.outcome"), "answered");
    assert_eq!(says(of(&rejected), "skysail.outcome"), "failed");
    assert_eq!(of(&rejected).status.as_ref().unwrap().code(), StatusCode::Error);
    assert!(whole.iter().all(|span| hex(&span.parent_span_id) == PARENT));
    assert!(whole.iter().all(|span| hex(&span.trace_id) == TRACE));
    let spans = collector.spans();
    for span in whole.iter().filter(|span| says(span, "skysail.outcome") == "answered") {
        expect_stages(&spans, span, &STAGES);
    }
    tokio::task::block_in_place(|| server.stop());
}

#[test]
fn a_batch_is_linked_to_its_members() {
    let collector = Collector::start();
    let models = Models::empty();
    models.add("add", &add(1.0)).write("add/model.toml", waits(3, 60_000));
    let url = collector.url();
    let flags = ["--model-control", "none", "--otlp", &url, "--trace-sample", "1"];
    let server = Server::start_with(models.path(), &flags);
    let mut clients = [(); 3].map(|()| {
        let mut client = server.connect();
        client.send_request("POST", "/v2/models/add/infer", &[], ADD_REQUEST.as_bytes());
        client
    });
    let mut members: Vec<_> =
        clients.iter_mut().map(|client| told(&client.answer())[1].clone()).collect();
    let run = &collector.wait_for("run add", 1)[0];
    assert_eq!(says(run, "skysail.batch.members"), "3");
    assert_eq!(says(run, "skysail.batch.rows"), "3");
    let mut linked: Vec<_> = run.links.iter().map(|link| hex(&link.span_id)).collect();
    linked.sort();
    members.sort();
    assert_eq!(linked, members);
    let executed = collector.wait_for("execute", 3);
    assert!(executed.iter().all(|span| span.links[0].span_id == run.span_id));
    assert_eq!(collector.wait_for("run add", 1).len(), 1);
    let traces: std::collections::BTreeSet<_> =
        collector.wait_for("infer add", 3).iter().map(|span| span.trace_id.clone()).collect();
    assert_eq!(traces.len(), 3, "each begins a trace of its own");
    server.stop();
}

#[test]
fn failures_and_misses_are_kept_without_sampling() {
    let collector = Collector::start();
    let server = server(&collector.url(), "0");
    for _ in 0..20 {
        assert_eq!(ask(&server, "add", &[], ADD_REQUEST).status, 200);
    }
    let failed = ask(&server, "add", &[], "{}");
    assert_eq!(failed.status, 400);
    let patient = ADD_REQUEST.replacen('{', r#"{"parameters": {"timeout": 10000000}, "#, 1);
    let missed = ask(&server, "late", &[], &patient);
    assert_eq!(missed.status, 200, "{}", missed.text());
    assert_eq!(told(&missed)[2], "00", "the end is not known when the answer is written");

    let missed = &collector.wait_for("infer late", 1)[0];
    assert_eq!(says(missed, "skysail.outcome"), "missed");
    assert_eq!(says(missed, "skysail.kept"), "missed");
    assert!(says(missed, "skysail.objective_us").parse::<u64>().unwrap() < 1000);
    assert_eq!(missed.status.as_ref().map_or(StatusCode::Unset, |s| s.code()), StatusCode::Unset);
    let spans = collector.wait_for("infer add", 1);
    let span = spans.iter().find(|span| hex(&span.span_id) == told(&failed)[1]).unwrap();
    assert_eq!(says(span, "skysail.outcome"), "failed");
    assert_eq!(says(span, "error.type"), "REJECTED");
    assert_eq!(span.status.as_ref().unwrap().code(), StatusCode::Error);
    assert!(!spans.iter().any(|span| says(span, "skysail.kept") == "sampled"));
    server.stop();
}

#[test]
fn a_callers_sampling_decision_holds_and_is_passed_on() {
    let collector = Collector::start();
    let server = server(&collector.url(), "1");
    let unsampled = format!("traceparent: {}", traceparent(false));
    for _ in 0..20 {
        assert_eq!(told(&ask(&server, "add", &[&unsampled], ADD_REQUEST))[2], "00");
    }
    let [own, _, flags] = told(&ask(&server, "add", &[], ADD_REQUEST));
    assert_eq!(flags, "01");
    assert_ne!(own, TRACE);
    support::wait_until("the sampled one", || {
        collector.spans().iter().any(|span| span.name == "infer add" && hex(&span.trace_id) == own)
    });
    let spans = collector.wait_for("infer add", 1);
    let is_slow = |span: &Span| says(span, "skysail.kept") == "slow";
    assert!(spans.iter().all(|span| hex(&span.trace_id) == own || is_slow(span)));
    server.stop();
}

#[test]
fn any_trace_headers_are_accepted() {
    let collector = Collector::start();
    let server = server(&collector.url(), "0");
    let long = format!("tracestate: a={}", "x".repeat(5000));
    let good = format!("traceparent: {}", traceparent(true));
    let upper = good.to_uppercase().replacen("TRACEPARENT", "traceparent", 1);
    let cases: [&[&str]; 8] = [
        &["traceparent: "],
        &["traceparent: 00-0-0-0"],
        &["traceparent: \u{1F600}"],
        &[&upper],
        &[&good, &good],
        &["tracestate: a=1"],
        &[&good, &long],
        &[&good, "tracestate: ,=,=;\"<script>"],
    ];
    for headers in cases {
        let answer = ask(&server, "add", headers, ADD_REQUEST);
        assert_eq!(answer.status, 200, "{headers:?}");
        assert_eq!(answer.header("tracestate"), None, "{headers:?}");
        let [trace, span, _] = told(&answer);
        let is_parent = headers[0] == good && headers.get(1) != Some(&good.as_str());
        assert_eq!(trace == TRACE, is_parent, "{headers:?}");
        assert_eq!((trace.len(), span.len()), (32, 16));
    }
    server.stop();
}

#[test]
fn stopping_exports_the_last_spans() {
    let collector = Collector::start();
    let server = server(&collector.url(), "1");
    for _ in 0..10 {
        assert_eq!(ask(&server, "add", &[], ADD_REQUEST).status, 200);
    }
    server.stop();
    let named = |name| collector.spans().iter().filter(|span| span.name == name).count();
    assert_eq!((named("infer add"), named("respond"), named("run add")), (10, 10, 10));
}

#[test]
fn without_a_collector_responses_have_no_trace_headers() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start(models.path());
    let parent = format!("traceparent: {}", traceparent(true));
    let answer = ask(&server, "add", &[&parent], ADD_REQUEST);
    assert_eq!((answer.status, answer.header("traceparent")), (200, None));
    assert_eq!(server.metric("skysail_spans_dropped_total", &[]), 0.0);
}

/// Checks that this many requests are answered and kept.
fn expect_answers(server: &Server, requests: usize) {
    let mut client = server.connect();
    for _ in 0..requests {
        let answer = client.request("POST", "/v2/models/add/infer", &[], ADD_REQUEST.as_bytes());
        assert_eq!(answer.status, 200);
    }
    assert_eq!(server.rows_run("add"), requests as u64);
    assert_eq!(server.metric("skysail_spans_sent_total", &[]), 0.0);
}

/// Stops the server, which must not wait for its collector, and returns its log.
fn stop_soon(server: Server) -> String {
    let begun = Instant::now();
    let log = server.stop();
    assert!(begun.elapsed() < Duration::from_secs(5), "the stop took {:?}", begun.elapsed());
    log
}

fn dropped(server: &Server) -> f64 {
    server.metric("skysail_spans_dropped_total", &[])
}

#[test]
fn a_missing_collector_does_no_harm() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = server(&format!("http://{gone}"), "1");
    expect_answers(&server, 200);
    support::wait_until("all spans to be dropped", || dropped(&server) >= 200.0 * 8.0);
    assert_eq!(ask(&server, "add", &[], "{}").status, 400);
    let log = stop_soon(server);
    assert_eq!(log.matches("no spans reach").count(), 1, "{log}");
}

#[test]
fn a_silent_collector_uses_bounded_memory_and_no_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = server(&format!("http://{}", silent.local_addr().unwrap()), "1");
    let before = server.peak_memory_bytes();
    expect_answers(&server, 6000);
    assert!(dropped(&server) > 0.0, "not all of 6000 requests can wait");
    let grown = server.peak_memory_bytes() - before;
    assert!(grown < 64 << 20, "{grown} bytes more");
    let log = stop_soon(server);
    assert!(log.matches("no spans reach").count() <= 1, "{log}");
}
