//! A graph: nodes between inputs and outputs, and the initializers that they use.

use crate::{GraphError, Links, Node, Shapes, TensorView, ValueInfo, Weight, constant, weights};
use onnx_protobuf::GraphProto;
use std::collections::HashSet;
use std::path::Path;

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

    pub(crate) fn proto(self) -> &'a GraphProto {
        self.proto
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
        let nodes = self.proto.node.iter().enumerate();
        nodes.map(move |(index, node)| Node::new(node, folder, index))
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

    /// The constant tensor of this name: an initializer, or what a `Constant` node makes.
    pub fn constant(&self, name: &str) -> Option<TensorView<'a>> {
        let made = || self.nodes().filter_map(constant::tensor_of).find(|made| made.name() == name);
        self.initializer(name).or_else(made)
    }

    /// Which node makes each value, and which take it.
    pub fn links(&self) -> Links<'a> {
        Links::of(*self)
    }

    /// What each value is: its element type and its dimensions, as far as they follow from
    /// those of the inputs and initializers. Operators that this version does not know leave
    /// theirs open, and so do dimensions that depend on values.
    pub fn shapes(&self) -> Shapes {
        Shapes::of(*self, &[])
    }

    /// As [`shapes`](Self::shapes), with inputs of these dimensions: a symbol among those that
    /// the model declares is then that size throughout.
    pub fn shapes_for(&self, inputs: &[(&str, &[u64])]) -> Shapes {
        Shapes::of(*self, inputs)
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
