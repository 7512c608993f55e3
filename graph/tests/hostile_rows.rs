//! Nested graphs and functions that would take forever to analyse: the proof ends soon.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics and prints")]

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_shape_proto::Dimension;
use onnx_protobuf::type_proto::{Tensor as TensorType, Value as TypeValue};
use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};
use skysail_graph::{Independence, Model};
use std::time::{Duration, Instant};

/// Longest time of a proof in an unoptimised build.
const LONGEST: Duration = Duration::from_secs(20);

fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NodeProto {
        op_type: operator.into(),
        input: owned(inputs),
        output: owned(outputs),
        ..NodeProto::default()
    }
}

fn with_graph(mut node: NodeProto, name: &str, graph: GraphProto) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.into(),
        type_: AttributeType::GRAPH.into(),
        g: Some(graph).into(),
        ..AttributeProto::default()
    });
    node
}

fn values(names: &[&str]) -> Vec<ValueInfoProto> {
    let value = |name: &&str| ValueInfoProto { name: (*name).into(), ..ValueInfoProto::default() };
    names.iter().map(value).collect()
}

fn graph(nodes: Vec<NodeProto>, inputs: &[&str], outputs: &[&str]) -> GraphProto {
    GraphProto {
        node: nodes,
        input: values(inputs),
        output: values(outputs),
        ..GraphProto::default()
    }
}

/// A model whose input `x` has rows of floats.
fn model(mut graph: GraphProto, functions: Vec<FunctionProto>) -> Model {
    let shape = TensorShapeProto { dim: vec![Dimension::new(); 2], ..TensorShapeProto::default() };
    let tensor = TensorType { elem_type: 1, shape: Some(shape).into(), ..TensorType::default() };
    let kind = TypeProto { value: Some(TypeValue::TensorType(tensor)), ..TypeProto::default() };
    graph.input = values(&["x"]);
    graph.input[0].type_ = Some(kind).into();
    let proto = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() }],
        functions,
        graph: Some(graph).into(),
        ..ModelProto::default()
    };
    Model::from_bytes(&proto.write_to_bytes().unwrap()).unwrap()
}

/// Verdict on the model, within the time limit.
fn proven(what: &str, model: &Model) -> Independence {
    let started = Instant::now();
    let verdict = model.row_independence();
    for same in [true, false] {
        let _ = model.output_shapes(same);
    }
    println!("{what}: {:?} of at most {LONGEST:?}: {verdict:?}", started.elapsed());
    assert!(started.elapsed() < LONGEST, "{what} takes {:?}", started.elapsed());
    verdict
}

/// A constant of one integer.
fn number(name: &str, value: i64) -> TensorProto {
    TensorProto {
        name: name.into(),
        data_type: 7,
        raw_data: value.to_le_bytes().to_vec(),
        ..TensorProto::default()
    }
}

/// Nested loops, whose states shift by one place in every iteration.
fn loops(depth: usize, states: usize, constants: usize) -> GraphProto {
    let names: Vec<String> = (0..states).map(|state| format!("s{depth}.{state}")).collect();
    let next: Vec<String> = (0..states).map(|state| format!("t{depth}.{state}")).collect();
    let (turn, go, same) = (format!("i{depth}"), format!("g{depth}"), format!("h{depth}"));
    let mut rotated = names.clone();
    rotated.rotate_left(1);
    let mut inner = if depth == 0 {
        let relu = |(from, to): (&String, &String)| node("Relu", &[from], &[to]);
        graph(rotated.iter().zip(&next).map(relu).collect(), &[], &[])
    } else {
        let inputs: Vec<&str> =
            ["", ""].into_iter().chain(rotated.iter().map(String::as_str)).collect();
        let outputs: Vec<&str> = next.iter().map(String::as_str).collect();
        let body = loops(depth - 1, states, constants);
        let mut inside = node("Loop", &inputs, &outputs);
        inside.input[0] = "three".into();
        graph(vec![with_graph(inside, "body", body)], &[], &[])
    };
    inner.node.push(node("Identity", &[&go], &[&same]));
    let given: Vec<&str> =
        [turn.as_str(), &go].into_iter().chain(names.iter().map(String::as_str)).collect();
    let made: Vec<&str> =
        [same.as_str()].into_iter().chain(next.iter().map(String::as_str)).collect();
    (inner.input, inner.output) = (values(&given), values(&made));
    inner.initializer =
        (0..constants).map(|place| number(&format!("c{depth}.{place}"), 1)).collect();
    inner
}

fn of_loops(depth: usize, first: &[&str], constants: usize) -> Model {
    let states = first.len();
    let inputs: Vec<&str> = ["three", ""].into_iter().chain(first.iter().copied()).collect();
    let outputs: Vec<String> = (0..states).map(|state| format!("y{state}")).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let body = loops(depth, states, constants);
    let mut all =
        graph(vec![with_graph(node("Loop", &inputs, &outputs), "body", body)], &[], &outputs);
    all.initializer = vec![number("three", 3)];
    model(all, Vec::new())
}

#[test]
fn nested_loops_are_analysed() {
    assert_eq!(proven("two loops", &of_loops(1, &["x"; 2], 0)), Independence::Independent);
}

#[test]
fn nested_loops_end_soon() {
    proven("loops 20 deep", &of_loops(20, &["x"; 6], 0));
    // Each iteration moves a value without rows on, so that states settle late.
    let late = ["three", "x", "x", "x", "x", "x"];
    proven("loops 20 deep that settle late", &of_loops(20, &late, 0));
    proven("loops with many constants", &of_loops(12, &late, 20_000));
}

/// Nested branches, both sides of which are analysed.
fn branches(depth: usize) -> GraphProto {
    let output = format!("b{depth}");
    let output = output.as_str();
    if depth == 0 {
        return graph(vec![node("Relu", &["x"], &[output])], &[], &[output]);
    }
    let inside = with_graph(node("If", &["open"], &[output]), "then_branch", branches(depth - 1));
    graph(vec![with_graph(inside, "else_branch", branches(depth - 1))], &[], &[output])
}

/// The graph, with another graph's nodes before its last one.
fn with(mut graph: GraphProto, other: &GraphProto) -> GraphProto {
    let before = other.node.len() - graph.node.len();
    graph.node.splice(0..0, other.node[..before].to_vec());
    graph.initializer.clone_from(&other.initializer);
    graph
}

#[test]
fn nested_branches_end_soon() {
    let mut all = branches(12);
    // The condition is shared by all rows, and unknown before a run.
    all.initializer = vec![number("one", 1)];
    let before = [
        node("Shape", &["x"], &["sizes"]),
        node("Gather", &["sizes", "one"], &["width"]),
        node("Less", &["one", "width"], &["open"]),
    ];
    all.node.splice(0..0, before);
    let verdict = proven("branches 3 deep", &model(with(branches(3), &all), Vec::new()));
    assert_eq!(verdict, Independence::Independent);
    proven("branches 12 deep", &model(all, Vec::new()));
}

/// Functions that each call the next several times.
fn functions(count: usize, calls: usize) -> Vec<FunctionProto> {
    let function = |place: usize| {
        let called = if place + 1 < count { format!("f{}", place + 1) } else { "Relu".into() };
        let step = |call: usize| {
            let from = if call == 0 { "a".to_owned() } else { format!("m{call}") };
            let to = if call + 1 == calls { "b".to_owned() } else { format!("m{}", call + 1) };
            let mut step = node(&called, &[&from], &[&to]);
            step.domain = if called == "Relu" { String::new() } else { "own".into() };
            step
        };
        FunctionProto {
            name: format!("f{place}"),
            domain: "own".into(),
            input: vec!["a".into()],
            output: vec!["b".into()],
            node: (0..calls).map(step).collect(),
            ..FunctionProto::default()
        }
    };
    (0..count).map(function).collect()
}

fn of_functions(count: usize, calls: usize) -> Model {
    let mut call = node("f0", &["x"], &["y"]);
    call.domain = "own".into();
    model(graph(vec![call], &[], &["y"]), functions(count, calls))
}

#[test]
fn nested_functions_end_soon() {
    let few = proven("functions 4 deep", &of_functions(4, 3));
    assert_eq!(few, Independence::Independent);
    proven("functions 30 deep", &of_functions(30, 2));
    proven("functions of many calls", &of_functions(3, 300));
    let mut itself = functions(1, 2);
    itself[0].node[0] = node("f0", &["a"], &["m1"]);
    itself[0].node[0].domain = "own".into();
    let mut call = node("f0", &["x"], &["y"]);
    call.domain = "own".into();
    proven("a function of itself", &model(graph(vec![call], &[], &["y"]), itself));
}

#[test]
fn growing_sizes_end_soon() {
    // Each shape repeats the one before twice: products and terms grow.
    let mut nodes = vec![node("Shape", &["x"], &["s0"])];
    for step in 0..3_000 {
        let (from, to) = (format!("s{step}"), format!("s{}", step + 1));
        let operator = ["Mul", "Add", "Div", "Sub", "Max"][step % 5];
        nodes.push(node(operator, &[&from, &from], &[&to]));
    }
    nodes.push(node("ConstantOfShape", &["s3000"], &["y"]));
    proven("sizes of sizes", &model(graph(nodes, &[], &["y"]), Vec::new()));
}
