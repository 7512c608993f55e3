//! Real models, if available: each loads, round-trips, and gives its tensors.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics and prints")]

mod support;

use onnx_protobuf::{Message, ModelProto};
use skysail_graph::{ElementType, Kind, Model, TensorView};
use support::models;

#[test]
fn models_round_trip() {
    for path in models() {
        let bytes = std::fs::read(&path).unwrap();
        let model = Model::load(&path).unwrap();
        let written = model.to_bytes().unwrap();
        let again = Model::from_bytes(&written).unwrap();
        assert_eq!(again.to_bytes().unwrap(), written, "{}", path.display());
        let decoded = |bytes: &[u8]| ModelProto::parse_from_bytes(bytes).unwrap();
        assert_eq!(decoded(&written), decoded(&bytes), "{}", path.display());
    }
}

#[test]
fn tensors_have_as_many_values_as_their_shapes() {
    for path in models() {
        let model = Model::load(&path).unwrap();
        for tensor in model.graph().initializers() {
            check_tensor(tensor);
        }
        for value in model.graph().inputs().iter().chain(&model.graph().outputs()) {
            assert_ne!(value.kind, Kind::Unknown, "{}: {value}", path.display());
        }
        for weight in model.graph().weights().unwrap() {
            assert!(weight.node.inputs().len() > weight.input);
        }
    }
}

fn check_tensor(tensor: TensorView<'_>) {
    let count = tensor.count().unwrap() as usize;
    match tensor.element() {
        ElementType::Float32 => assert_eq!(tensor.as_f32().unwrap().len(), count),
        ElementType::Int64 => assert_eq!(tensor.as_i64().unwrap().len(), count),
        ElementType::String => assert_eq!(tensor.strings().unwrap().len(), count),
        element => {
            let bytes = element.bytes(count as u64).unwrap();
            assert_eq!(tensor.bytes().unwrap().len() as u64, bytes);
        }
    }
}

#[test]
fn kinds_are_described_in_words() {
    let classifier = "edge-sklearn-randomforest/model.onnx";
    for path in models().iter().filter(|path| path.ends_with(classifier)) {
        let outputs = Model::load(path).unwrap().graph().outputs();
        let message: Vec<String> = outputs.iter().map(|output| output.kind.to_string()).collect();
        assert_eq!(message, ["int64 tensor [?]", "sequence of maps from int64 to float32 tensors"]);
    }
}
