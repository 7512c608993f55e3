//! Values in JSON that are no plain numbers or texts, and requests of many rows.

#![expect(clippy::expect_used, reason = "a test panics")]

mod support;

use serde_json::{Value, json};
use skysail_graph::{Dim, ElementType, GraphBuilder, Model};
use support::Server;
use support::http::Answer;
use support::models::{Models, add, same};

/// `y = x` for x of one element type and one dimension.
fn identity(element_type: ElementType) -> Model {
    let dims = [Dim::Unknown];
    let mut graph = GraphBuilder::new("identity");
    graph.input("x", element_type, &dims).node("Identity", &["x"], &["y"], &[]).output(
        "y",
        element_type,
        &dims,
    );
    graph.finish().expect("the graph is whole")
}

fn server(flags: &[&str]) -> Server {
    let models = Models::empty();
    for (name, element_type) in [
        ("FP16", ElementType::Float16),
        ("BF16", ElementType::BFloat16),
        ("FP32", ElementType::Float32),
        ("FP64", ElementType::Float64),
        ("BYTES", ElementType::String),
    ] {
        models.add(name, &identity(element_type));
    }
    Server::start_with(models.path(), &[&["--model-control", "none"], flags].concat())
}

/// Sends elements as JSON to the model of their datatype, with parameters of input and output.
fn send(server: &Server, datatype: &str, data: &str, input: &str, output: &str) -> Answer {
    let count = data.split(',').count();
    let body = format!(
        r#"{{"inputs": [{{"name": "x", "shape": [{count}], "datatype": "{datatype}",
        "data": {data}, "parameters": {input}}}],
        "outputs": [{{"name": "y", "parameters": {output}}}]}}"#
    );
    server.infer(datatype, body)
}

/// The JSON text of the elements that come back.
fn echoed(server: &Server, datatype: &str, data: &str) -> String {
    let answer = send(server, datatype, data, "{}", "{}");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let (_, data) = text.split_once("\"data\":").expect("the answer has data");
    data.trim_end_matches("}]}").to_owned()
}

#[test]
fn numbers_that_are_not_finite_come_back_as_the_setting_says() {
    let sent = "[NaN, Infinity, -Infinity, null, 1.5]";
    let nan = server(&[]);
    let null = server(&["--json-non-finite", "null"]);
    for datatype in ["FP16", "BF16", "FP32", "FP64"] {
        assert_eq!(echoed(&nan, datatype, sent), "[NaN,Infinity,-Infinity,NaN,1.5]", "{datatype}");
        assert_eq!(echoed(&null, datatype, sent), "[null,null,null,null,1.5]", "{datatype}");
    }
    let error = server(&["--json-non-finite", "error"]);
    let refused = send(&error, "FP32", sent, "{}", "{}");
    refused.expect_error(400, "output 'y' holds NaN or an infinity");
    let binary = send(&error, "FP32", sent, "{}", r#"{"binary_data": true}"#);
    assert_eq!(binary.status, 200);
    assert!(binary.body.ends_with(&1.5_f32.to_le_bytes()));
}

#[test]
fn halves_are_numbers() {
    let server = server(&[]);
    // The nearest of each: 0.1 is between two, 2049 is in the middle of two FP16.
    assert_eq!(
        echoed(&server, "FP16", "[0.1, -2049, 65504, 6e-8]"),
        "[0.099975586,-2048.0,65504.0,5.9604645e-8]"
    );
    assert_eq!(
        echoed(&server, "BF16", "[0.1, 1.00390625, 3e38]"),
        "[0.100097656,1.0,3.0040553e38]"
    );
    send(&server, "FP16", "[65520]", "{}", "{}")
        .expect_error(400, "65520 in 'data' is too large for FP16");
}

#[test]
fn strings_of_any_bytes_come_back() {
    let server = server(&[]);
    let texts = r#"["grüße 😀", "", "a\u0000b"]"#;
    let answer = send(&server, "BYTES", texts, "{}", "{}");
    assert_eq!(answer.json()["outputs"][0]["data"], json!(["grüße 😀", "", "a\0b"]));
    let bytes = r#"[{"b64": "//4AAQ=="}, "ok"]"#;
    let asked = send(&server, "BYTES", bytes, r#"{"b64": true}"#, r#"{"b64": true}"#);
    let both = json!([{"b64": "//4AAQ=="}, {"b64": "b2s="}]);
    assert_eq!(asked.json()["outputs"][0]["data"], both);
    let unasked = send(&server, "BYTES", bytes, r#"{"b64": true}"#, "{}");
    unasked.expect_error(400, "output 'y' holds bytes that are no UTF-8");
    let raw = send(&server, "BYTES", bytes, r#"{"b64": true}"#, r#"{"binary_data": true}"#);
    assert!(raw.body.ends_with(b"\x04\0\0\0\xff\xfe\0\x01\x02\0\0\0ok"));
    let undeclared = send(&server, "BYTES", bytes, "{}", "{}");
    undeclared.expect_error(400, "input 'x': 'data' holds an object: base64 needs the input's");
    let of_request = r#"{"parameters": {"b64_output": true}, "inputs": [{"name": "x", "shape": [1],
        "datatype": "BYTES", "data": ["ok"]}]}"#;
    let all = server.infer("BYTES", of_request).json();
    assert_eq!(all["outputs"][0]["data"], json!([{"b64": "b2s="}]));
}

#[test]
fn a_model_has_as_many_rows_as_its_configuration_says() {
    let models = Models::empty();
    models.add("configured", &add(1.0)).add("found", &same());
    models.write("configured/config.pbtxt", "platform: \"onnxruntime_onnx\"\nmax_batch_size: 2\n");
    let server = Server::start_with(models.path(), &["--model-control", "none"]);
    let rows = |model: &str, rows: usize| {
        let data = Value::from(vec![vec![1.0, 2.0]; rows]);
        let body = format!(
            r#"{{"inputs": [{{"name": "x", "shape": [{rows}, 2], "datatype": "FP32", "data": {data}}}]}}"#
        );
        server.infer(model, body)
    };
    assert_eq!(rows("configured", 2).status, 200);
    let refused = rows("configured", 3);
    refused.expect_error(400, "inference request batch-size must be <= 2: the request has 3 rows");
    // Without a configuration the largest batch is the server's choice, and no limit of a request.
    let config = server.get("/v2/models/found/config").json();
    let more = config["max_batch_size"].as_u64().expect("a number") as usize + 1;
    let answer = rows("found", more);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["outputs"][0]["shape"], json!([more, 2]));
    assert_eq!(server.statistics("found")["execution_count"], 1);
}
