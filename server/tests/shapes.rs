//! Optional inputs, and tensors with missing or wrong declared shapes, over all protocols.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test panics")]

mod support;

use bytes::Bytes;
use serde_json::{Value, json};
use skysail_graph::{Dim, ElementType, GraphBuilder, Model, Tensor};
use skysail_protocol::grpc::grpc_inference_service_client::GrpcInferenceServiceClient;
use skysail_protocol::grpc::model_infer_request::InferInputTensor;
use skysail_protocol::grpc::{ModelConfigRequest, ModelInferRequest, ModelMetadataRequest};
use support::Server;
use support::models::{Models, add};
use tonic::transport::Channel;

const FLOAT: ElementType = ElementType::Float32;

/// `y = x * scale`, float32 `[batch, 2]`, and the scale is 2.
fn scaled() -> Model {
    let dims = [Dim::from("batch"), Dim::from(2)];
    let mut graph = GraphBuilder::new("scaled");
    graph
        .input("x", FLOAT, &dims)
        .optional_input("scale", &[Dim::from(1)], Tensor::new(&[1], &[2.0_f32]).unwrap())
        .node("Mul", &["x", "scale"], &["y"], &[])
        .output("y", FLOAT, &dims);
    graph.finish().unwrap()
}

/// `y = -x`, without declared shapes.
fn shapeless() -> Model {
    let mut graph = GraphBuilder::new("shapeless");
    graph
        .input_of_any_rank("x", FLOAT)
        .node("Neg", &["x"], &["y"], &[])
        .output_of_any_rank("y", FLOAT);
    graph.finish().unwrap()
}

fn server(models: &Models) -> Server {
    Server::start_with(models.path(), &["--model-control", "none"])
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// An input and its elements.
type Input<'a> = (&'a str, &'a [usize], &'a [f32]);

/// Shape and elements of `y`, which must be equal over all protocols.
fn ask(server: &Server, model: &str, inputs: &[Input<'_>]) -> (Vec<usize>, Vec<f32>) {
    let answer = of_json(&server.infer(model, in_json(inputs, false)).json());
    let header = in_json(inputs, true);
    let data = inputs.iter().flat_map(|(_, _, numbers)| floats(numbers));
    let body: Vec<u8> = header.bytes().chain(data).collect();
    let length = format!("Inference-Header-Content-Length: {}", header.len());
    let path = format!("/v2/models/{model}/infer");
    let binary = server.connect().request("POST", &path, &[&length], &body).json();
    assert_eq!(of_json(&binary), answer, "raw bytes");
    assert_eq!(ask_grpc(server, model, inputs), answer, "gRPC");
    answer
}

fn in_json(inputs: &[Input<'_>], raw: bool) -> String {
    let input = |(name, shape, numbers): &Input<'_>| {
        let mut input = json!({"name": name, "shape": shape, "datatype": "FP32"});
        match raw {
            true => input["parameters"] = json!({"binary_data_size": numbers.len() * 4}),
            false => input["data"] = json!(numbers),
        }
        input
    };
    json!({"inputs": inputs.iter().map(input).collect::<Vec<Value>>()}).to_string()
}

fn of_json(answer: &Value) -> (Vec<usize>, Vec<f32>) {
    let output = &answer["outputs"][0];
    let list = |key: &str| output[key].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
    let shape = list("shape").iter().map(|size| size.as_u64().unwrap() as usize).collect();
    (shape, list("data").iter().map(|number| number.as_f64().unwrap() as f32).collect())
}

#[tokio::main(flavor = "current_thread")]
async fn ask_grpc(server: &Server, model: &str, inputs: &[Input<'_>]) -> (Vec<usize>, Vec<f32>) {
    let mut client = client(server).await;
    let input = |(name, shape, _): &Input<'_>| InferInputTensor {
        name: (*name).into(),
        datatype: "FP32".into(),
        shape: shape.iter().map(|&size| size as i64).collect(),
        ..InferInputTensor::default()
    };
    let request = ModelInferRequest {
        model_name: model.into(),
        inputs: inputs.iter().map(input).collect(),
        raw_input_contents: inputs.iter().map(|(.., data)| Bytes::from(floats(data))).collect(),
        ..ModelInferRequest::default()
    };
    let answer = client.model_infer(request).await.unwrap().into_inner();
    let shape = answer.outputs[0].shape.iter().map(|&size| size as usize).collect();
    let numbers = answer.raw_output_contents[0].as_chunks().0;
    (shape, numbers.iter().map(|&number| f32::from_le_bytes(number)).collect())
}

async fn client(server: &Server) -> GrpcInferenceServiceClient<Channel> {
    let address = format!("http://{}", server.grpc());
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    GrpcInferenceServiceClient::new(channel)
}

#[test]
fn an_input_with_a_default_is_optional() {
    let models = Models::empty();
    models.add("scaled", &scaled());
    let server = server(&models);
    let x: Input<'_> = ("x", &[1, 2], &[1.0, 3.0]);
    assert_eq!(ask(&server, "scaled", &[x]), (vec![1, 2], vec![2.0, 6.0]));
    let scale: Input<'_> = ("scale", &[1], &[5.0]);
    assert_eq!(ask(&server, "scaled", &[x, scale]), (vec![1, 2], vec![5.0, 15.0]));
    assert_eq!(ask(&server, "scaled", &[scale, x]), (vec![1, 2], vec![5.0, 15.0]));
    assert_eq!(ask(&server, "scaled", &[x]), (vec![1, 2], vec![2.0, 6.0]));
    let wrong = in_json(&[x, ("scale", &[2], &[5.0, 5.0])], false);
    server.infer("scaled", wrong).expect_error(400, "input 'scale' has shape [2]");
    let alone = in_json(&[scale], false);
    server.infer("scaled", alone).expect_error(400, "input 'x' is missing");
}

#[test]
fn metadata_and_configuration_list_optional_inputs() {
    let models = Models::empty();
    models.add("scaled", &scaled()).add("add", &add(1.0));
    let server = server(&models);
    let metadata = server.get("/v2/models/scaled").json();
    let scale = json!({"name": "scale", "datatype": "FP32", "shape": [1]});
    assert_eq!(metadata["inputs"][1], scale);
    assert_eq!(metadata["properties"]["optional_inputs"], r#"["scale"]"#);
    let config = server.get("/v2/models/scaled/config").json();
    assert_eq!(config["max_batch_size"], 256);
    assert_ne!(config["input"][0]["optional"], true);
    assert_eq!(
        (&config["input"][1]["name"], &config["input"][1]["optional"]),
        (&json!("scale"), &json!(true))
    );
    assert_eq!(config["input"][1]["dims"], json!([1]));
    let plain = server.get("/v2/models/add").json();
    assert_eq!(plain["properties"]["optional_inputs"], Value::Null);
    optional_inputs_by_grpc(&server);
}

#[tokio::main(flavor = "current_thread")]
async fn optional_inputs_by_grpc(server: &Server) {
    let mut client = client(server).await;
    let (name, version) = ("scaled".to_owned(), String::new());
    let asked = ModelMetadataRequest { name: name.clone(), version: version.clone() };
    let metadata = client.model_metadata(asked).await.unwrap().into_inner();
    let names: Vec<&str> = metadata.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(names, ["x", "scale"]);
    let config = client.model_config(ModelConfigRequest { name, version }).await.unwrap();
    let config = config.into_inner().config.unwrap();
    assert_eq!(config.input.iter().map(|i| i.optional).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn the_configuration_may_declare_an_input_with_a_default_optional() {
    let config = |input: &str| {
        format!(
            r#"max_batch_size: 0
            input [ {{ name: "x" data_type: TYPE_FP32 dims: [ -1, 2 ] }},
                    {{ name: "{input}" data_type: TYPE_FP32 dims: [ 1 ] optional: true }} ]"#
        )
    };
    let models = Models::empty();
    models.add("scaled", &scaled()).write("scaled/config.pbtxt", config("scale"));
    let optional = r#"input [ { name: "x" dims: [ -1, 2 ] optional: true } ]"#;
    models.add("add", &add(1.0)).write("add/config.pbtxt", optional);
    let server = Server::start_unready(models.path(), &["--model-control", "none"]);
    server.wait_for_state("scaled", "1", "READY");
    let x: Input<'_> = ("x", &[1, 2], &[1.0, 3.0]);
    assert_eq!(ask(&server, "scaled", &[x, ("scale", &[1], &[4.0])]).1, [4.0, 12.0]);
    assert_eq!(ask(&server, "scaled", &[x]).1, [2.0, 6.0]);
    assert!(!server.log().contains("'input[1].optional' has no effect"), "{}", server.log());
    let reason = server.wait_for_state("add", "1", "UNAVAILABLE");
    assert!(reason.contains("input 'x' is optional in its configuration"), "{reason}");
}

#[test]
fn a_tensor_without_a_declared_shape_accepts_any_shape() {
    let models = Models::empty();
    models.add("shapeless", &shapeless());
    let server = server(&models);
    let metadata = server.get("/v2/models/shapeless").json();
    assert_eq!(
        (&metadata["inputs"][0]["shape"], &metadata["outputs"][0]["shape"]),
        (&json!([-1]), &json!([-1]))
    );
    let config = server.get("/v2/models/shapeless/config").json();
    assert_eq!(
        (&config["input"][0]["dims"], &config["output"][0]["dims"]),
        (&json!([-1]), &json!([-1]))
    );
    for shape in [&[][..], &[2], &[1, 2], &[2, 1, 3]] {
        let count = shape.iter().product();
        let answer = ask(&server, "shapeless", &[("x", shape, &vec![1.5; count])]);
        assert_eq!(answer, (shape.to_vec(), vec![-1.5; count]));
    }
    // A body of raw elements is one row.
    let raw = ["Inference-Header-Content-Length: 0"];
    let answer =
        server.connect().request("POST", "/v2/models/shapeless/infer", &raw, &floats(&[1.0; 3]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.body.ends_with(&floats(&[-1.0; 3])));
}

#[test]
fn a_response_has_the_actual_shape() {
    let models = Models::empty();
    let mut graph = GraphBuilder::new("wrong");
    graph
        .input("x", FLOAT, &[Dim::from("batch"), Dim::from(4)])
        .node("Neg", &["x"], &["y"], &[])
        .output("y", FLOAT, &[Dim::from(1), Dim::from(4)])
        .output("x", FLOAT, &[Dim::from("batch"), Dim::from(4)]);
    models.add("wrong", &graph.finish().unwrap());
    let server = server(&models);
    for rows in [1, 3, 2] {
        let numbers: Vec<f32> = (0..rows * 4).map(|number| number as f32).collect();
        let (shape, y) = ask(&server, "wrong", &[("x", &[rows, 4], &numbers)]);
        assert_eq!(shape, [rows, 4]);
        assert_eq!(y, numbers.iter().map(|number| -number).collect::<Vec<f32>>());
    }
}
