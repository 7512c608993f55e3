//! Visits every tensor and attribute of a model: in its graph, in subgraphs (`If`, `Loop`), in
//! functions and in the training part. Recursion is safe, as the decoder limits the depth.

use crate::GraphError;
use onnx_protobuf::{
    AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto,
};

/// Mutable part of a model.
pub(crate) enum Part<'a> {
    /// An attribute; its tensors come after it.
    Attribute(&'a mut AttributeProto),
    /// A tensor.
    Tensor(&'a mut TensorProto),
}

type Visit<'v> = &'v mut dyn FnMut(Part<'_>) -> Result<(), GraphError>;

/// Calls `visit` with every part of the model, until one fails.
pub(crate) fn each_part(model: &mut ModelProto, visit: Visit<'_>) -> Result<(), GraphError> {
    if let Some(graph) = model.graph.as_mut() {
        each_in_graph(graph, visit)?;
    }
    for info in &mut model.training_info {
        for graph in info.initialization.as_mut().into_iter().chain(info.algorithm.as_mut()) {
            each_in_graph(graph, visit)?;
        }
    }
    for function in &mut model.functions {
        each_in_attributes(&mut function.attribute_proto, visit)?;
        each_in_nodes(&mut function.node, visit)?;
    }
    Ok(())
}

fn each_in_graph(graph: &mut GraphProto, visit: Visit<'_>) -> Result<(), GraphError> {
    for tensor in &mut graph.initializer {
        visit(Part::Tensor(tensor))?;
    }
    for sparse in &mut graph.sparse_initializer {
        each_in_sparse(sparse, visit)?;
    }
    each_in_nodes(&mut graph.node, visit)
}

fn each_in_nodes(nodes: &mut [NodeProto], visit: Visit<'_>) -> Result<(), GraphError> {
    nodes.iter_mut().try_for_each(|node| each_in_attributes(&mut node.attribute, visit))
}

fn each_in_attributes(
    attributes: &mut [AttributeProto],
    visit: Visit<'_>,
) -> Result<(), GraphError> {
    for attribute in attributes {
        visit(Part::Attribute(attribute))?;
        for tensor in attribute.t.as_mut().into_iter().chain(&mut attribute.tensors) {
            visit(Part::Tensor(tensor))?;
        }
        for sparse in
            attribute.sparse_tensor.as_mut().into_iter().chain(&mut attribute.sparse_tensors)
        {
            each_in_sparse(sparse, visit)?;
        }
        for graph in attribute.g.as_mut().into_iter().chain(&mut attribute.graphs) {
            each_in_graph(graph, visit)?;
        }
    }
    Ok(())
}

fn each_in_sparse(sparse: &mut SparseTensorProto, visit: Visit<'_>) -> Result<(), GraphError> {
    for tensor in sparse.values.as_mut().into_iter().chain(sparse.indices.as_mut()) {
        visit(Part::Tensor(tensor))?;
    }
    Ok(())
}

/// Lists every tensor of the model.
pub(crate) fn tensors(model: &ModelProto) -> Vec<&TensorProto> {
    let mut found = Vec::new();
    let trainings = model.training_info.iter();
    let inside = trainings.flat_map(|info| info.initialization.iter().chain(info.algorithm.iter()));
    model.graph.iter().chain(inside).for_each(|graph| add_graph(graph, &mut found));
    for function in &model.functions {
        add_attributes(&function.attribute_proto, &mut found);
        add_nodes(&function.node, &mut found);
    }
    found
}

fn add_graph<'a>(graph: &'a GraphProto, found: &mut Vec<&'a TensorProto>) {
    found.extend(&graph.initializer);
    graph.sparse_initializer.iter().for_each(|sparse| add_sparse(sparse, found));
    add_nodes(&graph.node, found);
}

fn add_nodes<'a>(nodes: &'a [NodeProto], found: &mut Vec<&'a TensorProto>) {
    nodes.iter().for_each(|node| add_attributes(&node.attribute, found));
}

fn add_attributes<'a>(attributes: &'a [AttributeProto], found: &mut Vec<&'a TensorProto>) {
    for attribute in attributes {
        found.extend(attribute.t.iter().chain(&attribute.tensors));
        let sparse = attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors);
        sparse.for_each(|sparse| add_sparse(sparse, found));
        let graphs = attribute.g.iter().chain(&attribute.graphs);
        graphs.for_each(|graph| add_graph(graph, found));
    }
}

fn add_sparse<'a>(sparse: &'a SparseTensorProto, found: &mut Vec<&'a TensorProto>) {
    found.extend(sparse.values.iter().chain(sparse.indices.iter()));
}
