//! Time limits of the proof of independent rows.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics and prints")]

mod support;

use skysail_graph::{
    Attribute, Dim, ElementType, GraphBuilder, Independence, Model, Tensor, TransformerSettings,
    transformer_encoder,
};
use std::time::{Duration, Instant};

/// Factor by which an unoptimised build may be slower.
const UNOPTIMISED: u32 = if cfg!(debug_assertions) { 20 } else { 1 };

/// Checks the fastest of several proofs against the limit of an optimised build.
fn check(what: &str, model: &Model, limit: Duration) {
    let once = |_| {
        let started = Instant::now();
        assert_eq!(model.row_independence(), Independence::Independent, "{what}");
        started.elapsed()
    };
    let took = (0..5).map(once).min().unwrap();
    let limit = limit * UNOPTIMISED;
    println!("{what}: {took:?} of at most {limit:?}");
    assert!(took < limit, "{what} takes {took:?} of at most {limit:?}");
}

/// Products, additions and computed shapes: a hundred times ten nodes.
fn thousand_nodes() -> Model {
    let mut builder = GraphBuilder::new("thousand");
    builder
        .input("x0", ElementType::Float32, &[Dim::from("n"), Dim::from("tokens"), Dim::from(8)])
        .initializer("w", Tensor::new(&[8, 8], &[0.5_f32; 64]).unwrap())
        .initializer("zero", Tensor::new(&[], &[0_i64]).unwrap())
        .initializer("lone", Tensor::new(&[1], &[0_i64]).unwrap())
        .initializer("rest", Tensor::new(&[2], &[-1_i64, 8]).unwrap());
    for layer in 0..100 {
        let name = |what: &str| format!("{what}{layer}");
        let (from, to) = (name("x"), format!("x{}", layer + 1));
        let last = [("axis", Attribute::Int(0))];
        builder
            .node("Shape", &[&from], &[&name("shape")], &[])
            .node("Gather", &[&name("shape"), "zero"], &[&name("rows")], &last)
            .node("Unsqueeze", &[&name("rows"), "lone"], &[&name("first")], &[])
            .node("Concat", &[&name("first"), "rest"], &[&name("wanted")], &last)
            .node("MatMul", &[&from, "w"], &[&name("product")], &[])
            .node("Reshape", &[&name("product"), &name("wanted")], &[&name("laid")], &[])
            .node("Softmax", &[&name("laid")], &[&name("soft")], &[])
            .node("Add", &[&name("soft"), &from], &[&name("sum")], &[])
            .node("Transpose", &[&name("sum")], &[&name("turned")], &[])
            .node("Transpose", &[&name("turned")], &[&to], &[]);
    }
    builder.output("x100", ElementType::Float32, &[Dim::Unknown, Dim::Unknown, Dim::from(8)]);
    builder.finish().unwrap()
}

#[test]
fn the_proof_of_a_thousand_nodes_is_fast() {
    check("1,000 nodes", &thousand_nodes(), Duration::from_millis(200));
}

#[test]
fn the_proof_of_an_encoder_is_fast() {
    let settings = TransformerSettings {
        vocabulary: 100,
        length: 128,
        width: 48,
        heads: 12,
        hidden: 96,
        layers: 6,
        classes: 2,
    };
    let model = transformer_encoder(settings, 1).unwrap();
    check("an encoder of 6 layers", &model, Duration::from_millis(50));
    if let Some(path) = support::model("all-minilm-l6-v2") {
        let model = Model::load(path).unwrap();
        check("MiniLM", &model, Duration::from_millis(50));
    }
}
