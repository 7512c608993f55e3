//! Random graphs of every operator: outputs are inferred or unknown, without panics or large
//! memory.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics and prints")]

mod support;

use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Model, NewNode, Tensor};
use support::Numbers;

/// Source of the rules, in which every operator stands in quotation marks.
const RULES: [&str; 3] = [
    include_str!("../src/shapes/table.rs"),
    include_str!("../src/rows/table.rs"),
    include_str!("../src/rows/microsoft.rs"),
];
/// Domains; most rules belong to the first.
const DOMAINS: [&str; 6] = ["", "", "", "", "com.microsoft", "ai.onnx.ml"];
const INTS: [&str; 16] = [
    "axis",
    "to",
    "group",
    "keepdims",
    "blocksize",
    "hidden_size",
    "k",
    "N",
    "batch_dims",
    "start",
    "end",
    "transA",
    "ceil_mode",
    "layout",
    "value_int",
    "output_dtype",
];
const LISTS: [&str; 15] = [
    "axes",
    "perm",
    "pads",
    "paddings",
    "kernel_shape",
    "strides",
    "dilations",
    "split",
    "starts",
    "ends",
    "shape",
    "output_shape",
    "output_padding",
    "value_ints",
    "classlabels_ints",
];
const LIMITS: [i64; 14] =
    [0, 1, -1, 2, 3, -2, 4, 16, 255, 1 << 31, 1 << 40, i64::MAX, i64::MIN, i64::MIN + 1];
const SIZES: [u64; 10] = [0, 1, 2, 3, 4, 8, 256, 1 << 40, i64::MAX as u64, u64::MAX];

/// Operators of the tables, and other text in quotation marks there.
fn operators() -> Vec<&'static str> {
    let words: Vec<&str> =
        RULES.iter().flat_map(|rules| rules.split('"').skip(1).step_by(2)).collect();
    assert!(words.contains(&"Conv") && words.contains(&"MatMulNBits") && words.contains(&"CDist"));
    words
}

/// A graph of ten random nodes, each with inputs from those before it.
fn graph(numbers: &mut Numbers, operators: &[&str]) -> Model {
    let mut builder = GraphBuilder::new("any");
    let mut values: Vec<String> = vec![String::new()];
    for input in 0..3 {
        let mut dims: Vec<Dim> = (0..numbers.below(6)).map(|_| dim(numbers)).collect();
        // Mostly dynamic, as for rows.
        if let Some(first) = dims.first_mut().filter(|_| numbers.below(4) > 0) {
            *first = Dim::from("batch");
        }
        values.push(format!("input{input}"));
        builder.input(&values[input + 1], ElementType::Float32, &dims);
    }
    for list in 0..4 {
        values.push(format!("list{list}"));
        builder.initializer(&format!("list{list}"), tensor(numbers));
    }
    for node in 0..10 {
        let inputs: Vec<String> =
            (0..numbers.below(5)).map(|_| values[numbers.below(values.len())].clone()).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let outputs: Vec<String> =
            (0..=numbers.below(3)).map(|at| format!("{node}.{at}")).collect();
        let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let new = NewNode::new(numbers.pick(operators), &inputs, &names);
        builder.add(with_attributes(new.domain(numbers.pick(&DOMAINS)), numbers));
        values.extend(outputs);
    }
    for value in values.iter().skip(1).rev().take(6) {
        builder.output(value, ElementType::Float32, &[]);
    }
    builder.finish().unwrap()
}

fn dim(numbers: &mut Numbers) -> Dim {
    match numbers.below(4) {
        0 => Dim::Unknown,
        1 => Dim::from(numbers.pick(&["batch", "sequence"])),
        _ => Dim::Fixed(numbers.pick(&SIZES)),
    }
}

/// A few integers or floats: a vector, a matrix of two rows, or a scalar.
fn tensor(numbers: &mut Numbers) -> Tensor {
    let list: Vec<i64> = (0..numbers.below(7)).map(|_| numbers.pick(&LIMITS)).collect();
    let count = list.len() as u64;
    match (numbers.below(4), list.first()) {
        (0, Some(scalar)) => Tensor::new(&[], &[*scalar]).unwrap(),
        (1, _) if count.is_multiple_of(2) => Tensor::new(&[count / 2, 2], &list).unwrap(),
        (2, _) => {
            let floats: Vec<f32> = list.iter().map(|value| *value as f32).collect();
            Tensor::new(&[count], &floats).unwrap()
        }
        _ => Tensor::new(&[count], &list).unwrap(),
    }
}

fn with_attributes(mut node: NewNode, numbers: &mut Numbers) -> NewNode {
    for _ in 0..numbers.below(4) {
        let ints: Vec<i64> = (0..numbers.below(6)).map(|_| numbers.pick(&LIMITS)).collect();
        node = match numbers.below(6) {
            0 | 1 => node.attribute(numbers.pick(&INTS), Attribute::Int(numbers.pick(&LIMITS))),
            2 | 3 => node.attribute(numbers.pick(&LISTS), Attribute::Ints(ints)),
            4 => node.attribute("value", Attribute::Tensor(tensor(numbers))),
            _ => node.attribute("auto_pad", Attribute::Text("SAME_LOWER".to_owned())),
        };
    }
    node
}

#[test]
fn random_graphs_do_not_panic() {
    let operators = operators();
    let mut numbers = Numbers(4);
    let (mut described, mut all) = (0_usize, 0_usize);
    for _ in 0..4_000 {
        let model = graph(&mut numbers, &operators);
        let _ = model.row_independence();
        for shape in [true, false].iter().flat_map(|same| model.output_shapes(*same)) {
            let _ = (shape.sizes(&[&[3, 2], &[3], &[3, usize::MAX]]), shape.sizes(&[]));
        }
        let _ = model.graph().weights();
        for shapes in [model.graph().shapes(), model.graph().shapes_for(&[("input0", &[3, 0, 7])])]
        {
            described += shapes.iter().filter(|(name, _)| shapes.dims(name).is_some()).count();
            all += shapes.iter().count();
        }
    }
    // Most graphs are nonsense, but many must pass the first checks.
    println!("{described} of {all} have dimensions");
    assert!(described * 4 > all, "{described} of {all}");
}
