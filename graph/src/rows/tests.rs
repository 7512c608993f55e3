//! Tests of the proof, on models that exporters write.

mod loops;
mod operators;

use crate::{Attribute, Dim, ElementType, GraphBuilder, Independence, Model, NewNode, Tensor};

const FLOAT: ElementType = ElementType::Float32;

/// A graph whose inputs are float32 tensors: `"x: batch 3 ?"` has three dimensions.
fn graph(inputs: &[&str]) -> GraphBuilder {
    let mut builder = GraphBuilder::new("rows");
    for input in inputs {
        let (name, words) = input.split_once(':').unwrap();
        let dim = |word: &str| word.parse().map_or_else(|_| Dim::from(word), Dim::Fixed);
        let dims: Vec<Dim> = words.split_whitespace().map(dim).collect();
        let element = if name.starts_with("id") { ElementType::Int64 } else { FLOAT };
        builder.input(name, element, &dims);
    }
    builder
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

fn list(builder: &mut GraphBuilder, name: &str, values: &[i64]) {
    builder.initializer(name, Tensor::new(&[values.len() as u64], values).unwrap());
}

fn weight(builder: &mut GraphBuilder, name: &str, dims: &[u64]) {
    let count = usize::try_from(dims.iter().product::<u64>()).unwrap();
    builder.initializer(name, Tensor::new(dims, &vec![0.5_f32; count]).unwrap());
}

/// Completes a model with the output `value`, of unknown shape.
fn finish(builder: &mut GraphBuilder, value: &str) -> Model {
    builder.output(value, FLOAT, &[Dim::Unknown]);
    builder.clone().finish().unwrap()
}

/// Verdict on a model with one output.
fn verdict(builder: &mut GraphBuilder, value: &str) -> Independence {
    finish(builder, value).row_independence()
}

#[track_caller]
fn independent(builder: &mut GraphBuilder, value: &str) {
    assert_eq!(verdict(builder, value), Independence::Independent);
}

#[track_caller]
fn dependent(builder: &mut GraphBuilder, value: &str, reason: &str) {
    let Independence::Dependent(cause) = verdict(builder, value) else {
        panic!("{:?}", verdict(builder, value))
    };
    assert!(cause.to_string().contains(reason), "'{cause}' should say '{reason}'");
}

#[track_caller]
fn unknown(builder: &mut GraphBuilder, value: &str, reason: &str) {
    let Independence::Unknown(cause) = verdict(builder, value) else {
        panic!("{:?}", verdict(builder, value))
    };
    assert!(cause.to_string().contains(reason), "'{cause}' should say '{reason}'");
}

/// A graph of one node over a matrix of rows.
fn one(op_type: &str, attributes: &[(&str, Attribute)]) -> GraphBuilder {
    let mut builder = graph(&["x: n 4"]);
    builder.node(op_type, &["x"], &["y"], attributes);
    builder
}
