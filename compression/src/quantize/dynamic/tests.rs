//! Tests of the graphs that dynamic int8 writes.

use super::*;
use crate::layers::to_f16;
use skysail_graph::{Dim, GraphBuilder, Node, Tensor, mlp};

fn operators(model: &Model) -> Vec<&str> {
    model.graph().nodes().map(|node| node.op_type()).collect()
}

fn find<'m>(model: &'m Model, op_type: &str) -> Vec<Node<'m>> {
    model.graph().nodes().filter(|node| node.op_type() == op_type).collect()
}

/// Builds two products of one value with half-precision weights behind a `Cast`, one of them with a
/// bias.
fn halves() -> Model {
    let dims = [Dim::from("batch"), Dim::from(2)];
    let weight = |values: &[f32; 4]| Tensor::new(&[2, 2], &to_f16(values)).unwrap();
    let wide = [("to", Attribute::Int(1))];
    let mut builder = GraphBuilder::new("halves");
    builder
        .input("x", ElementType::Float32, &dims)
        .initializer("a", weight(&[1.0, 2.0, -4.0, 0.5]))
        .initializer("b", weight(&[1.0, 0.0, 0.0, 1.0]))
        .initializer("bias", Tensor::new(&[2], &[0.5_f32, 1.0]).unwrap())
        .node("Cast", &["a"], &["a.wide"], &wide)
        .node("Cast", &["b"], &["b.wide"], &wide)
        .node("MatMul", &["x", "a.wide"], &["first"], &[])
        .node("Gemm", &["x", "b.wide", "bias"], &["second"], &[("transB", Attribute::Int(1))])
        .node("Add", &["first", "second"], &["y"], &[])
        .output("y", ElementType::Float32, &dims);
    builder.finish().unwrap()
}

#[test]
fn products_become_integer_products() {
    let mut model = halves();
    let report = quantize_dynamic(&mut model, &DynamicSettings::default()).unwrap();
    let stored: Vec<_> = report.tensors.iter().map(|t| (t.stored.as_str(), t.scales)).collect();
    assert_eq!(stored, [("a", 2), ("b", 2)]);
    assert!(report.kept.is_empty());
    // The common input is quantized once, row by row.
    for end in ["ReduceMax", "ReduceMin", "ReduceSum"] {
        let ends = find(&model, end);
        assert_eq!((ends.len(), ends[0].int("keepdims").unwrap()), (1, Some(1)), "{end}");
    }
    assert!(find(&model, "DynamicQuantizeLinear").is_empty());
    assert_eq!(find(&model, "MatMulInteger").len(), 2);
    assert!(find(&model, "MatMul").is_empty() && find(&model, "Gemm").is_empty());
    let graph = model.graph();
    let weight = graph.initializer("a").unwrap();
    assert_eq!(
        *weight.values::<u8>().unwrap(),
        [32, 127, -127, 32].map(|code: i32| code as u8 ^ 128)
    );
    let links = graph.links();
    let product = links.consumers("a")[0].node;
    let scaled = links.producer("first").unwrap().inputs()[0].clone();
    let scales = links.producer(&scaled).unwrap().inputs()[1].clone();
    let scales = graph.initializer(&scales).unwrap().as_f32().unwrap().into_owned();
    assert_eq!(scales, [4.0 / 127.0, 2.0 / 127.0]);
    let sums = graph.initializer("first_weights").unwrap().as_f32().unwrap().into_owned();
    assert_eq!(sums, [(32.0 - 127.0) * scales[0], (127.0 + 32.0) * scales[1]]);
    assert_eq!(product.inputs().len(), 4);
    assert_eq!(links.producer("second").unwrap().inputs()[1], "bias");
    assert!(graph.initializers().all(|tensor| tensor.element() != ElementType::Float16));
}

#[test]
fn a_transposed_weight_is_transposed_back() {
    let mut model = mlp(&[2, 3], 1).unwrap();
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0_f32];
    model.set_initializer("fc0.weight", Tensor::new(&[3, 2], &values).unwrap());
    quantize_dynamic(&mut model, &DynamicSettings::default()).unwrap();
    let weight = model.graph().initializer("fc0.weight").unwrap().to_tensor().unwrap();
    assert_eq!(weight.shape(), [2, 3]);
    assert_eq!(weight.bytes(), [64, 95, 106, 127, 127, 127].map(|code: u8| code + 128));
    let count = |name: &str| operators(&model).iter().filter(|found| **found == name).count();
    assert_eq!((count("MatMulInteger"), count("Gemm"), operators(&model).len()), (1, 0, 26));
}

#[test]
fn a_shared_weight_is_stored_once() {
    let dims = [Dim::from("batch"), Dim::from(2)];
    let mut builder = GraphBuilder::new("shared");
    builder
        .input("x", ElementType::Float32, &dims)
        .initializer("w", Tensor::new(&[2, 2], &[1.0_f32, 2.0, 3.0, 4.0]).unwrap())
        .node("MatMul", &["x", "w"], &["a"], &[])
        .node("MatMul", &["a", "w"], &["y"], &[])
        .output("y", ElementType::Float32, &dims);
    let mut model = builder.finish().unwrap();
    let report = quantize_dynamic(&mut model, &DynamicSettings::default()).unwrap();
    assert_eq!(report.tensors.len(), 1);
    let products = find(&model, "MatMulInteger");
    assert_eq!(products[0].inputs()[1], products[1].inputs()[1]);
    let int8 = model.graph().initializers().filter(|t| t.element() == ElementType::UInt8).count();
    // The codes, their zero, and the zero of all rows.
    assert_eq!(int8, 3);
}

#[test]
fn other_products_stay_with_a_reason() {
    let dims = [Dim::from(2), Dim::from(2)];
    let weight = || Tensor::new(&[2, 2], &[1.0_f32; 4]).unwrap();
    let mut builder = GraphBuilder::new("others");
    builder
        .input("x", ElementType::Float32, &dims)
        .initializer("left", weight())
        .initializer("doubled", weight())
        .node("MatMul", &["left", "x"], &["a"], &[])
        .node("Gemm", &["a", "doubled"], &["y"], &[("alpha", Attribute::Float(2.0))])
        .output("y", ElementType::Float32, &dims);
    let mut model = builder.finish().unwrap();
    let report = quantize_dynamic(&mut model, &DynamicSettings::default()).unwrap();
    let kept: Vec<_> = report.kept.iter().map(|kept| kept.name.as_str()).collect();
    assert_eq!((kept, operators(&model)), (vec!["left", "doubled"], vec!["MatMul", "Gemm"]));
}

#[test]
fn a_weight_in_two_layouts_is_stored_in_both() {
    let dims = [Dim::from("batch"), Dim::from(2)];
    let mut builder = GraphBuilder::new("tied");
    builder
        .input("x", ElementType::Float32, &dims)
        .initializer("w", Tensor::new(&[2, 2], &[1.0_f32, 2.0, 3.0, 4.0]).unwrap())
        .node("MatMul", &["x", "w"], &["a"], &[])
        .node("Gemm", &["a", "w"], &["y"], &[("transB", Attribute::Int(1))])
        .output("y", ElementType::Float32, &dims);
    let mut model = builder.finish().unwrap();
    let report = quantize_dynamic(&mut model, &DynamicSettings::default()).unwrap();
    assert_eq!(report.tensors.len(), 2);
    let products = find(&model, "MatMulInteger");
    assert_ne!(products[0].inputs()[1], products[1].inputs()[1]);
}

#[test]
fn tiny_weights_stay_and_are_reported() {
    let mut model = mlp(&[2, 3, 2], 1).unwrap();
    let values = [1.0, 2.0, 1e-37, 4e-37, 5.0, 6.0_f32];
    model.set_initializer("fc0.weight", Tensor::new(&[3, 2], &values).unwrap());
    let report = quantize_dynamic(&mut model, &DynamicSettings::default()).unwrap();
    assert_eq!((report.tensors.len(), &*report.kept[0].name), (1, "fc0.weight"));
    assert!(report.kept[0].reason.contains("4e-37"), "{}", report.kept[0].reason);
    assert_eq!(find(&model, "Gemm").len(), 1);
}
