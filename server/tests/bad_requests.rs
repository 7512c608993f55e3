//! Invalid HTTP requests: each gets its own message and status, and the server keeps serving.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::fmt::Display;
use std::io::Write;
use support::Server;
use support::http::Answer;
use support::models::{ADD_REQUEST, Models, add, mean, same};

/// Most bytes of memory for requests that demand too much.
const GROWTH_BYTES_MAX: u64 = 256 << 20;

fn server() -> Server {
    let models = Models::empty();
    models.add("add", &add(1.0)).add("same", &same()).add("mean", &mean());
    Server::start_with(models.path(), &["--model-control", "none"])
}

/// Checks that a valid request gets its response.
#[track_caller]
fn expect_good(server: &Server) {
    let answer = server.infer("add", ADD_REQUEST);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["outputs"][0]["data"].to_string(), "[2.0,3.0]");
}

/// A request for the model `add` with these fields in its input.
fn add_input(fields: &str) -> String {
    format!("{{\"inputs\": [{{{fields}}}]}}")
}

/// Posts JSON and raw bytes, with a header for the length of the JSON.
fn post_binary(server: &Server, model: &str, length: impl Display, body: &[u8]) -> Answer {
    let header = format!("Inference-Header-Content-Length: {length}");
    server.connect().request("POST", &format!("/v2/models/{model}/infer"), &[&header], body)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn unknown_models_and_versions() {
    let server = server();
    let infer = |path: &str| server.post(&format!("/v2/models/{path}/infer"), ADD_REQUEST);
    infer("no-such").expect_error(404, "no model 'no-such'");
    infer("add/versions/2").expect_error(404, "no version 2 in service; it serves 1");
    infer("add/versions/x").expect_error(400, "version 'x' is no number");
    infer("add/versions/-1").expect_error(400, "version '-1' is no number");
    infer("%ff").expect_error(400, "not UTF-8");
    infer("..%2f..%2fetc").expect_error(404, "no model '../../etc'");
    expect_good(&server);
}

#[test]
fn unknown_paths_and_methods() {
    let server = server();
    server.get("/no-such").expect_error(404, "GET /v2 describes this server");
    server.get("/v2/model/add").expect_error(404, "near it are GET /v2/models/NAME");
    server.get("/v2/models/add/no-such").expect_error(404, "/v2/models/add/no-such");
    server.get(&format!("/v2/models{}", "/x".repeat(100))).expect_error(404, "no path");
    let infer = server.get("/v2/models/add/infer");
    infer.expect_error(405, "POST only");
    assert_eq!(infer.header("allow"), Some("POST"));
    server.post("/v2/health/live", "").expect_error(405, "GET only");
    let put = server.connect().request("PUT", "/v2/logging", &[], b"");
    put.expect_error(405, "GET, POST");
    assert_eq!(put.header("allow"), Some("GET, POST"));
    expect_good(&server);
}

#[test]
fn tensors_that_do_not_match_the_signature() {
    let server = server();
    let cases = [
        (r#""name": "z", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]"#, "no input 'z'"),
        (r#""name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]"#, "takes [-1,2]"),
        (r#""name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]"#, "shape [2]"),
        (r#""name": "x", "shape": [], "datatype": "FP32", "data": [1]"#, "shape []"),
        (r#""name": "x", "shape": [-1, 2], "datatype": "FP32", "data": []"#, "-1"),
        (r#""name": "x", "shape": [1.5, 2], "datatype": "FP32", "data": []"#, "1.5"),
        (
            r#""name": "x", "shape": 2, "datatype": "FP32", "data": []"#,
            "a list of natural numbers, not 2",
        ),
        (r#""name": "x", "shape": [1, 2], "datatype": "INT8", "data": [1, 2]"#, "datatype INT8"),
        (r#""name": "x", "shape": [1, 2], "datatype": "FLOAT", "data": [1, 2]"#, "'FLOAT' is not"),
        (r#""name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2, 3]"#, "12 bytes"),
        (r#""name": "x", "shape": [1, 2], "datatype": "FP32", "data": []"#, "0 bytes"),
        (r#""name": "x", "shape": [1, 2], "datatype": "FP32""#, "no 'data'"),
        (r#""name": "x", "shape": [1, 2], "data": [1, 2]"#, "input 'x' has no 'datatype'"),
        (
            r#""name": 3, "shape": [1, 2], "datatype": "FP32", "data": [1, 2]"#,
            "inputs[0]: 'name' must be a text, not 3",
        ),
    ];
    for (fields, words) in cases {
        server.infer("add", add_input(fields)).expect_error(400, words);
    }
    server.infer("add", r#"{"inputs": []}"#).expect_error(400, "input 'x' is missing");
    server.infer("add", "{}").expect_error(400, "no 'inputs'");
    let outputs = |json: &str| ADD_REQUEST.replacen('{', &format!("{{\"outputs\": {json},"), 1);
    server.infer("add", outputs(r#"[{"name": "z"}]"#)).expect_error(400, "no output 'z'");
    let twice = outputs(r#"[{"name": "y"}, {"name": "y"}]"#);
    server.infer("add", twice).expect_error(400, "'y' is asked for twice");
    expect_good(&server);
}

#[test]
fn duplicate_fields() {
    let server = server();
    let input = r#"{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}"#;
    let twice = format!("{{\"inputs\": [{input}, {input}]}}");
    server.infer("add", twice).expect_error(400, "'x' stands in the request twice");
    let fields = r#""name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1], "data": [2]"#;
    server.infer("add", add_input(fields)).expect_error(400, "'data' stands there twice");
    let fields = r#""data": [1], "name": "x", "shape": [1, 2], "datatype": "FP32", "data": [2]"#;
    server.infer("add", add_input(fields)).expect_error(400, "'data' stands there twice");
    let fields = r#""name": "x", "shape": [2, 2], "shape": [1, 2], "datatype": "FP32", "data": []"#;
    server.infer("add", add_input(fields)).expect_error(400, "'shape' stands there twice");
    let twice = r#"{"inputs": [], "inputs": []}"#;
    server.infer("add", twice).expect_error(400, "'inputs' stands there twice");
    let twice = r#"{"timeout": 5, "tenant": "a", "timeout": 5}"#;
    let of_request = ADD_REQUEST.replacen('{', &format!("{{\"parameters\": {twice},"), 1);
    server.infer("add", of_request).expect_error(400, "parameter 'timeout' stands there twice");
    let fields = r#""name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2],"#;
    let own = format!(r#"{fields} "parameters": {{"a": 1, "\u0061": null}}"#);
    server.infer("add", add_input(&own)).expect_error(400, "input 'x': parameter 'a' stands there");
    let output = r#"{"name": "y", "parameters": {"b64": true, "b64": false}}"#;
    let of_output = ADD_REQUEST.replacen('{', &format!("{{\"outputs\": [{output}],"), 1);
    server.infer("add", of_output).expect_error(400, "output 'y': parameter 'b64' stands there");
    expect_good(&server);
}

#[test]
fn numbers_out_of_range() {
    let server = server();
    let with = |number: &str| {
        let data = format!("\"data\": [{number}, 2]");
        let fields = r#""name": "x", "shape": [1, 2], "datatype": "FP32","#;
        server.infer("add", add_input(&format!("{fields} {data}")))
    };
    with("1e39").expect_error(400, "too large for FP32");
    with("1e999").expect_error(400, "too large for FP32");
    with("nan").expect_error(400, "can not be read");
    with("-NaN").expect_error(400, "can not be read");
    with("\"1\"").expect_error(400, "a number for FP32, not \"1\"");
    with("true").expect_error(400, "a number for FP32, not true");
    with("{}").expect_error(400, "a number for FP32, not {}");
    expect_good(&server);
}

#[test]
fn known_parameters_of_another_type() {
    let server = server();
    let with = |parameters: &str| {
        let start = format!("{{\"parameters\": {parameters},");
        server.infer("add", ADD_REQUEST.replacen('{', &start, 1))
    };
    with(r#"{"timeout": "soon"}"#).expect_error(400, "'timeout' must be a natural number");
    with(r#"{"timeout": -1}"#).expect_error(400, "'timeout' must be a natural number");
    for priority in ["-1", "1.5", "\"high\"", "true", "18446744073709551616"] {
        with(&format!(r#"{{"priority": {priority}}}"#))
            .expect_error(400, "'priority' must be a natural number");
    }
    for priority in [0, 1, u64::MAX] {
        assert_eq!(with(&format!(r#"{{"priority": {priority}}}"#)).status, 200);
    }
    with(r#"{"binary_data_output": 1}"#).expect_error(400, "true or false");
    with(r#"{"timeout": 1e999}"#).expect_error(400, "natural number, not 1e999");
    with(r#"{"sequence_id": 7}"#).expect_error(501, "sequences are not supported");
    with("[]").expect_error(400, "'parameters' must be an object, not []");
    let fields = r#""name": "x", "shape": [1, 2], "datatype": "FP32", "parameters":"#;
    let of_input =
        |parameters: &str| server.infer("add", add_input(&format!("{fields} {parameters}")));
    of_input(r#"{"binary_data_size": "8"}"#)
        .expect_error(400, "input 'x': parameter 'binary_data_size'");
    of_input(r#"{"binary_data_size": 8}"#).expect_error(400, "no header inference-header");
    expect_good(&server);
}

#[test]
fn bodies_that_are_not_json() {
    let server = server();
    server.infer("add", "").expect_error(400, "can not be read");
    server.infer("add", &ADD_REQUEST[..50]).expect_error(400, "where it ends, there should be");
    server.infer("add", format!("{ADD_REQUEST} x")).expect_error(400, "the end of the JSON");
    server.infer("add", b"{\"id\": \"\xff\xfe\"}").expect_error(400, "not UTF-8");
    server.infer("add", "\u{feff}{}").expect_error(400, "can not be read");
    server.infer("add", vec![0; 100]).expect_error(400, "can not be read");
    expect_good(&server);
}

#[test]
fn bodies_of_other_requests_that_are_not_json() {
    let server = server();
    for path in ["/v2/repository/index", "/v2/repository/models/add/load", "/v2/logging"] {
        let post = |body: &str| server.post(path, body);
        post(" ").expect_error(400, "the body must be an object");
        post("{\n\"a\"")
            .expect_error(400, "at line 2, column 4, where it ends, there should be ':'");
        post(r#"{"a": tru}"#).expect_error(400, "there should be a value");
        post(r#"{"a": 1, "a": 2}"#).expect_error(400, "'a' stands there twice");
        post("[]").expect_error(400, "the body must be an object, not []");
    }
    expect_good(&server);
}

#[test]
fn wrong_lengths_of_binary_tensors() {
    let server = server();
    let json = r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32",
        "parameters": {"binary_data_size": 8}}]}"#;
    let body = |raw: &[u8]| [json.as_bytes(), raw].concat();
    let length = json.len();
    assert_eq!(post_binary(&server, "add", length, &body(&[0; 8])).status, 200);
    post_binary(&server, "add", length, &body(&[0; 7])).expect_error(400, "7 bytes are left");
    post_binary(&server, "add", length, &body(&[0; 9])).expect_error(400, "1 bytes follow");
    post_binary(&server, "add", length - 1, &body(&[0; 8])).expect_error(400, "can not be read");
    post_binary(&server, "add", length + 1, &body(&[0; 8])).expect_error(400, "can not be read");
    post_binary(&server, "add", 1_u64 << 40, &body(&[0; 8])).expect_error(400, "and the body has");
    for number in ["-1", "x", "", "99999999999999999999"] {
        let answer = post_binary(&server, "add", number, &body(&[0; 8]));
        answer.expect_error(400, "must be a natural number");
    }
    let much = json.replace(": 8", ": 18446744073709551615");
    post_binary(&server, "add", much.len(), much.as_bytes()).expect_error(400, "0 bytes are left");
    post_binary(&server, "add", 0, &[0; 7]).expect_error(400, "brings 7 bytes");
    expect_good(&server);
}

#[test]
fn shapes_that_demand_much_memory() {
    let server = server();
    let before = server.peak_memory_bytes();
    let shaped = |model: &str, shape: &str| {
        let fields = r#""name": "x", "datatype": "FP32", "data": [], "shape":"#;
        server.infer(model, add_input(&format!("{fields} {shape}")))
    };
    // No elements, and so no bytes, but an output with as many rows.
    shaped("mean", "[1000000000, 0]").expect_error(400, "too large");
    shaped("mean", "[18446744073709551615, 0]").expect_error(400, "too large");
    shaped("same", "[0, 18446744073709551615]").expect_error(400, "too large");
    shaped("same", "[18446744073709551615, 18446744073709551615]").expect_error(400, "too large");
    assert_eq!(shaped("same", "[0, 3]").status, 200);
    let after = server.peak_memory_bytes();
    assert!(after < before + GROWTH_BYTES_MAX, "{before} bytes became {after}");
    expect_good(&server);
}

#[test]
fn unknown_and_wrong_encodings() {
    let server = server();
    let with = |encoding: &str, body: &[u8]| {
        let header = format!("Content-Encoding: {encoding}");
        server.connect().request("POST", "/v2/models/add/infer", &[&header], body)
    };
    let good = ADD_REQUEST.as_bytes();
    for name in ["gzip", "GZIP", "x-gzip", "X-Gzip"] {
        assert_eq!(with(name, &gzip(good)).status, 200, "{name}");
    }
    let accepted = ["Accept-Encoding: GZip"];
    let small = server.connect().request("POST", "/v2/models/add/infer", &accepted, good);
    assert_eq!(small.header("content-encoding"), Some("gzip"));
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
    deflate.write_all(good).unwrap();
    assert_eq!(with("deflate", &deflate.finish().unwrap()).status, 200);
    assert_eq!(with("identity", good).status, 200);
    with("br", good).expect_error(415, "'br' is not known here; gzip and deflate are");
    with("gzip, gzip", good).expect_error(415, "'gzip, gzip' is not known");
    with("gzip", good).expect_error(400, "can not be decompressed");
    let whole = gzip(good);
    with("gzip", &whole[..whole.len() - 9]).expect_error(400, "can not be decompressed");
    with("deflate", &whole).expect_error(400, "can not be decompressed");
    expect_good(&server);
}

#[test]
fn decompression_bombs_use_little_memory() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let flags = ["--body-bytes-max", "16000000", "--in-flight-bytes-max", "32000000"];
    let server = Server::start_with(models.path(), &flags);
    expect_good(&server);
    let before = server.peak_memory_bytes();

    let zeros = gzip(&vec![b' '; 1 << 30]);
    let gzip_header = ["Content-Encoding: gzip"];
    let bomb = server.connect().request("POST", "/v2/models/add/infer", &gzip_header, &zeros);
    bomb.expect_error(413, "larger than 16000000 bytes; the server's flag --body-bytes-max");

    let deep = "[".repeat(10_000_000);
    server.infer("add", &deep).expect_error(400, "must be an object with 'inputs'");
    let fields = r#""name": "x", "shape": [1, 2], "datatype": "FP32", "data":"#;
    server
        .infer("add", add_input(&format!("{fields} {deep}")))
        .expect_error(400, "at most 128 lists and objects");
    server.infer("add", format!("{{\"x\": {deep}")).expect_error(400, "can not be read");

    let many = |element: &str| element.repeat(15_000_000 / element.len());
    let data = format!("{fields} [{}1]", many("1,"));
    server.infer("add", add_input(&data)).expect_error(400, "bytes, and its shape");
    let shape = format!("\"name\": \"x\", \"shape\": [{}1]", many("1,"));
    server.infer("add", add_input(&shape)).expect_error(400, "64 dimensions");
    let parameters = format!("{{\"parameters\": {{{}\"b\": 1}}}}", many("\"a\":1,"));
    server.infer("add", parameters).expect_error(400, "parameter 'a' stands there twice");
    let names: Vec<String> = (0..1_000_000).map(|name| format!("\"{name}\":1")).collect();
    let parameters = format!("{{\"parameters\": {{{}}}}}", names.join(","));
    server.infer("add", parameters).expect_error(400, "'16384' is one of more than 16384");
    let outputs = format!("{{\"outputs\": [{}{{\"name\":\"y\"}}]}}", many("{\"name\":\"\"},"));
    server.infer("add", outputs).expect_error(400, "more than 4096 outputs");
    let input = r#"{"name":"","shape":[],"datatype":"BOOL","data":[]},"#;
    let inputs = format!("{{\"inputs\": [{}{{}}]}}", many(input));
    server.infer("add", inputs).expect_error(400, "more than 4096 inputs");

    let after = server.peak_memory_bytes();
    assert!(after < before + GROWTH_BYTES_MAX, "{before} bytes became {after}");
    expect_good(&server);
}

#[test]
fn any_characters_are_valid_in_names() {
    let models = Models::empty();
    models.add("a \"b\" c%", &add(1.0));
    let server = Server::start(models.path());
    let answer = server.infer("a%20%22b%22%20c%25", ADD_REQUEST);
    assert_eq!(answer.json()["model_name"], "a \"b\" c%");
}
