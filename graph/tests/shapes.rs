//! Inferred shapes of real models, if available, are those of their runs.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics and prints")]

mod support;

use onnx_protobuf::{Message, TensorProto};
use skysail_graph::{Dim, ElementType, Model};
use std::path::{Path, PathBuf};

/// Models whose output dimensions depend on input values.
const BY_VALUE: [&str; 1] = ["edge-0-dim-output"];

/// Element types of the stored tensors, by NumPy's names.
const NUMPY_TYPES: [(&str, ElementType); 4] = [
    ("<f4", ElementType::Float32),
    ("<i8", ElementType::Int64),
    ("<i4", ElementType::Int32),
    ("|i1", ElementType::Int8),
];

/// Type and dimensions of a stored tensor.
struct Stored {
    element: ElementType,
    shape: Vec<u64>,
}

/// Stored inputs or outputs of a test data set, as far as present, in order.
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

/// Header of NumPy's format, version 1.
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

/// Every model with each of its test data sets.
fn runs() -> Vec<(PathBuf, PathBuf)> {
    let sets = |model: PathBuf| {
        let set = |index: usize| model.with_file_name(format!("test_data_set_{index}"));
        let sets: Vec<PathBuf> = (0..).map(set).take_while(|set| set.is_dir()).collect();
        sets.into_iter().map(move |set| (model.clone(), set))
    };
    support::models().into_iter().flat_map(sets).collect()
}

#[test]
fn inferred_output_shapes_are_those_of_runs() {
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
fn shapes_inferred_without_inputs_agree() {
    for (path, set) in runs() {
        let model = Model::load(&path).unwrap();
        let shapes = model.graph().shapes();
        for (output, stored) in model.graph().outputs().iter().zip(stored(&set, "output")) {
            let dims = shapes.dims(&output.name).unwrap();
            assert!(agree(dims, &stored.shape), "{}: {dims:?}", path.display());
        }
    }
}

/// True if a tensor of these sizes may have these dimensions.
fn agree(dims: &[Dim], sizes: &[u64]) -> bool {
    let fits = |(dim, size): (&Dim, &u64)| match dim {
        Dim::Fixed(fixed) => fixed == size,
        Dim::Symbol(_) | Dim::Computed(_) | Dim::Unknown => true,
    };
    dims.len() == sizes.len() && dims.iter().zip(sizes).all(fits)
}

#[test]
fn every_value_of_known_networks_has_a_shape() {
    let networks = ["resnet20-cifar10", "squeezenet1.0", "shufflenet-v2-int8", "light-resnet50"];
    for path in networks.iter().filter_map(|folder| support::model(folder)) {
        let model = Model::load(&path).unwrap();
        let shapes = model.graph().shapes();
        for value in model.graph().nodes().flat_map(|node| node.outputs()) {
            let dims = shapes.dims(value).unwrap_or_default();
            let place = format!("{}: {value} {dims:?}", path.display());
            assert!(!dims.is_empty() && shapes.element(value).is_some(), "{place}");
            // Only the batch may be dynamic.
            assert!(dims[1..].iter().all(|dim| matches!(dim, Dim::Fixed(_))), "{place}");
        }
    }
}

#[test]
fn symbolic_lengths_of_a_transformer_are_kept() {
    let Some(path) = support::model("all-minilm-l6-v2") else { return };
    let model = Model::load(&path).unwrap();
    let shapes = model.graph().shapes();
    let softmax = model.graph().nodes().filter(|node| node.op_type() == "Softmax");
    let described: Vec<String> =
        softmax.map(|node| shapes.kind(&node.outputs()[0]).to_string()).collect();
    assert_eq!(described, vec!["float32 tensor [batch, 12, sequence, sequence]"; 6]);
}
