//! Any bytes as a model: read, inspected, changed and written. Written bytes must read as the same
//! model.

#![no_main]

use libfuzzer_sys::fuzz_target;
use skysail_graph::{Graph, Model, NewNode};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut model) = Model::from_bytes(bytes) else { return };
    read(model.graph());
    rows(&model);
    let written = model.to_bytes().expect("what was read is no larger than allowed");
    let again = Model::from_bytes(&written).expect("what was written can be read");
    assert_eq!(again.graph().nodes().len(), model.graph().nodes().len());
    change(&mut model);
    let _ = model.inline_external_data();
});

fn read(graph: Graph<'_>) {
    for tensor in graph.initializers() {
        let _ = (tensor.to_tensor(), tensor.strings());
        let _ = (tensor.as_f32(), tensor.as_i64());
    }
    let links = graph.links();
    for node in graph.nodes() {
        for name in node.attributes() {
            let _ = (node.int(name), node.ints(name), node.text(name), node.tensor(name));
            node.graph(name).into_iter().flatten().for_each(read);
        }
        let _ = node.outputs().iter().filter_map(|value| links.single_consumer(value)).count();
    }
    let _ = graph.weights();
    for (_, kind) in graph.shapes().iter() {
        let _ = kind.to_string();
    }
}

fn rows(model: &Model) {
    let _ = model.row_independence();
    for shape in [true, false].iter().flat_map(|same| model.output_shapes(*same)) {
        let _ = shape.sizes(&[&[usize::MAX, 2], &[3]]);
    }
}

fn change(model: &mut Model) {
    let mut edit = model.edit();
    if let Some(name) = model.graph().nodes().find_map(|node| node.outputs().first()) {
        let (from, to) = edit.cut(name);
        edit.add(NewNode::new("Identity", &[&from], &[&to]));
    }
    let _ = model.apply(edit);
    let _ = model.drop_unused();
}
