//! Values that the graphs inside a node (the branches of `If`, the bodies of `Loop` and
//! `Scan`) take from the graph around it. The decoder limits how deep graphs lie in one
//! another, so recursion is safe.

use onnx_protobuf::{GraphProto, NodeProto};
use std::collections::HashSet;

/// The names of the values that `node` takes: its inputs, and what the graphs inside it take
/// from around it. Each comes once, in no order.
pub(crate) fn consumed(node: &NodeProto) -> HashSet<&str> {
    let mut names = captured(node);
    names.extend(node.input.iter().map(String::as_str));
    names.remove("");
    names
}

/// The names of the values that the graphs inside `node` take from around it.
pub(crate) fn captured(node: &NodeProto) -> HashSet<&str> {
    subgraphs(node).flat_map(free).collect()
}

/// The names that `graph` takes and does not give itself.
pub(crate) fn free(graph: &GraphProto) -> HashSet<&str> {
    let mut names: HashSet<&str> = graph.node.iter().flat_map(consumed).collect();
    names.extend(graph.output.iter().map(|output| output.name.as_str()));
    for name in initial(graph).chain(produced(graph)) {
        names.remove(name);
    }
    names.remove("");
    names
}

/// The names of the values that are there before any node: inputs and initializers.
pub(crate) fn initial(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    let dense = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let sparse = graph.sparse_initializer.iter().map(|sparse| sparse.values.name.as_str());
    inputs.chain(dense).chain(sparse)
}

/// The names of the values that the nodes of `graph` make.
pub(crate) fn produced(graph: &GraphProto) -> impl Iterator<Item = &str> {
    graph.node.iter().flat_map(|node| &node.output).map(String::as_str)
}

/// Adds the names of all values of `graph` and of the graphs inside it.
pub(crate) fn add_names(graph: &GraphProto, names: &mut HashSet<String>) {
    names.extend(initial(graph).chain(produced(graph)).map(str::to_owned));
    let inputs = graph.node.iter().flat_map(|node| &node.input);
    names.extend(inputs.chain(graph.output.iter().map(|output| &output.name)).cloned());
    graph.node.iter().flat_map(subgraphs).for_each(|graph| add_names(graph, names));
}

/// Lets `node`, and the graphs inside it, take `new` where they took `old`.
pub(crate) fn rename_consumed(node: &mut NodeProto, old: &str, new: &str) {
    for input in node.input.iter_mut().filter(|input| *input == old) {
        new.clone_into(input);
    }
    for attribute in &mut node.attribute {
        for graph in attribute.g.as_mut().into_iter().chain(&mut attribute.graphs) {
            rename_free(graph, old, new);
        }
    }
}

fn rename_free(graph: &mut GraphProto, old: &str, new: &str) {
    // One of the graph's own hides that of the same name outside.
    if initial(graph).chain(produced(graph)).any(|name| name == old) {
        return;
    }
    for node in &mut graph.node {
        rename_consumed(node, old, new);
    }
    for output in graph.output.iter_mut().filter(|output| output.name == old) {
        new.clone_into(&mut output.name);
    }
}

/// The graphs inside a node.
pub(crate) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}
