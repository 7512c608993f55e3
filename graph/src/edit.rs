//! Changes of a model's nodes.
//!
//! Changes are collected while the model is read, and applied at once by [`Model::apply`]. So code
//! can walk over the nodes and decide, names stay valid meanwhile, and an invalid change alters
//! nothing.

use crate::{GraphError, Model, NewNode, Node, Tensor, scope};
use onnx_protobuf::GraphProto;
use std::collections::{HashMap, HashSet};

mod apply;
mod unused;
mod wiring;

/// Collected changes of a model's graph, for [`Model::apply`].
///
/// New nodes have no position: each is placed before its first consumer. Names in a change are
/// those of the unchanged model.
///
/// ```
/// use half::f16;
/// use skysail_graph::{Attribute, ElementType, NewNode, Tensor, mlp};
///
/// # fn main() -> Result<(), skysail_graph::GraphError> {
/// let mut model = mlp(&[4, 3, 2], 7)?;
/// let mut edit = model.edit();
/// // A layer and the activation that only it feeds become one node.
/// let links = model.graph().links();
/// for gemm in model.graph().nodes().filter(|node| node.op_type() == "Gemm") {
///     if let Some(relu) = links.single_consumer(&gemm.outputs()[0]) {
///         let fused = NewNode::copy_of(gemm).domain("example").output(0, &relu.outputs()[0]);
///         edit.replace(gemm, [fused]).remove(relu);
///     }
/// }
/// // Weights are stored in half precision, and widened before use.
/// let weights = model.graph().weights()?.into_iter().map(|weight| weight.tensor);
/// for weight in weights.filter(|tensor| tensor.rank() == 2) {
///     let halves: Vec<f16> = weight.as_f32()?.iter().copied().map(f16::from_f32).collect();
///     let (stored, widened) = edit.cut(weight.name());
///     let to = Attribute::Int(ElementType::Float32.code().into());
///     edit.set_initializer(weight.name(), Tensor::new(&weight.shape()?, &halves)?)
///         .add(NewNode::new("Cast", &[&stored], &[&widened]).attribute("to", to));
/// }
/// edit.import("example", 1);
/// model.apply(edit)?;
/// let operators: Vec<_> = model.graph().nodes().map(|node| node.op_type()).collect();
/// assert_eq!(operators, ["Cast", "Gemm", "Cast", "Gemm"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Edit {
    /// Names of all values, those inside subgraphs included.
    names: HashSet<String>,
    /// Nodes to remove: their indices, and their outputs to identify them.
    removed: HashMap<usize, Vec<String>>,
    added: Vec<NewNode>,
    /// In the order of the calls.
    rewires: Vec<Rewire>,
    initializers: Vec<(String, Option<Tensor>)>,
    opsets: Vec<(String, i64)>,
}

/// A change of the connections between nodes.
#[derive(Debug, Clone)]
enum Rewire {
    /// Nodes are inserted between `value` and its consumers: from `from` to `to`.
    Cut { value: String, from: String, to: String },
    /// Consumers of `old` use `new`.
    Redirect { old: String, new: String },
}

impl Edit {
    /// Makes an empty set of changes of `graph`.
    fn of(graph: &GraphProto) -> Self {
        let mut names = HashSet::from([String::new()]);
        scope::add_names(graph, &mut names);
        Self {
            names,
            removed: HashMap::new(),
            added: Vec::new(),
            rewires: Vec::new(),
            initializers: Vec::new(),
            opsets: Vec::new(),
        }
    }

    /// Makes a unique name: `base`, with a number if it is in use.
    pub fn fresh(&mut self, base: &str) -> String {
        let mut name = base.to_owned();
        let mut number = 0_u64;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{base}_{number}");
        }
        name
    }

    /// Adds a node.
    pub fn add(&mut self, node: NewNode) -> &mut Self {
        self.names.extend(node.outputs().iter().cloned());
        self.added.push(node);
        self
    }

    /// Removes a node of the model's graph.
    ///
    /// Other nodes must produce its outputs that are still in use, or [`redirect`](Self::redirect)
    /// replaces these.
    pub fn remove(&mut self, node: Node<'_>) -> &mut Self {
        self.removed.insert(node.index(), node.outputs().to_vec());
        self
    }

    /// Replaces a node by others. Declared types of values stay, so values of the same names must
    /// keep their kinds.
    pub fn replace(&mut self, old: Node<'_>, new: impl IntoIterator<Item = NewNode>) -> &mut Self {
        self.remove(old);
        for node in new {
            self.add(node);
        }
        self
    }

    /// Opens a gap between a value and its consumers, including the graph's outputs and subgraphs.
    ///
    /// The caller adds nodes that lead from the first name to the second. A second cut of the same
    /// value comes after the first if a node produces the value, else before it.
    pub fn cut(&mut self, value: &str) -> (String, String) {
        let from = self.fresh(&format!("{value}_before"));
        let to = self.fresh(&format!("{value}_after"));
        let cut = Rewire::Cut { value: value.to_owned(), from: from.clone(), to: to.clone() };
        self.rewires.push(cut);
        (from, to)
    }

    /// Makes all consumers of `old` use `new`.
    ///
    /// If `old` is an output of the graph, `new` gets its name, and the producer of `old` must be
    /// removed.
    pub fn redirect(&mut self, old: &str, new: &str) -> &mut Self {
        self.rewires.push(Rewire::Redirect { old: old.to_owned(), new: new.to_owned() });
        self
    }

    /// Sets an initializer as [`Model::set_initializer`] does.
    pub fn set_initializer(&mut self, name: &str, tensor: Tensor) -> &mut Self {
        self.names.insert(name.to_owned());
        self.initializers.push((name.to_owned(), Some(tensor)));
        self
    }

    /// Removes an initializer, and the input of its name in old models.
    pub fn remove_initializer(&mut self, name: &str) -> &mut Self {
        self.initializers.push((name.to_owned(), None));
        self
    }

    /// Imports the operators of `domain` in this version, unless the model has a later one.
    pub fn import(&mut self, domain: &str, version: i64) -> &mut Self {
        let domain = if domain == "ai.onnx" { "" } else { domain };
        self.opsets.push((domain.to_owned(), version));
        self
    }
}

impl Model {
    /// Starts a set of changes.
    pub fn edit(&self) -> Edit {
        Edit::of(self.graph().proto())
    }

    /// Applies all changes, or none. The nodes are then sorted: each comes after the producers of
    /// its inputs.
    ///
    /// # Errors
    /// `BadGraph` when the changed graph would be invalid. A value without a producer is used, two
    /// values share a name, or nodes form a cycle. Or a removed node is not of this graph, or the
    /// model uses an earlier version of a domain's operators.
    pub fn apply(&mut self, edit: Edit) -> Result<(), GraphError> {
        apply::apply(self, edit)
    }

    /// Removes nodes and initializers that no output depends on; returns the names of the
    /// initializers.
    ///
    /// Nodes without outputs stay, and all that training uses.
    pub fn drop_unused(&mut self) -> Vec<String> {
        unused::drop_unused(self.proto_mut())
    }
}

#[cfg(test)]
mod tests;
