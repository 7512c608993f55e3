//! Real models, when they are at hand: each loads, comes back the same, and gives its tensors.
//! Spoiled, none makes the crate panic.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics and prints")]

use std::path::PathBuf;

use onnx_protobuf::{Message, ModelProto};
use skysail_graph::{ElementType, Kind, Model, TensorView, mlp};

/// The `model.onnx` of every folder of models, smallest first.
fn models() -> Vec<PathBuf> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/models");
    let Ok(folders) = std::fs::read_dir(data) else {
        println!("skipped: there is no folder {data}");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = folders
        .map(|folder| folder.unwrap().path().join("model.onnx"))
        .filter(|path| path.is_file())
        .collect();
    paths.sort_by_key(|path| path.metadata().unwrap().len());
    paths
}

#[test]
fn models_come_back_the_same() {
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
fn tensors_have_the_values_that_their_shapes_say() {
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
fn kinds_are_told_in_words() {
    let classifier = "edge-sklearn-randomforest/model.onnx";
    for path in models().iter().filter(|path| path.ends_with(classifier)) {
        let outputs = Model::load(path).unwrap().graph().outputs();
        let said: Vec<String> = outputs.iter().map(|output| output.kind.to_string()).collect();
        assert_eq!(said, ["int64 tensor [?]", "sequence of maps from int64 to float32 tensors"]);
    }
}

/// The bytes of the built model and of real ones of up to `bytes_max`.
fn samples(bytes_max: usize) -> Vec<Vec<u8>> {
    let built = mlp(&[6, 5, 4], 1).unwrap().to_bytes().unwrap();
    let real = models().into_iter().map(|path| std::fs::read(path).unwrap());
    std::iter::once(built).chain(real).filter(|bytes| bytes.len() <= bytes_max).collect()
}

/// Reads everything of what may be a model; only a panic is a failure.
fn exercise(bytes: &[u8]) {
    let Ok(mut model) = Model::from_bytes(bytes) else { return };
    let graph = model.graph();
    for value in graph.inputs().iter().chain(&graph.outputs()) {
        let _ = value.to_string();
    }
    for tensor in graph.initializers() {
        let _ = tensor.to_tensor();
        let _ = (tensor.as_f32(), tensor.as_i64(), tensor.values::<u8>(), tensor.strings());
    }
    for node in graph.nodes() {
        for name in node.attributes() {
            let _ = (node.int(name), node.text(name), node.tensor(name), node.graph(name));
        }
    }
    let _ = graph.weights();
    let _ = model.inline_external_data();
    let _ = model.to_bytes();
}

#[test]
fn truncated_models_never_panic() {
    for bytes in samples(100_000) {
        let step = (bytes.len() / 300).max(1);
        for end in (0..bytes.len()).step_by(step) {
            exercise(&bytes[..end]);
        }
    }
}

#[test]
fn models_with_flipped_bits_never_panic() {
    let samples = samples(30_000);
    let flips_each = 6_000 / samples.len();
    let mut state = 1_u64;
    for bytes in samples {
        let mut spoiled = bytes.clone();
        for flip in 0..flips_each {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let place = (state >> 33) as usize % spoiled.len();
            spoiled[place] ^= 1 << (state >> 61);
            exercise(&spoiled);
            // Some damage adds up, so that rarer states are reached as well.
            if flip % 4 == 3 {
                spoiled.clone_from(&bytes);
            }
        }
    }
}
