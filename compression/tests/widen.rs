//! Tests that int8 models become floats again, in ONNX Runtime.

#![allow(clippy::unwrap_used, reason = "a test panics")]

mod onnx_runtime;

use onnx_runtime::{Loaded, OnnxRuntime, session};
use skysail_compression::*;
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Model, Tensor, mlp};
use std::collections::BTreeMap;

fn run(model: &Model, inputs: &[Tensor]) -> Vec<Tensor> {
    Loaded::of(model).run(inputs).unwrap()
}

/// Returns the operators that ONNX Runtime runs, counted.
fn operators(model: &Model) -> BTreeMap<String, usize> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("optimized.onnx");
    drop(session(&model.to_bytes().unwrap(), Some(&path)).unwrap());
    let mut counts = BTreeMap::new();
    for node in Model::load(&path).unwrap().graph().nodes() {
        *counts.entry(node.op_type().to_owned()).or_default() += 1;
    }
    counts
}

fn wave(shape: &[u64]) -> Tensor {
    let count = shape.iter().product::<u64>();
    let values: Vec<f32> = (0..count).map(|position| (position as f32 * 0.37).sin()).collect();
    Tensor::new(shape, &values).unwrap()
}

/// Asserts that the float form of an int8 model is nearer to the original than int8, and has no
/// operators on bytes.
fn assert_widens(model: &Model, int8: &Model, input: &[Tensor], weights: usize) {
    let mut floats = int8.clone();
    assert_eq!(widen_int8(&mut floats).unwrap().len(), weights);
    let of = |made: &Model| difference(&run(model, input)[0], &run(made, input)[0]).unwrap();
    let (found, packed) = (of(&floats), of(int8));
    assert!(found.cosine_min > 0.995, "{found:?}");
    assert!(found.relative < packed.relative * 1.2, "{found:?} and {packed:?}");
    for (operator, count) in operators(&floats) {
        let is_float = ["Quantize", "QLinear", "QGemm", "Integer", "Cast", "Round"];
        assert!(!is_float.iter().any(|part| operator.contains(part)), "{count} {operator}");
    }
    assert!(widen_int8(&mut floats).unwrap().is_empty(), "nothing is left");
}

#[test]
fn int8_of_a_perceptron_becomes_floats_again() {
    let model = mlp(&[64, 48, 10], 5).unwrap();
    let input = [wave(&[7, 64])];
    let mut dynamic = model.clone();
    quantize_dynamic(&mut dynamic, &DynamicSettings::default()).unwrap();
    assert_widens(&model, &dynamic, &input, 2);
    let batches = [vec![("input".to_owned(), input[0].clone())]];
    for granularity in [Granularity::Channel, Granularity::Tensor] {
        let weights = Int8Weights { granularity, ..Int8Weights::default() };
        let settings =
            StaticSettings { layers: PerLayer::all(weights), ..StaticSettings::default() };
        let mut fixed = model.clone();
        let mut calibration = Calibration { runner: &mut OnnxRuntime, batches: &batches };
        quantize_static(&mut fixed, &settings, &mut calibration).unwrap();
        // Each layer has a weight and a bias.
        assert_widens(&model, &fixed, &input, 4);
    }
}

/// Builds convolutions with a bounded activation, padding, pooling and a change of shape between.
fn images() -> Model {
    let dims = |sides: [u64; 3]| {
        [Dim::from("batch"), Dim::from(sides[0]), Dim::from(sides[1]), Dim::from(sides[2])]
    };
    let ints = |values: &[i64]| Attribute::Ints(values.to_vec());
    let mut builder = GraphBuilder::new("images");
    builder
        .input("x", ElementType::Float32, &dims([3, 8, 8]))
        .initializer("w1", wave(&[6, 3, 3, 3]))
        .initializer("low", Tensor::new(&[], &[0.0_f32]).unwrap())
        .initializer("high", Tensor::new(&[], &[0.5_f32]).unwrap())
        .initializer("pads", Tensor::new(&[8], &[0_i64, 0, 1, 1, 0, 0, 1, 1]).unwrap())
        .initializer("shape", Tensor::new(&[2], &[-1_i64, 96]).unwrap())
        .initializer("w2", wave(&[6, 6, 3, 3]))
        .initializer("w3", wave(&[96, 5]))
        .node("Conv", &["x", "w1"], &["c1"], &[("pads", ints(&[1, 1, 1, 1]))])
        .node("Clip", &["c1", "low", "high"], &["a1"], &[])
        .node("Pad", &["a1", "pads"], &["p1"], &[])
        .node("Conv", &["p1", "w2"], &["c2"], &[])
        .node("Relu", &["c2"], &["a2"], &[])
        .node(
            "MaxPool",
            &["a2"],
            &["m2"],
            &[("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))],
        )
        .node("Reshape", &["m2", "shape"], &["flat"], &[])
        .node("MatMul", &["flat", "w3"], &["y"], &[])
        .output("y", ElementType::Float32, &[Dim::from("batch"), Dim::from(5)]);
    builder.finish().unwrap()
}

#[test]
fn int8_of_convolutions_becomes_floats_again() {
    let model = images();
    let input = [wave(&[4, 3, 8, 8])];
    let batches = [vec![("x".to_owned(), input[0].clone())]];
    let mut int8 = model.clone();
    let mut calibration = Calibration { runner: &mut OnnxRuntime, batches: &batches };
    quantize_static(&mut int8, &StaticSettings::default(), &mut calibration).unwrap();
    assert!(operators(&int8).contains_key("QLinearConv"));
    assert_widens(&model, &int8, &input, 3);
}

#[test]
fn a_value_that_an_operator_computes_with_as_bytes_stays() {
    let dims = [Dim::from("batch"), Dim::from(4)];
    let mut builder = GraphBuilder::new("bytes");
    builder
        .input("x", ElementType::Float32, &dims)
        .initializer("scale", Tensor::new(&[], &[0.1_f32]).unwrap())
        .initializer("zero", Tensor::new(&[], &[7_u8]).unwrap())
        .node("QuantizeLinear", &["x", "scale", "zero"], &["codes"], &[])
        .node("BitwiseNot", &["codes"], &["others"], &[])
        .node("DequantizeLinear", &["others", "scale", "zero"], &["y"], &[])
        .output("y", ElementType::Float32, &dims);
    let mut model = builder.finish().unwrap();
    let before = model.to_bytes().unwrap();
    assert!(widen_int8(&mut model).unwrap().is_empty());
    assert_eq!(model.to_bytes().unwrap(), before);
}
