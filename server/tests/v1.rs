//! The V1 protocol: predictions for instances.

#![expect(clippy::expect_used, reason = "a test panics")]

mod support;

use serde_json::json;
use skysail_graph::{Dim, ElementType, GraphBuilder, Model};
use support::Server;
use support::http::Answer;
use support::models::{Models, add, over_all, same, waits};

/// `out = input_ids * attention_mask` and `mask = attention_mask`, for int32 `[batch, sequence]`.
fn masked() -> Model {
    let dims = [Dim::from("batch"), Dim::from("sequence")];
    let mut graph = GraphBuilder::new("masked");
    graph
        .input("input_ids", ElementType::Int32, &dims)
        .input("attention_mask", ElementType::Int32, &dims)
        .node("Mul", &["input_ids", "attention_mask"], &["out"], &[])
        .node("Identity", &["attention_mask"], &["mask"], &[])
        .output("out", ElementType::Int32, &dims)
        .output("mask", ElementType::Int32, &dims);
    graph.finish().expect("the graph is whole")
}

fn server(flags: &[&str]) -> Server {
    let models = Models::empty();
    models.add("add", &add(1.0)).add("masked", &masked()).add("same", &same());
    models.add("sum", &over_all("ReduceSum")).add_version("add", 2, &add(2.0));
    models.write("add/model.toml", "versions = { all = true }\n");
    Server::start_with(models.path(), &[&["--model-control", "none"], flags].concat())
}

fn predict(server: &Server, model: &str, body: &str) -> Answer {
    server.post(&format!("/v1/models/{model}:predict"), body)
}

#[expect(clippy::needless_pass_by_value, reason = "callers write the value where they pass it")]
#[track_caller]
fn expect_predictions(answer: &Answer, predictions: serde_json::Value) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json(), json!({"predictions": predictions}));
}

#[test]
fn instances_get_predictions() {
    let server = server(&[]);
    let rows = predict(&server, "same", r#"{"instances": [[1, 2.5], [3, 4]]}"#);
    expect_predictions(&rows, json!([[1.0, 2.5], [3.0, 4.0]]));
    let columns = predict(&server, "same", r#"{"inputs": {"x": [[1, 2.5], [3, 4]]}}"#);
    expect_predictions(&columns, json!([[1.0, 2.5], [3.0, 4.0]]));
    let version = server.post("/v1/models/add/versions/1:predict", r#"{"instances": [[1, 2]]}"#);
    expect_predictions(&version, json!([[2.0, 3.0]]));
    expect_predictions(&predict(&server, "add", r#"{"instances": [[1, 2]]}"#), json!([[3.0, 4.0]]));
    let whole = predict(&server, "sum", r#"{"instances": [[1, 2], [3, 4]]}"#);
    expect_predictions(&whole, json!([10.0]));
}

#[test]
fn columns_have_names() {
    let server = server(&[]);
    let both = json!([{"out": [4, 0], "mask": [1, 0]}, {"out": [6, 7], "mask": [1, 1]}]);
    let rows = r#"{"instances": [{"input_ids": [4, 5], "attention_mask": [1, 0]},
                                 {"attention_mask": [1, 1], "input_ids": [6, 7]}]}"#;
    expect_predictions(&predict(&server, "masked", rows), both.clone());
    let columns =
        r#"{"inputs": {"input_ids": [[4, 5], [6, 7]], "attention_mask": [[1, 0], [1, 1]]}}"#;
    expect_predictions(&predict(&server, "masked", columns), both);
}

#[test]
fn mistakes_are_errors_with_a_reason() {
    let server = server(&[]);
    for (body, words) in [
        ("{", "can not be read"),
        ("{}", "neither 'instances' nor 'inputs'"),
        (r#"{"instances": [[1, 2], [3]]}"#, "equal lengths"),
        (r#"{"instances": [[1, 2, 3]]}"#, "shape [1,3], and the model takes [-1,2]"),
        (r#"{"instances": [["a", "b"]]}"#, "a number for FP32, not \"a\""),
        (r#"{"instances": [{"z": 1}]}"#, "no input 'z'; its inputs are 'x'"),
    ] {
        predict(&server, "add", body).expect_error(400, words);
    }
    let one = r#"{"instances": [{"input_ids": [4, 5]}]}"#;
    predict(&server, "masked", one).expect_error(400, "input 'attention_mask' is missing");
    predict(&server, "no-such", r#"{"instances": []}"#).expect_error(404, "no model 'no-such'");
    server.get("/v1/models/add:predict").expect_error(405, "POST only");
    server.infer("add", r#"{"instances": [[1, 2]]}"#).expect_error(400, "/v1/models/NAME:predict");
}

#[test]
fn models_are_listed_with_their_readiness() {
    let server = server(&[]);
    assert_eq!(server.get("/").json(), json!({"status": "alive"}));
    let list = server.get("/v1/models").json();
    assert_eq!(list, json!({"models": ["add", "masked", "same", "sum"]}));
    assert_eq!(server.get("/v1/models/add").json(), json!({"name": "add", "ready": true}));
    server.get("/v1/models/no-such").expect_error(404, "no model 'no-such'");
}

#[test]
fn numbers_that_are_not_finite_follow_the_setting() {
    let body = r#"{"instances": [[NaN, null], [Infinity, 1]]}"#;
    let nan = predict(&server(&[]), "same", body);
    assert_eq!(nan.text(), r#"{"predictions":[[NaN,NaN],[Infinity,1.0]]}"#);
    let null = predict(&server(&["--json-non-finite", "null"]), "same", body);
    expect_predictions(&null, json!([[null, null], [null, 1.0]]));
    let refused = predict(&server(&["--json-non-finite", "error"]), "same", body);
    refused.expect_error(400, "output 'y' holds NaN");
}

#[test]
fn requests_of_both_protocols_share_runs() {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("add/model.toml", waits(2, 60_000));
    let server = Server::start(models.path());
    let mut v1 = server.connect();
    v1.send_request("POST", "/v1/models/add:predict", &[], br#"{"instances": [[1, 2]]}"#);
    server.wait_for_waiting("add", 1);
    assert_eq!(server.infer("add", support::models::ADD_REQUEST).status, 200);
    expect_predictions(&v1.answer(), json!([[2.0, 3.0]]));
    assert_eq!(server.statistics("add")["execution_count"], 1);
}
