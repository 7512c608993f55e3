//! Tests of the graphs that smoothing writes.

use super::*;
use crate::calibrate::tests::Echo;
use skysail_graph::{Dim, ElementType, GraphBuilder};

/// Builds a value that two products and a sum use.
fn model() -> Model {
    let dims = [Dim::from("batch"), Dim::from(2)];
    let weight = |values: &[f32; 4]| Tensor::new(&[2, 2], values).unwrap();
    let mut builder = GraphBuilder::new("products");
    builder
        .input("x", ElementType::Float32, &dims)
        .initializer("a", weight(&[1.0, -2.0, 0.5, 0.25]))
        .initializer("b", weight(&[4.0, 1.0, 1.0, 1.0]))
        .node("Relu", &["x"], &["n"], &[])
        .node("MatMul", &["n", "a"], &["first"], &[])
        .node("Gemm", &["n", "b"], &["second"], &[("transB", skysail_graph::Attribute::Int(1))])
        .node("Add", &["first", "second"], &["both"], &[])
        .node("Add", &["both", "n"], &["y"], &[])
        .output("y", ElementType::Float32, &dims);
    builder.finish().unwrap()
}

fn smoothed(strength: f32) -> Result<(Model, SmoothReport), CompressError> {
    let mut model = model();
    // The runner returns this for every value: channels of 64 and 1.
    let batches = [vec![("x".to_owned(), Tensor::new(&[1, 2], &[64.0_f32, -1.0]).unwrap())]];
    let mut calibration = Calibration { runner: &mut Echo, batches: &batches };
    let report = smooth(&mut model, SmoothSettings { strength }, &mut calibration)?;
    Ok((model, report))
}

#[test]
fn smoothing_keeps_products_and_evens_out_ranges() {
    let (model, report) = smoothed(0.5).unwrap();
    let layers = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(report.values, [SmoothedValue { name: "n".into(), layers }]);
    let (graph, links) = (model.graph(), model.graph().links());
    let floats = |name: &str| graph.initializer(name).unwrap().as_f32().unwrap().into_owned();
    let mul = graph.nodes().find(|node| node.op_type() == "Mul").unwrap();
    let inverse = floats(&mul.inputs()[1]);
    // Rows reach 4 and 1 in the matrices: 64 / 4 against 1 / 1, evened out.
    assert!((inverse[1] / inverse[0] - 4.0).abs() < 1e-4, "{inverse:?}");
    for (before, after, turned) in
        [([1.0, -2.0, 0.5, 0.25], "a", false), ([4.0, 1.0, 1.0, 1.0], "b", true)]
    {
        for (position, (before, after)) in before.iter().zip(floats(after)).enumerate() {
            let row = if turned { position % 2 } else { position / 2 };
            assert!((after * inverse[row] - before).abs() < 1e-6);
        }
    }
    // The products use the smoothed value, the sum the original.
    let made = &mul.outputs()[0];
    let consumers = |value: &str| -> Vec<String> {
        links.consumers(value).iter().map(|consumer| consumer.node.op_type().to_owned()).collect()
    };
    assert_eq!(
        (consumers(made), consumers("n")),
        (vec!["MatMul".into(), "Gemm".into()], vec!["Mul".into(), "Add".to_owned()])
    );
}

#[test]
fn the_strength_is_checked() {
    let message = smoothed(1.5).unwrap_err().to_string();
    assert_eq!(message, "the strength of smoothing is 1.5: it must be 0 to 1");
}
