//! Parameters that the protocol does not know, and where they are seen.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use serde_json::{Value, json};
use skysail_protocol::grpc::grpc_inference_service_client::GrpcInferenceServiceClient;
use skysail_protocol::grpc::infer_parameter::ParameterChoice;
use skysail_protocol::grpc::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use skysail_protocol::grpc::{InferParameter, ModelInferRequest};
use support::Server;
use support::models::{Models, add};
use tonic::transport::Channel;

fn server() -> Server {
    let models = Models::empty();
    models.add("add", &add(1.0));
    Server::start_with(models.path(), &["--model-control", "none"])
}

/// A request with these parameters of itself, its input and its output.
fn request(own: &str, input: &str, output: &str) -> String {
    format!(
        r#"{{"id": "seven", "parameters": {own}, "inputs": [{{"name": "x", "shape": [1, 2],
        "datatype": "FP32", "data": [1, 2], "parameters": {input}}}],
        "outputs": [{{"name": "y", "parameters": {output}}}]}}"#
    )
}

/// The parameters of each kept request.
fn kept_parameters(server: &Server) -> Vec<Value> {
    let tail = server.get("/v2/debug/tail").json();
    let requests = tail["models"][0]["requests"].as_array().unwrap();
    requests.iter().map(|request| request["parameters"].clone()).collect()
}

#[test]
fn any_json_is_a_parameter() {
    let server = server();
    let own = r#"{"tenant": "blue", "trace": true, "weight": 3, "share": 0.5, "none": null,
        "headers": {"a": ["b", NaN]}, "large": 340282366920938463463374607431768211456}"#;
    let answer = server.infer("add", request(own, r#"{"content_type": "np"}"#, r#"{"a": []}"#));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["outputs"][0]["data"], json!([2.0, 3.0]));
    // The id comes back; parameters of a response are the model's, and this one has none.
    assert_eq!(json["id"], "seven");
    assert!(json.get("parameters").is_none() && json["outputs"][0].get("parameters").is_none());
    let kept = kept_parameters(&server).remove(0);
    assert_eq!((&kept["tenant"], &kept["trace"]), (&json!("blue"), &json!(true)));
    assert_eq!((&kept["weight"], &kept["share"]), (&json!(3), &json!(0.5)));
    assert_eq!(kept["headers"], json!(r#"{"a": ["b", NaN]}"#));
    assert_eq!(
        (&kept["inputs[0].content_type"], &kept["outputs[0].a"]),
        (&json!("np"), &json!("[]"))
    );
}

#[test]
fn null_is_absent() {
    let server = server();
    let known = r#"{"timeout": null, "priority": null, "sequence_id": null,
        "binary_data_output": null}"#;
    for own in ["null", "{}", known] {
        let answer = server.infer("add", request(own, "null", r#"{"binary_data": null}"#));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let all = r#"{"id": null, "outputs": null, "parameters": null, "inputs": [{"name": "x",
        "shape": [1, 2], "datatype": "FP32", "parameters": null, "data": [1, 2]}]}"#;
    assert_eq!(server.infer("add", all).status, 200);
    assert!(kept_parameters(&server).iter().all(Value::is_null));
}

#[test]
fn many_and_long_parameters_are_answered_within_limits() {
    let server = server();
    let long = format!("{{\"long\": \"{}\", \"short\": 1}}", "x".repeat(1 << 20));
    assert_eq!(server.infer("add", request(&long, "{}", "{}")).status, 200);
    let many: Vec<String> = (0..10_000).map(|name| format!("\"p{name}\": {name}")).collect();
    let many = format!("{{{}}}", many.join(","));
    assert_eq!(server.infer("add", request(&many, &many, "{}")).status, 200);
    let mut kept = kept_parameters(&server);
    kept.sort_by_key(|kept| kept.as_object().unwrap().len());
    assert_eq!(kept[0], json!({"short": 1}));
    assert_eq!(kept[1].as_object().unwrap().len(), 64);
}

#[test]
fn a_failed_request_is_logged_with_its_parameters() {
    let server = server();
    let wrong = request(r#"{"tenant": "blue\n2026"}"#, "{}", "{}").replace("[1, 2],", "[1, 3],");
    server.infer("add", wrong).expect_error(400, "shape [1,3]");
    let log = server.stop();
    let line = log.lines().find(|line| line.contains("shape [1,3]")).unwrap();
    assert!(line.contains(r#"tenant="blue\n2026""#), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_grpc_parameter_is_taken() {
    let server = server();
    let address = format!("http://{}", server.grpc());
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    let mut client = GrpcInferenceServiceClient::new(channel);
    let choices = [
        ("bool", Some(ParameterChoice::BoolParam(true))),
        ("int64", Some(ParameterChoice::Int64Param(-1))),
        ("uint64", Some(ParameterChoice::Uint64Param(u64::MAX))),
        ("double", Some(ParameterChoice::DoubleParam(0.5))),
        ("string", Some(ParameterChoice::StringParam("np".into()))),
        ("unset", None),
        ("timeout", None),
    ];
    let parameters = choices
        .map(|(name, parameter_choice)| (name.to_owned(), InferParameter { parameter_choice }));
    let content_type = [parameters[4].clone()];
    let message = ModelInferRequest {
        model_name: "add".into(),
        id: "seven".into(),
        parameters: parameters.into_iter().collect(),
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            shape: vec![1, 2],
            parameters: content_type.clone().into_iter().collect(),
            ..Default::default()
        }],
        outputs: vec![InferRequestedOutputTensor {
            name: "y".into(),
            parameters: content_type.into_iter().collect(),
        }],
        raw_input_contents: vec![vec![0; 8].into()],
        ..Default::default()
    };
    let answer = client.model_infer(message).await.unwrap().into_inner();
    assert_eq!(answer.id, "seven");
    assert!(answer.parameters.is_empty() && answer.outputs[0].parameters.is_empty());
    let kept = tokio::task::block_in_place(|| kept_parameters(&server).remove(0));
    let expected = json!({"bool": true, "int64": -1, "uint64": "18446744073709551615", "unset": null,
        "double": 0.5, "string": "np", "inputs[0].string": "np", "outputs[0].string": "np"});
    assert_eq!(kept, expected);
}
