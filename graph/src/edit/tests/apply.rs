//! Tests of applied changes.

use super::*;

#[test]
fn fresh_names_are_unique_everywhere() {
    let mut edit = branching().edit();
    assert_eq!(edit.fresh("new"), "new");
    assert_eq!(edit.fresh("new"), "new_1");
    assert_eq!(edit.fresh("hidden"), "hidden_1");
    assert_eq!(edit.fresh("w"), "w_1");
    assert_eq!(edit.fresh(""), "_1");
    edit.add(NewNode::new("Abs", &["x"], &["mine"]));
    assert_eq!(edit.fresh("mine"), "mine_1");
}

#[test]
fn a_node_is_replaced_by_several() {
    let model = changed(chain(false), |edit, model| {
        let half = edit.fresh("half");
        let old = node(model, "Mul");
        edit.replace(
            old,
            [
                // New nodes may come in any order.
                NewNode::copy_of(old).input(1, &half),
                NewNode::new("Sqrt", &["w"], &[&half]),
            ],
        );
    });
    let expected = ["Relu x > a", "Sqrt w > half", "Mul a half > b", "Neg b > y"];
    assert_eq!(nodes(&model), expected);
    assert_eq!(
        model.graph().nodes().map(|node| node.name()).collect::<Vec<_>>()[1..3],
        ["half", "Mul_1"]
    );
}

#[test]
fn nodes_are_inserted_behind_an_output_of_a_node() {
    let quantized = |edit: &mut Edit, _: &Model| {
        let (from, to) = edit.cut("a");
        let bytes = edit.fresh("a_bytes");
        edit.add(NewNode::new("QuantizeLinear", &[&from, "s"], &[&bytes]))
            .add(NewNode::new("DequantizeLinear", &[&bytes, "s"], &[&to]))
            .set_initializer("s", Tensor::new(&[], &[0.5_f32]).unwrap());
    };
    let expected = [
        "Relu x > a_before",
        "QuantizeLinear a_before s > a_bytes",
        "DequantizeLinear a_bytes s > a",
        "Mul a w > b",
        "Neg b > y",
    ];
    // The value may be an output of the graph.
    assert_eq!(nodes(&changed(chain(false), quantized)), expected);
    assert_eq!(nodes(&changed(chain(true), quantized)), expected);
}

#[test]
fn nodes_are_inserted_behind_inputs_and_initializers() {
    let model = changed(branching(), |edit, _| {
        for value in ["x", "w"] {
            let (from, to) = edit.cut(value);
            edit.add(NewNode::new("Cast", &[&from], &[&to]).attribute("to", Attribute::Int(1)));
        }
    });
    let described = nodes(&model);
    assert_eq!(described[0], "Cast x > x_after");
    assert_eq!(described[1], "Relu x_after > a");
    assert_eq!(described[2], "Cast w > w_after");
    // Branches use the new value, at any depth.
    let outer = node(&model, "If");
    let other = outer.graph("else_branch").unwrap().unwrap();
    assert_eq!(other.nodes().next().unwrap().inputs(), ["x_after"]);
    let inner = outer.graph("then_branch").unwrap().unwrap().nodes().next().unwrap();
    let deep = inner.graph("then_branch").unwrap().unwrap();
    assert_eq!(deep.nodes().next().unwrap().inputs(), ["a", "w_after"]);
    assert_eq!(model.graph().links().consumers("w_after")[0].input, None);
}

#[test]
fn a_branch_keeps_a_shadowing_value() {
    // One branch has a `w` of its own.
    let mut own = graph(&[("Neg", &["w"], "made")]);
    own.initializer = vec![Tensor::new(&[1], &[3.0_f32]).unwrap().into_proto("w")];
    let other = graph(&[("Neg", &["w"], "made")]);
    let mut outer = if_(graph(&[("If", &["c"], "y")]), own, other);
    outer.input = vec![value("c"), value("w")];
    let before = model(ModelProto { graph: MessageField::some(outer), ..ModelProto::default() });
    let model = changed(before, |edit, _| {
        let (from, to) = edit.cut("w");
        edit.add(NewNode::new("Abs", &[&from], &[&to]));
    });
    let inputs = ["then_branch", "else_branch"].map(|branch| {
        let graph = node(&model, "If").graph(branch).unwrap().unwrap();
        graph.nodes().next().unwrap().inputs()[0].as_str()
    });
    assert_eq!(inputs, ["w", "w_after"]);
}

#[test]
fn two_cuts_of_a_value_come_one_after_the_other() {
    let twice = |value: &'static str| {
        move |edit: &mut Edit, _: &Model| {
            for op_type in ["Abs", "Exp"] {
                let (from, to) = edit.cut(value);
                edit.add(NewNode::new(op_type, &[&from], &[&to]));
            }
        }
    };
    let described = nodes(&changed(chain(false), twice("a")));
    assert_eq!(
        described[..3],
        ["Relu x > a_before", "Abs a_before > a_before_1", "Exp a_before_1 > a"]
    );
    let described = nodes(&changed(chain(false), twice("x")));
    assert_eq!(
        described[..3],
        ["Exp x > x_after_1", "Abs x_after_1 > x_after", "Relu x_after > a"]
    );
}

#[test]
fn a_replaced_node_can_be_cut_as_well() {
    let model = changed(chain(false), |edit, model| {
        let old = node(model, "Relu");
        edit.replace(old, [NewNode::new("Abs", &["x"], &["a"])]);
        let (from, to) = edit.cut("a");
        edit.add(NewNode::new("Exp", &[&from], &[&to]));
    });
    assert_eq!(nodes(&model)[..3], ["Abs x > a_before", "Exp a_before > a", "Mul a w > b"]);
}

#[test]
fn consumers_of_a_removed_value_are_redirected() {
    let without = |op_type: &'static str, old: &'static str, new: &'static str| {
        move |edit: &mut Edit, model: &Model| {
            edit.remove(node(model, op_type)).redirect(old, new);
        }
    };
    let model = changed(chain(false), without("Relu", "a", "x"));
    assert_eq!(nodes(&model), ["Mul x w > b", "Neg b > y"]);
    // An output keeps its name.
    let model = changed(chain(false), without("Neg", "y", "b"));
    assert_eq!(nodes(&model), ["Relu x > a", "Mul a w > y"]);
    let model = changed(branching(), without("Relu", "a", "x"));
    let inner = node(&model, "If").graph("then_branch").unwrap().unwrap().nodes().next().unwrap();
    let other = inner.graph("else_branch").unwrap().unwrap();
    assert_eq!(other.nodes().next().unwrap().inputs(), ["x"]);
    assert!(error_of(chain(true), without("Relu", "a", "x")).contains("output 'a'"));
    assert!(error_of(chain(true), without("Neg", "y", "a")).contains("output 'y'"));
}

#[test]
fn an_invalid_change_changes_nothing() {
    let add = |op_type: &'static str, input: &'static str, output: &'static str| {
        move |edit: &mut Edit, _: &Model| {
            edit.add(NewNode::new(op_type, &[input], &[output]));
        }
    };
    assert!(
        error_of(chain(false), add("Abs", "nothing", "z")).contains("no value 'nothing' yet at z")
    );
    assert!(error_of(chain(false), add("Abs", "x", "a")).contains("two values named 'a'"));
    assert!(error_of(chain(false), add("Abs", "x", "w")).contains("two values named 'w'"));
    assert!(error_of(chain(false), add("Abs", "z", "z")).contains("its own values"));
    let circle = |edit: &mut Edit, model: &Model| {
        edit.replace(node(model, "Relu"), [NewNode::new("Add", &["x", "b"], &["a"])]);
    };
    assert!(error_of(chain(false), circle).contains("its own values"));
    let missing = |edit: &mut Edit, model: &Model| {
        edit.remove(node(model, "Neg")).import("new", 1);
    };
    assert!(error_of(chain(false), missing).contains("no value 'y' yet at the graph's end"));
    let unfed = |edit: &mut Edit, _: &Model| {
        edit.remove_initializer("w");
    };
    assert!(error_of(chain(false), unfed).contains("no value 'w' yet at Mul_1"));
    let stale = |edit: &mut Edit, _: &Model| {
        edit.remove(node(&branching(), "If"));
    };
    assert!(error_of(chain(false), stale).contains("is none of this graph"));
    let unfinished = |edit: &mut Edit, _: &Model| {
        edit.cut("a");
    };
    assert!(error_of(chain(false), unfinished).contains("no value 'a'"));
    let newer = |edit: &mut Edit, _: &Model| {
        edit.import("", 18);
    };
    assert!(error_of(chain(false), newer).contains("version 18"));
    let nowhere = |edit: &mut Edit, model: &Model| {
        let (from, to) = edit.cut("x");
        edit.remove(node(model, "Relu")).redirect("a", &to);
        edit.add(NewNode::new("Neg", &[&from], &["z"]));
    };
    assert!(error_of(chain(false), nowhere).contains("no value 'x_after'"));
}

#[test]
fn operators_are_imported_once() {
    let model = changed(chain(false), |edit, _| {
        edit.import("skysail", 1).import("skysail", 1).import("ai.onnx", 13);
    });
    assert_eq!(model.opsets().collect::<Vec<_>>(), [("", 17), ("skysail", 1)]);
}

#[test]
fn initializers_are_added_and_removed() {
    let model = changed(chain(false), |edit, model| {
        let old = node(model, "Mul");
        edit.replace(old, [NewNode::copy_of(old).input(1, "v")])
            .remove_initializer("w")
            .set_initializer("v", Tensor::new(&[1], &[3.0_f32]).unwrap());
    });
    let names: Vec<&str> = model.graph().initializers().map(|tensor| tensor.name()).collect();
    assert_eq!(names, ["v"]);
}

#[test]
fn an_initializer_replaces_a_constant() {
    let mut builder = GraphBuilder::new("constant");
    let tensor = |value| Tensor::new(&[1], &[value]).unwrap();
    builder
        .node("Constant", &[], &["c"], &[("value", Attribute::Tensor(tensor(1.0_f32)))])
        .node("Neg", &["c"], &["y"], &[])
        .output("y", FLOAT, &[Dim::from(1)]);
    let mut direct = builder.clone().finish().unwrap();
    direct.set_initializer("c", tensor(2.0));
    assert_eq!(nodes(&direct), ["Neg c > y"]);
    let model = changed(builder.finish().unwrap(), |edit, _| {
        let (from, to) = edit.cut("c");
        edit.set_initializer("c", tensor(2.0)).add(NewNode::new("Abs", &[&from], &[&to]));
    });
    assert_eq!(nodes(&model), ["Abs c > c_after", "Neg c_after > y"]);
    assert_eq!(*model.graph().initializer("c").unwrap().as_f32().unwrap(), [2.0]);
}

#[test]
fn the_declared_type_of_a_value_moves_with_it() {
    let mut model = chain(false);
    let graph = model.proto_mut().graph.mut_or_insert_default();
    for name in ["a", "b"] {
        let mut info = graph.output[0].clone();
        name.clone_into(&mut info.name);
        graph.value_info.push(info);
    }
    let model = changed(model, |edit, model| {
        let (from, to) = edit.cut("a");
        edit.add(NewNode::new("Cast", &[&from], &[&to]));
        edit.replace(node(model, "Mul"), [NewNode::new("Add", &["a", "w"], &["c"])]);
        edit.redirect("b", "c");
    });
    let infos = &model.graph().proto().value_info;
    assert_eq!(infos.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), ["a_before"]);
}

#[test]
fn a_removed_initializer_is_removed_from_the_inputs() {
    let mut model = chain(false);
    let graph = model.proto_mut().graph.mut_or_insert_default();
    let mut input = graph.input[0].clone();
    "w".clone_into(&mut input.name);
    graph.input.push(input);
    let model = changed(model, |edit, model| {
        edit.remove(node(model, "Mul")).redirect("b", "a").remove_initializer("w");
    });
    assert_eq!(model.graph().proto().input.len(), 1);
}

#[test]
fn long_chains_are_sorted_without_recursion() {
    const LENGTH: usize = 20_000;
    let mut builder = GraphBuilder::new("long");
    builder.input("0", FLOAT, &[Dim::from(1)]);
    for number in 0..LENGTH {
        builder.node("Abs", &[&number.to_string()], &[&(number + 1).to_string()], &[]);
    }
    builder.output(&LENGTH.to_string(), FLOAT, &[Dim::from(1)]);
    let mut model = builder.finish().unwrap();
    model.proto_mut().graph.mut_or_insert_default().node.reverse();
    let mut model = changed(model, |_, _| {});
    assert_eq!(nodes(&model)[0], "Abs 0 > 1");
    assert_eq!(nodes(&model)[LENGTH - 1], "Abs 19999 > 20000");
    assert!(model.drop_unused().is_empty());
}
