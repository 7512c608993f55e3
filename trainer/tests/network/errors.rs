//! Invalid models and batches are rejected with the place and the problem.

use crate::differences::{graph, one};
use crate::forward::floats;
use crate::runtime::real;
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Model, Tensor, mlp};
use skysail_trainer::{Batch, Input, Learner, Network, Targets, TrainError, Values};

fn error_of(model: &Model) -> String {
    Network::new(model).unwrap_err().to_string()
}

#[test]
fn unsupported_operators_are_named_with_their_node() {
    let message = error_of(&one("Hardmax", &[3], &[], &[]));
    assert!(message.starts_with("node 'Hardmax_1': Hardmax of ONNX is not supported"), "{message}");
    assert!(message.contains("Gemm, GlobalAveragePool"), "{message}");
    let mode = [("mode", Attribute::Text("reflect".to_owned()))];
    let pads = [("pads", Tensor::new(&[4], &[0_i64, 1, 0, 1]).unwrap())];
    let message = error_of(&one("Pad", &[3], &pads, &mode));
    assert!(message.contains("'Pad_1': Pad with mode reflect is not supported"), "{message}");
}

#[test]
fn operators_that_the_output_does_not_need_may_be_unsupported() {
    let model = graph(&[3], |builder| {
        builder.node("Hardmax", &["a"], &["unused"], &[]);
        builder.node("Relu", &["a"], &["y"], &[]);
    });
    assert!(Network::new(&model).is_ok());
}

#[test]
fn a_label_beside_the_scores_is_ignored() {
    let rows = Dim::from("batch");
    for label_first in [true, false] {
        let mut builder = GraphBuilder::new("label");
        builder.input("x", ElementType::Float32, &[rows.clone(), Dim::Fixed(3)]);
        builder.node("Softmax", &["x"], &["scores"], &[]);
        builder.node("ArgMax", &["scores"], &["label"], &[("axis", Attribute::Int(1))]);
        let label = ("label", ElementType::Int64, Dim::Fixed(1));
        let scores = ("scores", ElementType::Float32, Dim::Fixed(3));
        let outputs = if label_first { [label, scores] } else { [scores, label] };
        for (name, element, width) in outputs {
            builder.output(name, element, &[rows.clone(), width]);
        }
        let mut network = Network::new(&builder.finish().unwrap()).unwrap();
        let made = network.predict(&[], &floats(&[2, 3])).unwrap();
        assert_eq!(made.len(), 6);
    }
}

#[test]
fn a_model_of_trees_is_rejected() {
    let Some(path) = real("sklearn-digits-random-forest") else { return };
    let error = Network::new(&Model::load(path).unwrap()).unwrap_err();
    assert!(matches!(error, TrainError::Unsupported { .. }), "{error}");
}

#[test]
fn several_inputs_are_rejected() {
    let mut builder = GraphBuilder::new("two");
    builder.input("a", ElementType::Float32, &[Dim::from(2)]);
    builder.input("b", ElementType::Float32, &[Dim::from(2)]);
    builder.node("Add", &["a", "b"], &["c"], &[]).output("c", ElementType::Float32, &[]);
    let message = error_of(&builder.finish().unwrap());
    assert!(message.contains(r#"the model has 2 inputs ["a", "b"]"#), "{message}");
}

#[test]
fn batches_that_do_not_fit_are_rejected() {
    let mut network = Network::new(&mlp(&[4, 3], 1).unwrap()).unwrap();
    let parameters = network.parameters();
    let mut gradients = vec![0.0; parameters.len()];
    let mut message = |input: Input, targets: Targets| {
        let batch = Batch { input, targets };
        network.gradients(&parameters, &batch, &mut gradients).unwrap_err().to_string()
    };
    let classes = |classes: &[u32]| Targets::Classes(classes.to_vec());
    let wide = message(floats(&[2, 5]), classes(&[0, 1]));
    assert!(wide.contains("requires input: float32 tensor [batch, 4], not [2, 5]"), "{wide}");
    let flat = message(floats(&[8]), classes(&[0, 1]));
    assert!(flat.contains("not [8]"), "{flat}");
    let far = message(floats(&[2, 4]), classes(&[0, 3]));
    assert!(far.contains("class 3 of 3 classes"), "{far}");
    let few = message(floats(&[2, 4]), classes(&[0]));
    assert!(few.contains("1 classes for 2 rows"), "{few}");
    let none = message(floats(&[0, 4]), classes(&[]));
    assert!(none.contains("a batch has no rows"), "{none}");
    let short = Input { shape: vec![2, 4], values: Values::Float32(vec![0.0; 7]) };
    assert!(message(short, classes(&[0, 1])).contains("7 values do not have the shape [2, 4]"));
    let numbers = message(floats(&[2, 4]), Targets::Numbers(vec![0.0; 5]));
    assert!(numbers.contains("the model outputs 6 numbers, not 5"), "{numbers}");
    let error = network.predict(&parameters[1..], &floats(&[2, 4])).unwrap_err().to_string();
    assert!(error.contains("has 15 parameters, not 14"), "{error}");
}

/// Graphs with contradicting shapes are errors when they run, never panics.
#[test]
fn contradicting_shapes_are_errors() {
    let random = |shape: &[u64]| {
        Tensor::new(shape, &vec![0.5_f32; shape.iter().product::<u64>() as usize]).unwrap()
    };
    let ints = |values: &[i64]| Tensor::new(&[values.len() as u64], values).unwrap();
    let list = |values: &[i64]| Attribute::Ints(values.to_vec());
    let image = [2, 4, 4];
    let models = [
        (one("Gemm", &[4], &[("w", random(&[3, 5]))], &[]), &[4][..]),
        (one("Gemm", &[4], &[("w", random(&[4, 5])), ("b", random(&[3]))], &[]), &[4]),
        (one("MatMul", &[4], &[("w", random(&[3, 5]))], &[]), &[4]),
        (one("MatMul", &[2, 4], &[("w", random(&[5, 4, 4]))], &[]), &[2, 4]),
        (one("Mul", &[4], &[("w", random(&[3]))], &[]), &[4]),
        (one("Conv", &image, &[("w", random(&[3, 1, 3, 3]))], &[]), &image),
        (one("Conv", &image, &[("w", random(&[3, 2, 9, 9]))], &[]), &image),
        (one("Conv", &[4], &[("w", random(&[3, 2, 3, 3]))], &[]), &[4]),
        (one("MaxPool", &image, &[], &[("kernel_shape", list(&[9, 9]))]), &image),
        (one("MaxPool", &[4], &[], &[("kernel_shape", list(&[2, 2]))]), &[4]),
        (one("Reshape", &[4], &[("s", ints(&[0, 5]))], &[]), &[4]),
        (one("Reshape", &[4], &[("s", ints(&[-1, i64::MAX, 4]))], &[]), &[4]),
        (one("Transpose", &[4], &[], &[("perm", list(&[0, 0]))]), &[4]),
        (one("Squeeze", &[4], &[("axes", ints(&[1]))], &[]), &[4]),
        (one("Unsqueeze", &[4], &[("axes", ints(&[1, 1]))], &[]), &[4]),
        (one("Expand", &[4], &[("s", ints(&[3, 5]))], &[]), &[4]),
        (one("Expand", &[4], &[("s", ints(&[1 << 40, 1, 1]))], &[]), &[4]),
        (one("Gather", &[4], &[("i", ints(&[7]))], &[("axis", Attribute::Int(1))]), &[4]),
        (one("Concat", &[4], &[("w", random(&[2, 3]))], &[("axis", Attribute::Int(0))]), &[4]),
        (one("Softmax", &[4], &[], &[("axis", Attribute::Int(5))]), &[4]),
        (one("ReduceSum", &[4], &[("axes", ints(&[3]))], &[]), &[4]),
        (one("Pad", &[4], &[("pads", ints(&[1, 1, 1]))], &[]), &[4]),
        (one("Pad", &[4], &[("pads", ints(&[0, i64::MAX, 0, 0]))], &[]), &[4]),
        (one("LayerNormalization", &[4], &[("scale", random(&[3]))], &[]), &[4]),
    ];
    for (model, row) in models {
        let mut network = Network::new(&model).unwrap();
        let mut shape = vec![3];
        shape.extend(row.iter().map(|dim| *dim as usize));
        let parameters = network.parameters();
        let error = network.predict(&parameters, &floats(&shape)).unwrap_err().to_string();
        assert!(error.starts_with("the data does not fit the model: node '"), "{error}");
    }
}
