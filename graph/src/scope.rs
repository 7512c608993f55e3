//! Values that the graphs inside a node capture from the graph around it.

use onnx_protobuf::{GraphProto, NodeProto};
use std::collections::HashSet;

/// Names of the values that `node` consumes: its inputs and those captured by its subgraphs. Each
/// comes once, in no order.
pub(crate) fn consumed(node: &NodeProto) -> HashSet<&str> {
    let mut names = captured(node);
    names.extend(node.input.iter().map(String::as_str));
    names.remove("");
    names
}

/// Names of the values that the subgraphs of `node` capture.
pub(crate) fn captured(node: &NodeProto) -> HashSet<&str> {
    subgraphs(node).flat_map(free).collect()
}

/// Names that `graph` uses and does not define.
pub(crate) fn free(graph: &GraphProto) -> HashSet<&str> {
    let mut names: HashSet<&str> = graph.node.iter().flat_map(consumed).collect();
    names.extend(graph.output.iter().map(|output| output.name.as_str()));
    for name in initial(graph).chain(produced(graph)) {
        names.remove(name);
    }
    names.remove("");
    names
}

/// Names of the values before any node runs: inputs and initializers.
pub(crate) fn initial(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    let dense = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let sparse = graph.sparse_initializer.iter().map(|sparse| sparse.values.name.as_str());
    inputs.chain(dense).chain(sparse)
}

/// Names of the values that the nodes of `graph` produce.
pub(crate) fn produced(graph: &GraphProto) -> impl Iterator<Item = &str> {
    graph.node.iter().flat_map(|node| &node.output).map(String::as_str)
}

/// Adds the names of all values of `graph` and of its subgraphs.
pub(crate) fn add_names(graph: &GraphProto, names: &mut HashSet<String>) {
    names.extend(initial(graph).chain(produced(graph)).map(str::to_owned));
    let inputs = graph.node.iter().flat_map(|node| &node.input);
    names.extend(inputs.chain(graph.output.iter().map(|output| &output.name)).cloned());
    graph.node.iter().flat_map(subgraphs).for_each(|graph| add_names(graph, names));
}

/// Makes `node` and its subgraphs consume `new` instead of `old`.
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
    // A value of the graph's own shadows the outer one.
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

/// Subgraphs of a node.
pub(crate) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}
