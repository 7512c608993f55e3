//! Tests of the search for weights.

use super::*;
use crate::{Attribute, Dim, ElementType, GraphBuilder, Model, Tensor};

/// A graph with an input `x` and initializers of these shapes; its output is `y`.
fn graph(initializers: &[(&str, &[u64])]) -> GraphBuilder {
    let mut builder = GraphBuilder::new("weights");
    builder.input("x", ElementType::Float32, &[Dim::Unknown, Dim::Unknown]);
    for (name, shape) in initializers {
        let count = shape.iter().product::<u64>() as usize;
        builder.initializer(name, Tensor::new(shape, &vec![0.0_f32; count]).unwrap());
    }
    builder
}

fn finish(mut builder: GraphBuilder) -> Model {
    builder.output("y", ElementType::Float32, &[Dim::Unknown, Dim::Unknown]);
    builder.finish().unwrap()
}

/// Name, input, role and output axis of every weight.
fn found(model: &Model) -> Vec<(&str, usize, Role, Option<usize>)> {
    let weights = model.graph().weights().unwrap().into_iter();
    let described = |weight: Weight<'_>| (weight.input, weight.role, weight.output_axis);
    weights
        .map(|weight| (weight.tensor.name(), described(weight)))
        .map(|(name, (input, role, axis))| (name, input, role, axis))
        .collect()
}

const ROWS_ARE_OUTPUTS: Role = Role::Weight(Layout::OutputsByInputs);
const ROWS_ARE_INPUTS: Role = Role::Weight(Layout::InputsByOutputs);

#[test]
fn roles_and_layouts_are_found() {
    let square: &[u64] = &[2, 2];
    let mut builder = graph(&[
        ("gemm.w", square),
        ("gemm.b", &[2]),
        ("left", square),
        ("right", square),
        ("batches", &[3, 2, 2]),
        ("column", &[2]),
        ("kernels", &[4, 2, 3, 3]),
        ("spread", &[4, 2, 3, 3]),
        ("spread.b", &[2]),
    ]);
    builder
        .node("Gemm", &["x", "gemm.w", "gemm.b"], &["a"], &[("transB", Attribute::Int(1))])
        .node("Gemm", &["a", "gemm.w"], &["b"], &[])
        .node("Gemm", &["left", "b"], &["c"], &[])
        .node("Gemm", &["left", "c"], &["d"], &[("transA", Attribute::Int(1))])
        .node("MatMul", &["left", "d"], &["e"], &[])
        .node("MatMul", &["e", "right"], &["f"], &[])
        .node("MatMul", &["f", "batches"], &["g"], &[])
        .node("MatMul", &["g", "column"], &["h"], &[])
        .node("Conv", &["h", "kernels"], &["i"], &[])
        .node("ConvTranspose", &["i", "spread", "spread.b"], &["j"], &[])
        .node("Add", &["j", "left"], &["y"], &[]);
    let expected = [
        ("gemm.w", 1, ROWS_ARE_OUTPUTS, Some(0)),
        ("gemm.b", 2, Role::Bias, None),
        ("gemm.w", 1, ROWS_ARE_INPUTS, Some(1)),
        ("left", 0, ROWS_ARE_OUTPUTS, Some(0)),
        ("left", 0, ROWS_ARE_INPUTS, Some(1)),
        ("left", 0, ROWS_ARE_OUTPUTS, Some(0)),
        ("right", 1, ROWS_ARE_INPUTS, Some(1)),
        ("batches", 1, ROWS_ARE_INPUTS, Some(2)),
        ("column", 1, ROWS_ARE_INPUTS, None),
        ("kernels", 1, ROWS_ARE_OUTPUTS, Some(0)),
        ("spread", 1, ROWS_ARE_INPUTS, Some(1)),
        ("spread.b", 2, Role::Bias, None),
    ];
    assert_eq!(found(&finish(builder)), expected);
}

#[test]
fn weights_are_found_behind_forwarding_nodes() {
    let mut builder = graph(&[("shared", &[2, 2]), ("hwio", &[3, 3, 2, 4]), ("long", &[4])]);
    builder.initializer("int8", Tensor::new(&[2, 2], &[0_i8; 4]).unwrap());
    builder.initializer("scale", Tensor::new(&[], &[0.5_f32]).unwrap());
    builder.initializer("shape", Tensor::new(&[2], &[2_i64; 2]).unwrap());
    let value = Attribute::Tensor(Tensor::new(&[2, 2], &[0.0_f32; 4]).unwrap());
    let to_oihw = [("perm", Attribute::Ints(vec![3, 2, 0, 1]))];
    builder
        .node("Cast", &["shared"], &["cast"], &[("to", Attribute::Int(1))])
        .node("Transpose", &["cast"], &["turned"], &[])
        .node("MatMul", &["x", "turned"], &["a"], &[])
        .node("MatMul", &["a", "shared"], &["b"], &[])
        .node("DequantizeLinear", &["int8", "scale"], &["floats"], &[])
        .node("Identity", &["floats"], &["same"], &[])
        .node("MatMul", &["b", "same"], &["c"], &[])
        .node("Constant", &[], &["constant"], &[("value", value)])
        .node("MatMul", &["c", "constant"], &["d"], &[])
        .node("Transpose", &["hwio"], &["oihw"], &to_oihw)
        .node("Conv", &["d", "oihw"], &["e"], &[])
        .node("Reshape", &["long", "shape"], &["square"], &[])
        .node("MatMul", &["e", "square"], &["f"], &[])
        .node("Transpose", &["square"], &["other way"], &[])
        .node("MatMul", &["f", "other way"], &["g"], &[])
        .node("Transpose", &["long"], &["first turned"], &[])
        .node("Reshape", &["first turned", "shape"], &["then reshaped"], &[])
        .node("MatMul", &["g", "then reshaped"], &["y"], &[]);
    let model = finish(builder);
    let expected = [
        ("shared", 1, ROWS_ARE_OUTPUTS, Some(0)),
        ("shared", 1, ROWS_ARE_INPUTS, Some(1)),
        ("int8", 1, ROWS_ARE_INPUTS, Some(1)),
        ("constant", 1, ROWS_ARE_INPUTS, Some(1)),
        ("hwio", 1, ROWS_ARE_INPUTS, Some(3)),
        ("long", 1, ROWS_ARE_INPUTS, None),
        ("long", 1, ROWS_ARE_OUTPUTS, None),
        ("long", 1, Role::Weight(Layout::Unknown), None),
    ];
    assert_eq!(found(&model), expected);
    assert!(
        model.graph().constant("constant").is_some() && model.graph().constant("hwio").is_some()
    );
    assert!(model.graph().constant("oihw").is_none());
    let weights = model.graph().weights().unwrap();
    let through = |weight: usize| -> Vec<&str> {
        weights[weight].through.iter().map(Node::op_type).collect()
    };
    assert_eq!(through(0), ["Cast", "Transpose"]);
    assert_eq!(through(1), [""; 0]);
    assert_eq!(through(2), ["DequantizeLinear", "Identity"]);
}

#[test]
fn only_constants_are_weights() {
    let mut builder = graph(&[("scale", &[])]);
    // The scale feeds the product only through its other operand.
    builder
        .node("QuantizeLinear", &["x", "scale"], &["q"], &[])
        .node("DequantizeLinear", &["q", "scale"], &["d"], &[])
        .node("MatMul", &["d", "d"], &["y"], &[]);
    assert_eq!(found(&finish(builder)), []);
    let mut builder = graph(&[("w", &[2, 2])]);
    builder
        .import("custom", 1)
        .add(crate::NewNode::new("MatMul", &["x", "w"], &["y"]).domain("custom"));
    assert_eq!(found(&finish(builder)), []);
}

#[test]
fn a_wrong_attribute_is_an_error() {
    let mut builder = graph(&[("w", &[2, 2])]);
    builder.node("Transpose", &["w"], &["turned"], &[("perm", Attribute::Int(1))]);
    builder.node("MatMul", &["x", "turned"], &["y"], &[]);
    let error = finish(builder).graph().weights().unwrap_err();
    assert!(error.to_string().contains("'perm'"), "{error}");
}
