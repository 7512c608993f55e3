//! Tests of the removal of unused nodes and initializers.

use super::*;
use onnx_protobuf::{StringStringEntryProto, TrainingInfoProto};

#[test]
fn unused_nodes_and_initializers_are_dropped() {
    let mut model = mlp(&[3, 2], 1).unwrap();
    let more = Tensor::new(&[1], &[0.0_f32]).unwrap();
    let edit = {
        let mut edit = model.edit();
        edit.set_initializer("lone", more.clone())
            .set_initializer("behind", more)
            .add(NewNode::new("Abs", &["behind"], &["nowhere"]))
            .add(NewNode::new("Print", &["nowhere"], &[]));
        edit
    };
    model.apply(edit).unwrap();
    // A node without outputs stays.
    assert_eq!(model.drop_unused(), ["lone"]);
    let mut edit = model.edit();
    edit.remove(node(&model, "Print"));
    model.apply(edit).unwrap();
    assert_eq!(model.drop_unused(), ["behind"]);
    assert_eq!(model.graph().nodes().len(), 1);
    let mut branching = branching();
    assert_eq!(branching.drop_unused(), [""; 0]);
    assert_eq!(branching.graph().nodes().len(), 2);
}

#[test]
fn initializers_used_by_training_are_kept() {
    let tensor = |name| Tensor::new(&[1], &[1.0_f32]).unwrap().into_proto(name);
    let mut graph_of_three = graph(&[]);
    graph_of_three.initializer = ["step", "rest", "rate"].map(tensor).to_vec();
    let binding = StringStringEntryProto {
        key: "step".to_owned(),
        value: "new".to_owned(),
        ..StringStringEntryProto::default()
    };
    let info = TrainingInfoProto {
        algorithm: MessageField::some(graph(&[("Neg", &["rate"], "new")])),
        update_binding: vec![binding],
        ..TrainingInfoProto::default()
    };
    let mut model = model(ModelProto {
        graph: MessageField::some(graph_of_three),
        training_info: vec![info],
        ..ModelProto::default()
    });
    assert_eq!(model.drop_unused(), ["rest"]);
}
