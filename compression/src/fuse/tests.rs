//! Tests of the fusion of graphs that dynamic int8 writes.

use super::*;
use crate::{DynamicSettings, quantize_dynamic};
use skysail_graph::{Dim, GraphBuilder, Tensor, mlp};

const OPERATOR: Int8Operator<'static> =
    Int8Operator { op_type: "Product", domain: "test", version: 1 };

fn operators(model: &Model) -> Vec<&str> {
    model.graph().nodes().map(|node| node.op_type()).collect()
}

#[test]
fn products_become_one_operator_each() {
    let mut model = mlp(&[6, 5, 3], 1).unwrap();
    quantize_dynamic(&mut model, &DynamicSettings::default()).unwrap();
    let products = fuse_int8(&mut model, OPERATOR).unwrap();
    assert_eq!(operators(&model), ["Product", "Product"]);
    assert_eq!(model.opset("test"), Some(1));
    let nodes: Vec<_> = model.graph().nodes().collect();
    assert_eq!(nodes[0].inputs(), ["input", "fc0.bias"]);
    assert_eq!(nodes[0].text("activation").unwrap(), Some("Relu"));
    assert_eq!(nodes[1].text("activation").unwrap(), None);
    let sizes: Vec<_> = products.iter().map(|p| (&*p.name, p.inputs, p.outputs)).collect();
    assert_eq!(sizes, [("fc0.weight", 6, 5), ("fc1.weight", 5, 3)]);
    assert_eq!((products[0].codes.len(), products[0].scales.len()), (30, 5));
    assert!(products[0].codes.contains(&127) || products[0].codes.contains(&-127));
    // No constant of the quantization is left.
    let names: Vec<_> = model.graph().initializers().map(|tensor| tensor.name()).collect();
    assert_eq!(names, ["fc0.bias", "fc1.bias"]);
    assert!(fuse_int8(&mut model, OPERATOR).unwrap().is_empty());
}

/// Builds two products of one value. Another node uses the value `tapped`, where there is one.
fn two(tapped: &str) -> Model {
    let dims = [Dim::from("batch"), Dim::from(2)];
    let weight = Tensor::new(&[2, 2], &[1.0_f32, 2.0, -4.0, 0.5]).unwrap();
    let mut builder = GraphBuilder::new("two");
    builder
        .input("x", ElementType::Float32, &dims)
        .initializer("a", weight.clone())
        .initializer("b", weight)
        .node("MatMul", &["x", "a"], &["first"], &[])
        .node("MatMul", &["x", "b"], &["second"], &[])
        .node("Add", &["first", "second"], &["y"], &[])
        .output("y", ElementType::Float32, &dims);
    let mut model = builder.finish().unwrap();
    quantize_dynamic(&mut model, &DynamicSettings::default()).unwrap();
    let mut edit = model.edit();
    if !tapped.is_empty() {
        edit.add(NewNode::new("Identity", &[tapped], &["tap"]));
    }
    model.apply(edit).unwrap();
    model
}

#[test]
fn a_product_with_another_consumer_is_not_fused() {
    let mut model = two("first_sums");
    let products = fuse_int8(&mut model, OPERATOR).unwrap();
    assert_eq!(products.len(), 1);
    let found = operators(&model);
    let count = |name: &str| found.iter().filter(|found| **found == name).count();
    assert_eq!((count("Product"), count("MatMulInteger"), count("ReduceMax")), (1, 1, 1));
}

#[test]
fn a_product_with_other_constants_is_not_fused() {
    for (end, values) in [("half", [0.25_f32]), ("part", [0.01]), ("nothing", [1.0])] {
        let mut model = two("");
        model.set_initializer(&format!("rows_{end}"), Tensor::new(&[], &values).unwrap());
        assert!(fuse_int8(&mut model, OPERATOR).unwrap().is_empty(), "{end}");
    }
    let mut model = two("");
    model.set_initializer("first_weights", Tensor::new(&[2], &[0.0_f32, 0.0]).unwrap());
    assert_eq!(fuse_int8(&mut model, OPERATOR).unwrap().len(), 1);
}
