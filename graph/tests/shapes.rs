//! What is inferred of real models, when they are at hand, is what they give when they run.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics and prints")]

mod support;

use onnx_protobuf::{Message, TensorProto};
use skysail_graph::{Dim, ElementType, Model};
use std::path::{Path, PathBuf};

/// Models whose outputs' dimensions depend on the values that they are given.
const BY_VALUE: [&str; 1] = ["edge-0-dim-output"];

/// Those of the stored tensors, as NumPy names them.
const NUMPY_TYPES: [(&str, ElementType); 4] = [
    ("<f4", ElementType::Float32),
    ("<i8", ElementType::Int64),
    ("<i4", ElementType::Int32),
    ("|i1", ElementType::Int8),
];

/// A stored tensor's type and dimensions.
struct Stored {
    element: ElementType,
    shape: Vec<u64>,
}

/// The stored inputs or outputs of a set of test data, as far as there are any, in order.
fn stored(folder: &Path, what: &str) -> Vec<Stored> {
    (0..).map_while(|index| one_stored(&folder.join(format!("{what}_{index}")))).collect()
}

fn one_stored(path: &Path) -> Option<Stored> {
    if let Ok(bytes) = std::fs::read(path.with_extension("npy")) {
        return Some(of_numpy(&bytes));
    }
    let bytes = std::fs::read(path.with_extension("pb")).ok()?;
    let tensor = TensorProto::parse_from_bytes(&bytes).unwrap();
    let shape = tensor.dims.iter().map(|size| size.cast_unsigned()).collect();
    Some(Stored { element: ElementType::from_code(tensor.data_type), shape })
}

/// The header of NumPy's format, version 1.
fn of_numpy(bytes: &[u8]) -> Stored {
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    let between = |before: &str, after: &str| {
        let (_, rest) = header.split_once(before).unwrap();
        rest.split_once(after).unwrap().0
    };
    let word = between("'descr': '", "'");
    let element = NUMPY_TYPES.iter().find(|row| row.0 == word).unwrap().1;
    let sizes = between("'shape': (", ")").split(',').map(str::trim);
    let shape = sizes.filter(|size| !size.is_empty()).map(|size| size.parse().unwrap()).collect();
    Stored { element, shape }
}

/// Every model with every set of its test data.
fn runs() -> Vec<(PathBuf, PathBuf)> {
    let sets = |model: PathBuf| {
        let set = |index: usize| model.with_file_name(format!("test_data_set_{index}"));
        let sets: Vec<PathBuf> = (0..).map(set).take_while(|set| set.is_dir()).collect();
        sets.into_iter().map(move |set| (model.clone(), set))
    };
    support::models().into_iter().flat_map(sets).collect()
}

#[test]
fn outputs_have_the_shapes_they_have_when_run() {
    for (path, set) in runs() {
        let model = Model::load(&path).unwrap();
        let graph = model.graph();
        let (inputs, outputs) = (graph.inputs(), graph.outputs());
        let given = stored(&set, "input");
        let given: Vec<(&str, &[u64])> = inputs
            .iter()
            .zip(&given)
            .map(|(input, stored)| (input.name.as_str(), stored.shape.as_slice()))
            .collect();
        let shapes = graph.shapes_for(&given);
        for (output, stored) in outputs.iter().zip(stored(&set, "output")) {
            let (place, name) = (path.display(), &output.name);
            assert_eq!(shapes.element(name), Some(stored.element), "{place}: {name}");
            let dims = shapes.dims(name).unwrap();
            if BY_VALUE.iter().any(|folder| path.parent().unwrap().ends_with(folder)) {
                assert!(agree(dims, &stored.shape), "{place}: {name} {dims:?}");
            } else {
                let fixed: Vec<Dim> = stored.shape.iter().copied().map(Dim::Fixed).collect();
                assert_eq!(dims, fixed, "{place}: {name}");
            }
        }
    }
}

#[test]
fn what_is_known_without_inputs_agrees() {
    for (path, set) in runs() {
        let model = Model::load(&path).unwrap();
        let shapes = model.graph().shapes();
        for (output, stored) in model.graph().outputs().iter().zip(stored(&set, "output")) {
            let dims = shapes.dims(&output.name).unwrap();
            assert!(agree(dims, &stored.shape), "{}: {dims:?}", path.display());
        }
    }
}

/// Whether a tensor of these sizes may have these dimensions.
fn agree(dims: &[Dim], sizes: &[u64]) -> bool {
    let fits = |(dim, size): (&Dim, &u64)| match dim {
        Dim::Fixed(fixed) => fixed == size,
        Dim::Symbol(_) | Dim::Computed(_) | Dim::Unknown => true,
    };
    dims.len() == sizes.len() && dims.iter().zip(sizes).all(fits)
}

#[test]
fn every_value_of_known_networks_is_followed() {
    let networks = ["resnet20-cifar10", "squeezenet1.0", "shufflenet-v2-int8", "light-resnet50"];
    for path in networks.iter().filter_map(|folder| support::model(folder)) {
        let model = Model::load(&path).unwrap();
        let shapes = model.graph().shapes();
        for value in model.graph().nodes().flat_map(|node| node.outputs()) {
            let dims = shapes.dims(value).unwrap_or_default();
            let place = format!("{}: {value} {dims:?}", path.display());
            assert!(!dims.is_empty() && shapes.element(value).is_some(), "{place}");
            // Only the batch may be open.
            assert!(dims[1..].iter().all(|dim| matches!(dim, Dim::Fixed(_))), "{place}");
        }
    }
}

#[test]
fn lengths_of_a_transformer_are_followed_by_name() {
    let Some(path) = support::model("all-minilm-l6-v2") else { return };
    let model = Model::load(&path).unwrap();
    let shapes = model.graph().shapes();
    let softmax = model.graph().nodes().filter(|node| node.op_type() == "Softmax");
    let told: Vec<String> =
        softmax.map(|node| shapes.kind(&node.outputs()[0]).to_string()).collect();
    assert_eq!(told, vec!["float32 tensor [batch, 12, sequence, sequence]"; 6]);
}
