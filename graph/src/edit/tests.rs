//! Tests of changing graphs.

mod apply;
mod unused;

use super::*;
use crate::{Attribute, Dim, ElementType, GraphBuilder, mlp};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{AttributeProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto};
use protobuf::MessageField;

const FLOAT: ElementType = ElementType::Float32;

/// `x → Relu → a → Mul → b → Neg → y`; `a` is an output too if asked.
fn chain(a_is_output: bool) -> Model {
    let mut builder = GraphBuilder::new("chain");
    builder
        .input("x", FLOAT, &[Dim::from(2)])
        .initializer("w", Tensor::new(&[2], &[1.0_f32; 2]).unwrap())
        .node("Relu", &["x"], &["a"], &[])
        .node("Mul", &["a", "w"], &["b"], &[])
        .node("Neg", &["b"], &["y"], &[])
        .output("y", FLOAT, &[Dim::from(2)]);
    if a_is_output {
        builder.output("a", FLOAT, &[Dim::from(2)]);
    }
    builder.finish().unwrap()
}

/// A graph of nodes: operator, inputs and output of each. The last output is the graph's.
fn graph(nodes: &[(&str, &[&str], &str)]) -> GraphProto {
    let node = |(op_type, inputs, output): &(&str, &[&str], &str)| {
        NewNode::new(op_type, inputs, &[*output]).into_proto()
    };
    let node: Vec<NodeProto> = nodes.iter().map(node).collect();
    let output = node.last().map(|node| value(&node.output[0]));
    GraphProto { node, output: output.into_iter().collect(), ..GraphProto::default() }
}

fn value(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: name.to_owned(), ..ValueInfoProto::default() }
}

/// Adds branches to the last node.
fn if_(mut graph: GraphProto, then_branch: GraphProto, else_branch: GraphProto) -> GraphProto {
    let branches = [("then_branch", then_branch), ("else_branch", else_branch)];
    let attribute = branches.map(|(name, graph)| AttributeProto {
        name: name.to_owned(),
        type_: AttributeType::GRAPH.into(),
        g: MessageField::some(graph),
        ..AttributeProto::default()
    });
    graph.node.last_mut().unwrap().attribute = attribute.to_vec();
    graph
}

/// An `If` whose branches capture `x`, `w` and `a`; `hidden` is a branch's own value.
fn branching() -> Model {
    let deep = graph(&[("Add", &["a", "w"], "deep")]);
    let own = graph(&[("Neg", &["a"], "hidden")]);
    let then_branch = if_(graph(&[("If", &["c"], "t.y")]), deep, own);
    let else_branch = graph(&[("Neg", &["x"], "hidden")]);
    let outer = graph(&[("Relu", &["x"], "a"), ("If", &["c"], "y")]);
    let mut outer = if_(outer, then_branch, else_branch);
    outer.input = vec![value("c"), value("x")];
    outer.initializer = vec![Tensor::new(&[1], &[2.0_f32]).unwrap().into_proto("w")];
    model(ModelProto { graph: MessageField::some(outer), ..ModelProto::default() })
}

fn model(mut proto: ModelProto) -> Model {
    proto.opset_import = vec![OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() }];
    Model::from_proto(proto)
}

/// Operator, inputs and outputs of every node.
fn nodes(model: &Model) -> Vec<String> {
    let described = |node: Node<'_>| {
        format!("{} {} > {}", node.op_type(), node.inputs().join(" "), node.outputs().join(" "))
    };
    model.graph().nodes().map(described).collect()
}

/// The model after a change, written and read again.
fn changed(mut model: Model, change: impl FnOnce(&mut Edit, &Model)) -> Model {
    let mut edit = model.edit();
    change(&mut edit, &model);
    model.apply(edit).unwrap();
    Model::from_bytes(&model.to_bytes().unwrap()).unwrap()
}

fn error_of(mut model: Model, change: impl FnOnce(&mut Edit, &Model)) -> String {
    let mut edit = model.edit();
    change(&mut edit, &model);
    let before = model.to_bytes().unwrap();
    let message = model.apply(edit).unwrap_err().to_string();
    assert_eq!(model.to_bytes().unwrap(), before, "{message}");
    message
}

fn node<'m>(model: &'m Model, op_type: &str) -> Node<'m> {
    model.graph().nodes().find(|node| node.op_type() == op_type).unwrap()
}
