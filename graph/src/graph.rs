//! A graph: nodes between inputs and outputs, and their initializers.

use crate::{GraphError, Links, Node, Shapes, TensorView, ValueInfo, Weight, constant, weights};
use onnx_protobuf::GraphProto;
use std::collections::HashSet;
use std::path::Path;

/// Read-only view of a model's graph, or of a graph inside a node.
#[derive(Debug, Clone, Copy)]
pub struct Graph<'a> {
    proto: &'a GraphProto,
    folder: Option<&'a Path>,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(proto: &'a GraphProto, folder: Option<&'a Path>) -> Self {
        Self { proto, folder }
    }

    pub(crate) fn proto(self) -> &'a GraphProto {
        self.proto
    }

    /// Name of the graph.
    pub fn name(&self) -> &'a str {
        &self.proto.name
    }

    /// Inputs that a caller must pass. Initializers, which old models list among the inputs, are
    /// left out.
    pub fn inputs(&self) -> Vec<ValueInfo> {
        let dense = self.proto.initializer.iter();
        let sparse = self.proto.sparse_initializer.iter().map(|sparse| &*sparse.values);
        let given: HashSet<&str> = dense.chain(sparse).map(|tensor| tensor.name.as_str()).collect();
        let inputs = self.proto.input.iter().filter(|input| !given.contains(input.name.as_str()));
        inputs.map(ValueInfo::from_proto).collect()
    }

    /// Outputs of the graph.
    pub fn outputs(&self) -> Vec<ValueInfo> {
        self.proto.output.iter().map(ValueInfo::from_proto).collect()
    }

    /// Nodes of the graph; in a valid model each comes after the producers of its inputs.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = Node<'a>> + use<'a> {
        let folder = self.folder;
        let nodes = self.proto.node.iter().enumerate();
        nodes.map(move |(index, node)| Node::new(node, folder, index))
    }

    /// Initializers: constant tensors that nodes use by name, without sparse ones.
    pub fn initializers(&self) -> impl ExactSizeIterator<Item = TensorView<'a>> + use<'a> {
        let folder = self.folder;
        self.proto.initializer.iter().map(move |tensor| TensorView::new(tensor, folder))
    }

    /// Finds an initializer by name. The last of several counts, as in ONNX Runtime.
    pub fn initializer(&self, name: &str) -> Option<TensorView<'a>> {
        let found = self.proto.initializer.iter().rfind(|tensor| tensor.name == name);
        found.map(|tensor| TensorView::new(tensor, self.folder))
    }

    /// Finds a constant tensor by name: an initializer, or the value of a `Constant` node.
    pub fn constant(&self, name: &str) -> Option<TensorView<'a>> {
        let made = || self.nodes().filter_map(constant::tensor_of).find(|made| made.name() == name);
        self.initializer(name).or_else(made)
    }

    /// Index of the producers and consumers of all values.
    pub fn links(&self) -> Links<'a> {
        Links::of(*self)
    }

    /// Infers the element type and the dimensions of each value from those of inputs and
    /// initializers.
    ///
    /// Unknown operators and dimensions that depend on data leave the result unknown.
    pub fn shapes(&self) -> Shapes {
        Shapes::of(*self, &[])
    }

    /// Infers shapes as [`shapes`](Self::shapes) does, with inputs of these dimensions. A symbol
    /// that the model declares for such a dimension is bound to the size.
    pub fn shapes_for(&self, inputs: &[(&str, &[u64])]) -> Shapes {
        Shapes::of(*self, inputs)
    }

    /// Finds the weights and biases of convolutions and matrix products, node by node. A shared
    /// initializer comes once for each node.
    ///
    /// # Errors
    /// `BadAttribute` when an attribute that decides about a layout has a wrong type.
    pub fn weights(&self) -> Result<Vec<Weight<'a>>, GraphError> {
        weights::find(*self)
    }
}
