//! The metrics in each format for Prometheus.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use prost::Message;
use skysail_protocol::prometheus::{Histogram, MetricFamily, MetricType};
use std::io::Write;
use std::process::{Command, Stdio};
use support::Server;
use support::http::{Answer, Connection};
use support::models::{ADD_REQUEST, Models, add};

const PROTOBUF: &str = "application/vnd.google.protobuf;\
    proto=io.prometheus.client.MetricFamily;encoding=delimited";
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

/// A server that has answered some requests and rejected others.
fn server() -> (Models, Server) {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("add/model.toml", "cache = { bytes_max = 1048576 }\n");
    let server = Server::start_with(models.path(), &["--objective-ms", "10000"]);
    for value in 0..20 {
        let request = ADD_REQUEST.replace("[1, 2]}", &format!("[{value}, 2]}}"));
        let request = request.replacen('{', &format!("{{\"id\": \"r{value}\", "), 1);
        assert_eq!(server.infer("add", request).status, 200);
    }
    assert_eq!(server.infer("add", "{").status, 400);
    (models, server)
}

fn metrics(server: &Server, accept: &str) -> Answer {
    let accept = format!("Accept: {accept}");
    let answer = Connection::open(server.metrics()).request("GET", "/metrics", &[&accept], b"");
    assert_eq!(answer.status, 200);
    answer
}

/// Output of `promtool check metrics`; `None` if promtool is not installed.
#[expect(clippy::print_stdout, reason = "says that a test was skipped")]
fn promtool(text: &str) -> Option<String> {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let Ok(mut child) = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        println!("skipped: there is no promtool");
        return None;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some(String::from_utf8(said).unwrap())
}

#[test]
fn promtool_accepts_all_but_tritons_names() {
    let (_models, server) = server();
    let text = metrics(&server, "text/plain").text();
    let Some(said) = promtool(&text) else { return };
    // promtool parses everything before it checks names.
    let ours: Vec<_> = said.lines().filter(|line| !line.starts_with("nv_")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
    assert!(said.contains("nv_inference_request_success counter metrics should have"), "{said}");
    let ours = text.lines().filter(|line| !line.contains("nv_"));
    let ours: String = ours.flat_map(|line| [line, "\n"]).collect();
    assert_eq!(promtool(&ours).unwrap(), "");
}

#[test]
fn tritons_counters_and_our_own_are_present() {
    let (_models, server) = server();
    let add = |name, label| server.metric(name, &["model=\"add\"", "version=\"1\"", label]);
    assert_eq!(add("nv_inference_request_success", ""), 20.0);
    assert_eq!(add("nv_inference_request_failure", "reason=\"REJECTED\""), 1.0);
    assert_eq!(add("skysail_requests_total", "outcome=\"answered\""), 20.0);
    assert_eq!(add("skysail_requests_total", "outcome=\"failed\""), 1.0);
    assert_eq!(add("skysail_request_duration_seconds_count", ""), 20.0);
    assert_eq!(add("skysail_request_duration_seconds_bucket", "le=\"16\""), 20.0);
    assert_eq!(add("skysail_stage_duration_seconds_count", "stage=\"queue\""), 20.0);
    assert_eq!(add("skysail_batch_rows_bucket", "le=\"1\""), 20.0);
    assert_eq!(add("skysail_batch_rows_sum", ""), 20.0);
    assert_eq!(add("skysail_model_ready", ""), 1.0);
    assert_eq!(add("skysail_stalled_queues", ""), 0.0);
    assert_eq!(add("skysail_objective_seconds", ""), 10.0);
}

#[test]
fn open_metrics_has_exemplars_with_request_ids() {
    let (_models, server) = server();
    let answer = metrics(&server, OPEN_METRICS);
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text();
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    assert!(text.contains("# TYPE nv_inference_request_success unknown\n"), "{text}");
    assert!(text.contains("# TYPE skysail_requests counter\n"), "{text}");
    let buckets = text.lines().filter(|l| l.starts_with("skysail_request_duration_seconds_bucket"));
    let example = buckets.filter_map(|line| line.split_once(" # {request_id=\"")).next().unwrap().1;
    let number = example.split('"').next().unwrap().strip_prefix('r').unwrap();
    assert!(number.parse::<u32>().unwrap() < 20, "{example}");
    let [_, seconds, time] = example.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{example}")
    };
    assert!(seconds.parse::<f64>().unwrap() > 0.0 && time.parse::<f64>().unwrap() > 1.7e9);
}

/// Counts of a native histogram's buckets.
fn native(histogram: &Histogram) -> Vec<i64> {
    let deltas = histogram.positive_delta.iter();
    deltas.scan(0, |count, delta| Some((*count += delta, *count).1)).collect()
}

#[test]
fn native_histograms_agree_with_classic_ones() {
    let (_models, server) = server();
    let answer = metrics(&server, PROTOBUF);
    assert!(answer.header("content-type").unwrap().starts_with("application/vnd.google.protobuf"));
    let mut rest = answer.body.as_slice();
    let mut histograms = 0;
    while !rest.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut rest).unwrap();
        assert!(!family.help.is_empty() && !family.metric.is_empty(), "{family:?}");
        for metric in family.metric.iter().filter(|_| family.r#type() == MetricType::Histogram) {
            let histogram = metric.histogram.as_ref().unwrap();
            let buckets = histogram.zero_count + native(histogram).iter().sum::<i64>() as u64;
            assert_eq!((buckets, histogram.schema), (histogram.sample_count, Some(3)));
            assert_eq!(histogram.bucket.last().unwrap().cumulative_count, buckets);
            assert_eq!(histogram.sample_count, 20, "{metric:?}");
            histograms += 1;
        }
    }
    assert_eq!(histograms, 7 + 2, "seven stages, the whole, and rows");
}

#[test]
fn other_paths_and_methods_of_the_port_are_errors() {
    let (_models, server) = server();
    let ask = |method, path| Connection::open(server.metrics()).request(method, path, &[], b"");
    ask("GET", "/metric").expect_error(404, "/metric");
    assert_eq!(ask("POST", "/metrics").status, 405);
}
