//! Regression tests of row rules that random graphs found wrong, or too strict.

#![expect(clippy::unwrap_used, reason = "a test panics")]

use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Independence, Model, Tensor};

const FLOAT: ElementType = ElementType::Float32;

/// A graph whose inputs have a dynamic first dimension, and these after it.
fn graph(inputs: &[(&str, ElementType, &[u64])]) -> GraphBuilder {
    let mut builder = GraphBuilder::new("rows");
    for (name, element, rest) in inputs {
        let rest = rest.iter().copied().map(Dim::Fixed);
        let dims: Vec<Dim> = std::iter::once(Dim::from("n")).chain(rest).collect();
        builder.input(name, *element, &dims);
    }
    builder
}

fn finished(mut builder: GraphBuilder) -> Model {
    builder.output("y", FLOAT, &[Dim::Unknown]);
    builder.finish().unwrap()
}

fn is_independent(builder: GraphBuilder) -> bool {
    finished(builder).row_independence() == Independence::Independent
}

fn text(value: &str) -> Attribute {
    Attribute::Text(value.to_owned())
}

fn perm(axes: &[i64]) -> Attribute {
    Attribute::Ints(axes.to_vec())
}

#[test]
fn scatter_nd_by_row_number_is_dependent() {
    // Index pairs, of which the second is a row's.
    let mut builder = graph(&[
        ("data", FLOAT, &[4]),
        ("indices", ElementType::Int64, &[3, 2]),
        ("updates", FLOAT, &[3]),
    ]);
    builder
        .node("Transpose", &["data"], &["d"], &[])
        .node("Transpose", &["indices"], &["p"], &[("perm", perm(&[1, 0, 2]))])
        .node("Transpose", &["updates"], &["u"], &[])
        .node("ScatterND", &["d", "p", "u"], &["s"], &[])
        .node("Transpose", &["s"], &["y"], &[]);
    assert!(!is_independent(builder));
}

#[test]
fn scatter_nd_with_shared_indices_is_independent() {
    let mut builder = graph(&[("data", FLOAT, &[4]), ("updates", FLOAT, &[2])]);
    builder
        .initializer("indices", Tensor::new(&[2, 1], &[3_i64, 0]).unwrap())
        .node("Transpose", &["data"], &["d"], &[])
        .node("Transpose", &["updates"], &["u"], &[])
        .node("ScatterND", &["d", "indices", "u"], &["s"], &[])
        .node("Transpose", &["s"], &["y"], &[]);
    assert!(is_independent(builder.clone()));
    let mut rows = graph(&[("data", FLOAT, &[4])]);
    rows.initializer("indices", Tensor::new(&[1, 1], &[0_i64]).unwrap())
        .initializer("updates", Tensor::new(&[1, 4], &[1.0_f32; 4]).unwrap())
        .node("ScatterND", &["data", "indices", "updates"], &["y"], &[]);
    assert!(!is_independent(rows));
}

#[test]
fn einsum_is_independent_if_the_equation_keeps_rows() {
    let of = |equation: &str| {
        let mut builder = graph(&[("a", FLOAT, &[3]), ("b", FLOAT, &[3])]);
        builder.node("Einsum", &["a", "b"], &["y"], &[("equation", text(equation))]);
        is_independent(builder)
    };
    assert!(of("nk,nk->n") && of("n...,n...->n...") && of("nk,nl->nkl") && of("ab,ab->ab"));
    assert!(!of("nk,mk->nm") && !of("nk,nk->k") && !of("nk,nk->kn"));
    let alone = |equation: &str| {
        let mut builder = graph(&[("a", FLOAT, &[3])]);
        builder.node("Einsum", &["a"], &["y"], &[("equation", text(equation))]);
        is_independent(builder)
    };
    // Runtimes disagree about the order of capitals.
    assert!(alone("ab") && !alone("ba") && !alone("Ba") && !alone("aB"));
}

#[test]
fn einsum_output_sizes_are_proven() {
    let mut builder = graph(&[("a", FLOAT, &[3, 4])]);
    builder.initializer("w", Tensor::new(&[4, 5], &[0.5_f32; 20]).unwrap()).node(
        "Einsum",
        &["a", "w"],
        &["y"],
        &[("equation", text("...k,kl->...l"))],
    );
    let shape = finished(builder).output_shapes(true).remove(0);
    assert_eq!(shape.sizes(&[&[7, 3, 4]]), Some(vec![7, 3, 5]));
}

#[test]
fn the_size_of_a_dependent_value_is_dependent() {
    // One row broadcasts to two values, three rows fail, though only the size is used.
    let mut builder = graph(&[("x", FLOAT, &[1])]);
    builder
        .initializer("two", Tensor::new(&[2, 1], &[1.0_f32, 2.0]).unwrap())
        .initializer("one", Tensor::new(&[1, 1], &[1.0_f32]).unwrap())
        .node("Add", &["x", "two"], &["sum"], &[])
        .node("Shape", &["sum"], &["shape"], &[])
        .node("Expand", &["one", "shape"], &["same"], &[])
        .node("ReduceSum", &["same"], &["total"], &[("keepdims", Attribute::Int(0))])
        .node("Mul", &["x", "total"], &["y"], &[]);
    assert!(!is_independent(builder));
}

#[test]
fn strings_are_gathered_if_rows_come_first() {
    let of = |element, axis| {
        let mut builder = graph(&[("x", element, &[2])]);
        builder
            .initializer("place", Tensor::new(&[1], &[0_i64]).unwrap())
            .node("Transpose", &["x"], &["turned"], &[])
            .node("Gather", &["turned", "place"], &["part"], &[("axis", Attribute::Int(axis))])
            .node("Transpose", &["part"], &["y"], &[]);
        is_independent(builder)
    };
    assert!(of(FLOAT, 0) && !of(FLOAT, 1));
    // ONNX Runtime copies one string of each entry.
    assert!(!of(ElementType::String, 0));
}
