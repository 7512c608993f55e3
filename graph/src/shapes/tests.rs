//! Tests of shape inference, node by node, through the public interface.

mod limits;
mod operators;

use crate::{Attribute, Dim, ElementType, GraphBuilder, Kind, Model, NewNode, Tensor};

const FLOAT: ElementType = ElementType::Float32;

/// A graph whose inputs are float32 tensors: `"x: batch 3 ?"` has three dimensions.
fn graph(inputs: &[&str]) -> GraphBuilder {
    let mut builder = GraphBuilder::new("shapes");
    for input in inputs {
        let (name, words) = input.split_once(':').unwrap();
        builder.input(name, FLOAT, &words.split_whitespace().map(dim).collect::<Vec<_>>());
    }
    builder
}

fn dim(word: &str) -> Dim {
    match word.parse() {
        Ok(size) => Dim::Fixed(size),
        Err(_) if word == "?" => Dim::Unknown,
        Err(_) => Dim::from(word),
    }
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

/// Adds a list of integers.
fn list(builder: &mut GraphBuilder, name: &str, values: &[i64]) {
    builder.initializer(name, Tensor::new(&[values.len() as u64], values).unwrap());
}

/// Describes the inferred kind of `value`.
fn described(builder: &GraphBuilder, value: &str) -> String {
    builder.clone().finish().unwrap().graph().shapes().kind(value).to_string()
}

/// Describes the output of one node.
fn one(
    op_type: &str,
    inputs: &[&str],
    lists: &[(&str, &[i64])],
    attributes: &[(&str, Attribute)],
) -> String {
    let mut builder = graph(inputs);
    let mut inputs: Vec<&str> =
        inputs.iter().map(|input| input.split(':').next().unwrap()).collect();
    for (name, values) in lists {
        list(&mut builder, name, values);
        inputs.push(name);
    }
    builder.node(op_type, &inputs, &["y"], attributes);
    described(&builder, "y")
}
