//! Tests of control flow and functions.

use super::{finish, graph, list, weight};
use crate::{Independence, Model};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, ValueInfoProto,
};
use protobuf::MessageField;

fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: op_type.into(),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: outputs.iter().map(|&name| name.into()).collect(),
        ..NodeProto::default()
    }
}

fn body(inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> GraphProto {
    let infos = |names: &[&str]| {
        let info = |name: &&str| ValueInfoProto { name: (*name).into(), ..Default::default() };
        names.iter().map(info).collect()
    };
    GraphProto { input: infos(inputs), node: nodes, output: infos(outputs), ..Default::default() }
}

fn with_graph(mut node: NodeProto, name: &str, graph: GraphProto) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.into(),
        type_: AttributeType::GRAPH.into(),
        g: MessageField::some(graph),
        ..AttributeProto::default()
    });
    node
}

/// Verdict on a model of one input `x: n 4` and these nodes, with the output `y`.
fn verdict(nodes: Vec<NodeProto>) -> Independence {
    of(nodes, |_| {})
}

fn of(nodes: Vec<NodeProto>, change: impl FnOnce(&mut Model)) -> Independence {
    let mut builder = graph(&["x: n 4"]);
    list(&mut builder, "one", &[1]);
    list(&mut builder, "all", &[0, 1]);
    weight(&mut builder, "zeros", &[1, 4]);
    let mut model = finish(&mut builder, "x");
    let graph = model.proto_mut().graph.mut_or_insert_default();
    graph.node = nodes;
    graph.output[0].name = "y".into();
    change(&mut model);
    model.row_independence()
}

fn reason(verdict: Independence) -> String {
    match verdict {
        Independence::Dependent(cause) => cause.to_string(),
        other => panic!("{other:?}"),
    }
}

fn branches(condition: &str) -> NodeProto {
    let branch = |op_type: &str| body(&[], vec![node(op_type, &["x"], &["b"])], &["b"]);
    let node = node("If", &[condition], &["y"]);
    with_graph(with_graph(node, "then_branch", branch("Neg")), "else_branch", branch("Relu"))
}

#[test]
fn branches_are_independent_if_all_rows_share_the_condition() {
    // The condition follows from a dimension that all requests of a batch share.
    let shared = vec![
        node("Shape", &["x"], &["shape"]),
        node("Gather", &["shape", "one"], &["four"]),
        node("Less", &["one", "four"], &["wide"]),
        branches("wide"),
    ];
    assert_eq!(verdict(shared), Independence::Independent);
    let largest = vec![
        node("ReduceMax", &["x"], &["largest"]),
        node("Cast", &["largest"], &["c"]),
        branches("c"),
    ];
    assert!(reason(verdict(largest)).contains("its condition depends on all rows (ReduceMax"));
    let size = vec![
        node("Size", &["x"], &["size"]),
        node("Less", &["one", "size"], &["many"]),
        branches("many"),
    ];
    assert!(reason(verdict(size)).contains("depends on the number of rows"));
}

/// A loop that runs as often as `times` says, while a condition holds.
fn looped(times: &str, step: Vec<NodeProto>) -> NodeProto {
    let body = body(&["i", "c", "s"], step, &["go", "next", "each"]);
    with_graph(node("Loop", &[times, "", "x"], &["y", "all_steps"]), "body", body)
}

#[test]
fn a_loop_is_independent_if_each_step_is() {
    let step = |op_type: &str| {
        vec![
            node("Identity", &["c"], &["go"]),
            node(op_type, &["s"], &["next"]),
            node("Identity", &["next"], &["each"]),
        ]
    };
    assert_eq!(verdict(vec![looped("one", step("Relu"))]), Independence::Independent);
    assert!(reason(verdict(vec![looped("one", step("ReduceSum"))])).contains("reduces over rows"));
    // After a step, the state has other dimensions and no rows.
    let turned = verdict(vec![looped("one", step("Transpose"))]);
    assert!(!matches!(turned, Independence::Independent), "{turned:?}");
    let until = vec![
        node("ReduceMax", &["s"], &["m"]),
        node("Cast", &["m"], &["go"]),
        node("Relu", &["s"], &["next"]),
        node("Identity", &["next"], &["each"]),
    ];
    assert!(reason(verdict(vec![looped("one", until)])).contains("whether it goes on"));
}

#[test]
fn functions_are_inlined() {
    let function = |op_type: &str| FunctionProto {
        name: "f".into(),
        domain: "own".into(),
        input: vec!["a".into()],
        output: vec!["b".into()],
        // A value inside has the name of one outside.
        node: vec![node(op_type, &["a"], &["x"]), node("Neg", &["x"], &["b"])],
        opset_import: vec![OperatorSetIdProto { version: 17, ..Default::default() }],
        ..FunctionProto::default()
    };
    let called = |op_type: &str| {
        let call = NodeProto { domain: "own".into(), ..node("f", &["x"], &["h"]) };
        of(vec![call, node("Add", &["x", "h"], &["y"])], |model| {
            let proto = model.proto_mut();
            proto.functions = vec![function(op_type)];
            for opset in &mut proto.opset_import {
                opset.version = 17;
            }
        })
    };
    assert_eq!(called("Relu"), Independence::Independent);
    assert!(reason(called("ReduceMax")).contains("reduces over rows"));
}

#[test]
fn functions_that_call_themselves_end_the_proof() {
    let own = |name: &str| NodeProto { domain: "own".into(), ..node(name, &["a"], &["b"]) };
    let function = FunctionProto {
        name: "f".into(),
        domain: "own".into(),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: vec![own("f"), own("f")],
        ..FunctionProto::default()
    };
    let call = NodeProto { domain: "own".into(), ..node("f", &["x"], &["y"]) };
    let verdict = of(vec![call], |model| model.proto_mut().functions = vec![function]);
    assert!(matches!(verdict, Independence::Unknown(_)), "{verdict:?}");
}

#[test]
fn functions_that_shadow_names_or_kernels_end_the_proof() {
    let function = |domain: &str, node: NodeProto| FunctionProto {
        name: "MaxPool".into(),
        domain: domain.into(),
        input: vec!["a".into(), "b".into()],
        output: vec!["c".into()],
        node: vec![node],
        ..FunctionProto::default()
    };
    let called = |domain: &str, node_of: NodeProto| {
        let call = NodeProto { domain: domain.into(), ..node("MaxPool", &["x", "x"], &["y"]) };
        of(vec![call], |model| model.proto_mut().functions = vec![function(domain, node_of)])
    };
    let plain = || node("Add", &["a", "b"], &["c"]);
    assert_eq!(called("own", plain()), Independence::Independent);
    assert!(matches!(called("com.microsoft.nchwc", plain()), Independence::Unknown(_)));
    // The body's own `a` is not the function's.
    let step = body(&["i", "go", "a"], vec![node("Add", &["a", "b"], &["n"])], &["go", "n"]);
    let hidden = with_graph(node("Loop", &["", "", "a"], &["c"]), "body", step);
    assert!(matches!(called("own", hidden), Independence::Unknown(_)));
}
