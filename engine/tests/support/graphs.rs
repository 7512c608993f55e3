//! Models made for one purpose each. All have the input `x` and the output `y`.

use super::{FLOAT, batch_of};
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Model, Tensor};

/// A graph of a single operator from `x` to `y`, both of this type and these dimensions.
pub(crate) fn operator(
    operator: &str,
    attributes: &[(&str, Attribute)],
    element: ElementType,
    dims: &[Dim],
) -> Model {
    let mut graph = GraphBuilder::new(operator);
    graph.input("x", element, dims).node(operator, &["x"], &["y"], attributes);
    graph.output("y", element, dims);
    graph.finish().unwrap()
}

/// `y = x`.
pub(crate) fn same(element: ElementType, dims: &[Dim]) -> Model {
    operator("Identity", &[], element, dims)
}

/// `y = x + value`, float32 `[batch, 2]`.
pub(crate) fn add(value: f32) -> Model {
    let mut graph = GraphBuilder::new("add");
    graph
        .input("x", FLOAT, &batch_of(&[2]))
        .initializer("value", Tensor::new(&[], &[value]).unwrap())
        .node("Add", &["x", "value"], &["y"], &[])
        .output("y", FLOAT, &batch_of(&[2]));
    graph.finish().unwrap()
}

/// `y = softmax(x)` over an axis, float32 `[batch, 3]`.
pub(crate) fn softmax(axis: i64) -> Model {
    operator("Softmax", &[("axis", Attribute::Int(axis))], FLOAT, &batch_of(&[3]))
}

/// `y` is `x` times the number of rows, float32 `[batch, 3]`.
pub(crate) fn times_rows() -> Model {
    let mut graph = GraphBuilder::new("times_rows");
    graph
        .input("x", FLOAT, &batch_of(&[3]))
        .initializer("first", Tensor::new(&[], &[0_i64]).unwrap())
        .node("Shape", &["x"], &["shape"], &[])
        .node("Gather", &["shape", "first"], &["rows"], &[])
        .node("Cast", &["rows"], &["factor"], &[("to", Attribute::Int(1))])
        .node("Mul", &["x", "factor"], &["y"], &[])
        .output("y", FLOAT, &batch_of(&[3]));
    graph.finish().unwrap()
}

/// `y = x`, reshaped to a fixed shape of one row: `[batch, 4]`.
pub(crate) fn reshaped_to_one_row() -> Model {
    let mut graph = GraphBuilder::new("one_row");
    graph
        .input("x", FLOAT, &batch_of(&[4]))
        .initializer("shape", Tensor::new(&[2], &[1_i64, 4]).unwrap())
        .node("Reshape", &["x", "shape"], &["y"], &[])
        .output("y", FLOAT, &batch_of(&[4]));
    graph.finish().unwrap()
}

/// Mean of the embeddings of tokens 0 to 4: int64 `[batch, tokens]` to float32 `[batch, 2]`.
/// Token t is embedded as t and 10 t.
pub(crate) fn embedding() -> Model {
    let table: Vec<f32> = (0..5_u8).flat_map(|t| [f32::from(t), f32::from(t) * 10.0]).collect();
    let mean = [("axes", Attribute::Ints(vec![1])), ("keepdims", Attribute::Int(0))];
    let mut graph = GraphBuilder::new("embedding");
    graph
        .input("x", ElementType::Int64, &[Dim::from("batch"), Dim::from("tokens")])
        .initializer("table", Tensor::new(&[5, 2], &table).unwrap())
        .node("Gather", &["table", "x"], &["embedded"], &[])
        .node("ReduceMean", &["embedded"], &["y"], &mean)
        .output("y", FLOAT, &batch_of(&[2]));
    graph.finish().unwrap()
}

/// Indices of non-zero elements: float32 `[batch, 3]` to int64 `[2, found]`, which has no rows.
pub(crate) fn nonzero() -> Model {
    let mut graph = GraphBuilder::new("nonzero");
    graph.input("x", FLOAT, &batch_of(&[3])).node("NonZero", &["x"], &["y"], &[]).output(
        "y",
        ElementType::Int64,
        &[Dim::Unknown, Dim::Unknown],
    );
    graph.finish().unwrap()
}

/// Embeddings of tokens 0 to 4 where the mask is 1, and their sum.
///
/// Inputs are int64 `x` and `mask` `[batch, tokens]`; outputs are float32 `embedded`
/// `[batch, tokens, 2]` and `y` `[batch, 1, 2]`. Token t is embedded as t and 10 t. The dimensions
/// of the mask have these names.
pub(crate) fn masked_embedding(mask_dims: [&str; 2]) -> Model {
    let table: Vec<f32> = (0..5_u8).flat_map(|t| [f32::from(t), f32::from(t) * 10.0]).collect();
    let texts = [Dim::from("batch"), Dim::from("tokens")];
    let axis = |axis: i64| Tensor::new(&[1], &[axis]).unwrap();
    let mut graph = GraphBuilder::new("masked_embedding");
    graph
        .input("x", ElementType::Int64, &texts)
        .input("mask", ElementType::Int64, &mask_dims.map(Dim::from))
        .initializer("table", Tensor::new(&[5, 2], &table).unwrap())
        .initializer("inside", axis(1))
        .initializer("behind", axis(2))
        .node("Gather", &["table", "x"], &["all"], &[])
        .node("Cast", &["mask"], &["factors"], &[("to", Attribute::Int(1))])
        .node("Unsqueeze", &["factors", "behind"], &["column"], &[])
        .node("Mul", &["all", "column"], &["embedded"], &[])
        .node("Unsqueeze", &["factors", "inside"], &["line"], &[])
        .node("MatMul", &["line", "all"], &["y"], &[])
        .output("embedded", FLOAT, &[texts[0].clone(), texts[1].clone(), Dim::from(2)])
        .output("y", FLOAT, &[texts[0].clone(), Dim::from(1), Dim::from(2)]);
    graph.finish().unwrap()
}

/// A model whose run time depends on the request: a thousand products of matrices of `x + 32` rows,
/// each a node.
///
/// `x` is int64 `[1]`, and `y` is the same as a float. `sides` is twice `x + 32`, of a shape that is
/// not known before the run.
pub(crate) fn adjustable_run_time() -> Model {
    const STEPS: usize = 1000;
    let one = [Dim::from(1)];
    let mut graph = GraphBuilder::new("adjustable_run_time");
    graph
        .input("x", ElementType::Int64, &one)
        .initializer("least", Tensor::new(&[1], &[32_i64]).unwrap())
        .node("Add", &["x", "least"], &["side"], &[])
        .node("Concat", &["side", "side"], &["sides"], &[("axis", Attribute::Int(0))])
        .node("ConstantOfShape", &["sides"], &["step0"], &[]);
    for step in 1..=STEPS {
        let (from, to) = (format!("step{}", step - 1), format!("step{step}"));
        graph.node("MatMul", &[&from, &from], &[&to], &[]);
    }
    let last = format!("step{STEPS}");
    graph
        .node("ReduceMean", &[&last], &["zero"], &[("keepdims", Attribute::Int(0))])
        .node("Cast", &["x"], &["float"], &[("to", Attribute::Int(1))])
        .node("Add", &["float", "zero"], &["y"], &[])
        .output("y", FLOAT, &one)
        .output("sides", ElementType::Int64, &[Dim::Unknown]);
    graph.finish().unwrap()
}
