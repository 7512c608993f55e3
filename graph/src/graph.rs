//! A graph: nodes between inputs and outputs, and the initializers that they use.

use std::collections::HashSet;
use std::path::Path;

use onnx_protobuf::GraphProto;

use crate::{GraphError, Node, TensorView, ValueInfo, Weight, weights};

/// The graph of a model, or one inside a node, to be read.
#[derive(Debug, Clone, Copy)]
pub struct Graph<'a> {
    proto: &'a GraphProto,
    folder: Option<&'a Path>,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(proto: &'a GraphProto, folder: Option<&'a Path>) -> Self {
        Self { proto, folder }
    }

    /// The graph's name.
    pub fn name(&self) -> &'a str {
        &self.proto.name
    }

    /// The values that must be given to it. Old models list their initializers among the
    /// inputs: these are not.
    pub fn inputs(&self) -> Vec<ValueInfo> {
        let dense = self.proto.initializer.iter();
        let sparse = self.proto.sparse_initializer.iter().map(|sparse| &*sparse.values);
        let given: HashSet<&str> = dense.chain(sparse).map(|tensor| tensor.name.as_str()).collect();
        let inputs = self.proto.input.iter().filter(|input| !given.contains(input.name.as_str()));
        inputs.map(ValueInfo::from_proto).collect()
    }

    /// The values it gives.
    pub fn outputs(&self) -> Vec<ValueInfo> {
        self.proto.output.iter().map(ValueInfo::from_proto).collect()
    }

    /// Its nodes; in a valid model, each after those whose values it takes.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = Node<'a>> + use<'a> {
        let folder = self.folder;
        self.proto.node.iter().map(move |node| Node::new(node, folder))
    }

    /// Its initializers: the constant tensors that nodes take by name. Sparse ones are not
    /// among them.
    pub fn initializers(&self) -> impl ExactSizeIterator<Item = TensorView<'a>> + use<'a> {
        let folder = self.folder;
        self.proto.initializer.iter().map(move |tensor| TensorView::new(tensor, folder))
    }

    /// The initializer of this name. Of several, the last, as ONNX Runtime takes them.
    pub fn initializer(&self, name: &str) -> Option<TensorView<'a>> {
        let found = self.proto.initializer.iter().rfind(|tensor| tensor.name == name);
        found.map(|tensor| TensorView::new(tensor, self.folder))
    }

    /// The initializers that are the weights and biases of convolutions and of matrix
    /// products, node by node. One that several nodes share comes once for each.
    ///
    /// # Errors
    /// `BadAttribute` when an attribute that says how a weight lies is of a wrong type.
    pub fn weights(&self) -> Result<Vec<Weight<'a>>, GraphError> {
        weights::find(*self)
    }
}
