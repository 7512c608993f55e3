//! Removes nodes and initializers that nothing depends on.

use super::apply::remove_initializers;
use crate::scope;
use onnx_protobuf::{GraphProto, ModelProto, NodeProto};
use std::collections::{HashMap, HashSet};

/// Implements [`Model::drop_unused`](crate::Model::drop_unused).
pub(super) fn drop_unused(model: &mut ModelProto) -> Vec<String> {
    let roots = training_names(model);
    let graph = model.graph.mut_or_insert_default();
    let used = Used::of(graph, roots);
    let tensors = graph.initializer.iter().map(|tensor| &tensor.name);
    let sparse = graph.sparse_initializer.iter().map(|sparse| &sparse.values.name);
    let unused = tensors.chain(sparse).filter(|name| !used.values.contains(name.as_str()));
    let unused: Vec<String> = unused.cloned().collect();
    let mut keep = used.nodes.into_iter();
    graph.node.retain(|_| keep.next().unwrap_or(true));
    remove_initializers(graph, &unused.iter().cloned().collect());
    let known: HashSet<&str> =
        scope::initial(graph).chain(graph.node.iter().flat_map(outputs)).collect();
    let keep = graph.value_info.iter().map(|info| known.contains(info.name.as_str()));
    let mut keep = keep.collect::<Vec<bool>>().into_iter();
    graph.value_info.retain(|_| keep.next().unwrap_or(true));
    unused
}

fn outputs(node: &NodeProto) -> impl Iterator<Item = &str> {
    node.output.iter().map(String::as_str).filter(|name| !name.is_empty())
}

/// Names that the training part may refer to.
fn training_names(model: &ModelProto) -> HashSet<String> {
    let mut names = HashSet::new();
    for info in &model.training_info {
        let graphs = info.initialization.iter().chain(info.algorithm.iter());
        graphs.for_each(|graph| scope::add_names(graph, &mut names));
        for binding in info.initialization_binding.iter().chain(&info.update_binding) {
            names.extend([binding.key.clone(), binding.value.clone()]);
        }
    }
    names
}

/// Values and nodes that the graph's outputs depend on.
struct Used {
    values: HashSet<String>,
    /// True for each node that is used.
    nodes: Vec<bool>,
}

impl Used {
    fn of(graph: &GraphProto, roots: HashSet<String>) -> Self {
        let mut producers: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut pending: Vec<usize> = Vec::new();
        for (index, node) in graph.node.iter().enumerate() {
            outputs(node).for_each(|name| producers.entry(name).or_default().push(index));
            // A node without outputs has an effect that the graph does not show.
            if outputs(node).next().is_none() {
                pending.push(index);
            }
        }
        let mut used = Self { values: roots, nodes: vec![false; graph.node.len()] };
        used.values.extend(graph.output.iter().map(|output| output.name.clone()));
        let names = used.values.iter().filter_map(|name| producers.get(name.as_str()));
        pending.extend(names.flatten());
        while let Some(index) = pending.pop() {
            if std::mem::replace(&mut used.nodes[index], true) {
                continue;
            }
            for name in scope::consumed(&graph.node[index]) {
                if used.values.insert(name.to_owned()) {
                    pending.extend(producers.get(name).into_iter().flatten());
                }
            }
        }
        used
    }
}
