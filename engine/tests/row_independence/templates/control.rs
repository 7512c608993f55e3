//! Branches, loops and functions.

use super::{Added, Template};
use crate::generator::{Generator, Value};
use crate::proto::{self, Side, float, graph, info, int, ints, of_call};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{FunctionProto, GraphProto, NodeProto, OperatorSetIdProto};
use skysail_graph::ElementType::{self, Bool, Float32, Int64};

pub(crate) const ALL: &[Template] =
    &[if_, if_, loop_, loop_, scan, scan, function, function_with_axis];

fn inside(nodes: Vec<NodeProto>, inputs: &[(&str, ElementType)], outputs: &[&str]) -> GraphProto {
    GraphProto {
        name: "inside".into(),
        input: inputs.iter().map(|(name, element)| info(name, Some((*element, None)))).collect(),
        output: outputs.iter().map(|name| info(name, None)).collect(),
        node: nodes,
        ..GraphProto::default()
    }
}

/// An operator on a value and another that broadcasts to it.
fn step(m: &mut Generator, x: &str, partner: &str, output: &str) -> NodeProto {
    let (operator, inputs): (&str, &[&str]) = match m.below(6) {
        0 => ("Relu", &[x]),
        1 => ("Softmax", &[x]),
        2 => ("Sub", &[partner, x]),
        3 => ("Mul", &[x, partner]),
        _ => ("Add", &[x, partner]),
    };
    proto::node("", operator, inputs, &[output], vec![])
}

/// A condition on the number of rows, another size, or values; or a constant.
fn condition(m: &mut Generator) -> Option<String> {
    let kind = m.below(10);
    if kind < 7 {
        let x = m.value(|value| value.rows.is_some())?;
        let axis = if kind < 2 { x.rows? } else { m.axis(&x)? };
        let shape = m.one("Shape", &[&x.name], vec![]);
        let place = m.integers(&[], &[axis as i64]);
        let size = m.one("Gather", &[&shape, &place], vec![]);
        let limit = m.integers(&[], &[2]);
        return Some(m.one("Less", &[&limit, &size], vec![]));
    }
    if kind < 9 {
        let x = m.floats(1)?;
        let attributes = vec![int("keepdims", 0)];
        let largest = m.one("ReduceMax", &[&x.name], attributes);
        let limit = m.constant(Float32, &[], 3.0_f32.to_le_bytes().to_vec());
        return Some(m.one("Less", &[&limit, &largest], vec![]));
    }
    Some(m.constant(Bool, &[], vec![1]))
}

fn if_(m: &mut Generator) -> Added {
    let condition = condition(m)?;
    let x = m.floats(1)?;
    let (a, b) = (m.partner(&x)?, m.partner(&x)?);
    let [then, other] = m.names();
    let branch = |m: &mut Generator, partner: &Value, output: &str| {
        let node = step(m, &x.name, &partner.name, output);
        inside(vec![node], &[], &[output])
    };
    let then = branch(m, &a, &then);
    let other = if m.chance(15) {
        let axis = x.rows.unwrap_or(0);
        let attributes = vec![int("axis", axis as i64)];
        let doubled = proto::node("", "Concat", &[&x.name, &x.name], &[&other], attributes);
        inside(vec![doubled], &[], &[&other])
    } else {
        branch(m, &b, &other)
    };
    let graphs = vec![graph("then_branch", then), graph("else_branch", other)];
    m.many("", "If", &[&condition], 1, graphs);
    Some(())
}

fn loop_(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let partner = m.partner(&x)?;
    let start = if m.chance(80) {
        x.clone()
    } else {
        m.value(|value| value.element == Float32 && value.dims == x.dims)?
    };
    let rounds = match m.below(6) {
        0 => {
            let of = m.value(|value| value.rows.is_some())?;
            let axis = if m.chance(40) { of.rows? } else { m.axis(&of)? };
            let shape = m.one("Shape", &[&of.name], vec![]);
            let place = m.integers(&[], &[axis as i64]);
            m.one("Gather", &[&shape, &place], vec![])
        }
        _ => m.integers(&[], &[3]),
    };
    let [turn, go, state, go_on, next, seen, wide] = m.names();
    let mut nodes = vec![proto::node("", "Identity", &[&go], &[&go_on], vec![])];
    let first = step(m, &state, &partner.name, &next);
    nodes.push(first);
    if m.chance(40) {
        // The number of the turn goes in.
        let [sum] = m.names();
        nodes.push(proto::node("", "Cast", &[&turn], &[&wide], vec![int("to", 1)]));
        nodes.push(proto::node("", "Add", &[&next, &wide], &[&sum], vec![]));
        nodes.push(proto::node("", "Identity", &[&sum], &[&seen], vec![]));
    } else {
        nodes.push(proto::node("", "Identity", &[&state], &[&seen], vec![]));
    }
    if m.chance(15) {
        // It ends by the values of its state.
        let [largest, limit] = m.names();
        nodes.push(proto::node("", "ReduceMax", &[&next], &[&largest], vec![int("keepdims", 0)]));
        let value = proto::constant("", Float32, &[], 20.0_f32.to_le_bytes().to_vec());
        nodes.push(proto::node(
            "",
            "Constant",
            &[],
            &[&limit],
            vec![proto::tensor("value", value)],
        ));
        nodes[0] = proto::node("", "Less", &[&largest, &limit], &[&go_on], vec![]);
        nodes.rotate_left(1);
    }
    let inputs = [(turn.as_str(), Int64), (&go, Bool), (&state, Float32)];
    let mut body = inside(nodes, &inputs, &[&go_on, &next, &seen]);
    for (input, _) in body.input.iter_mut().zip(0..2) {
        let element = if input.name == turn { Int64 } else { Bool };
        *input = info(&input.name, Some((element, Some(Vec::<Side>::new()))));
    }
    let condition = if m.chance(60) { String::new() } else { m.constant(Bool, &[], vec![1]) };
    m.many("", "Loop", &[&rounds, &condition, &start.name], 2, vec![graph("body", body)]);
    Some(())
}

fn scan(m: &mut Generator) -> Added {
    let x = m.floats(2)?;
    let axis = m.axis(&x)?;
    let mut part = x.dims.clone();
    part.remove(axis);
    let start = m.value(|value| value.element == Float32 && value.dims == part);
    let start = match start {
        Some(start) if m.chance(80) => start.name,
        _ => {
            // A part of the value itself.
            let zero = m.integers(&[], &[0]);
            m.one("Gather", &[&x.name, &zero], vec![int("axis", axis as i64)])
        }
    };
    let [state, slice, next, seen] = m.names();
    let nodes = vec![
        step(m, &slice, &state, &next),
        proto::node("", "Identity", &[&next], &[&seen], vec![]),
    ];
    let body = inside(nodes, &[(&state, Float32), (&slice, Float32)], &[&next, &seen]);
    let mut attributes = vec![
        graph("body", body),
        int("num_scan_inputs", 1),
        ints("scan_input_axes", &[axis as i64]),
    ];
    if m.chance(60) {
        let out = m.below(x.dims.len());
        attributes.push(ints("scan_output_axes", &[out as i64]));
    }
    if m.chance(30) {
        attributes.push(ints("scan_input_directions", &[1]));
    }
    m.many("", "Scan", &[&start, &x.name], 2, attributes);
    Some(())
}

fn imports(m: &Generator) -> Vec<OperatorSetIdProto> {
    vec![OperatorSetIdProto { version: m.opset, ..OperatorSetIdProto::default() }]
}

/// A function of the model: twice the first input, and the second added.
fn function(m: &mut Generator) -> Added {
    (m.opset >= 13).then_some(())?;
    let x = m.floats(1)?;
    let y = m.partner(&x)?;
    let nodes = vec![
        proto::node("", "Add", &["a", "a"], &["twice"], vec![]),
        proto::node("", "Add", &["twice", "b"], &["sum"], vec![]),
    ];
    m.add_function(FunctionProto {
        name: "TwiceAndMore".into(),
        domain: "local".into(),
        input: vec!["a".into(), "b".into()],
        output: vec!["sum".into(), "twice".into()],
        node: nodes,
        opset_import: imports(m),
        ..FunctionProto::default()
    });
    m.many("local", "TwiceAndMore", &[&x.name, &y.name], 2, vec![]);
    Some(())
}

/// A function whose axis is the call's.
fn function_with_axis(m: &mut Generator) -> Added {
    (m.opset >= 13).then_some(())?;
    let x = m.floats(1)?;
    let axis = m.axis(&x)?;
    let nodes = vec![
        proto::node("", "Softmax", &["a"], &["parts"], vec![of_call("axis", AttributeType::INT)]),
        proto::node("", "LeakyRelu", &["a"], &["leaky"], vec![float("alpha", 0.5)]),
        proto::node("", "Mul", &["parts", "leaky"], &["product"], vec![]),
    ];
    m.add_function(FunctionProto {
        name: "Weighted".into(),
        domain: "local".into(),
        input: vec!["a".into()],
        output: vec!["product".into()],
        attribute: vec!["axis".into()],
        node: nodes,
        opset_import: imports(m),
        ..FunctionProto::default()
    });
    m.many("local", "Weighted", &[&x.name], 1, vec![int("axis", axis as i64)]);
    Some(())
}
