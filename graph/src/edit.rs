//! Changing the nodes of a model.
//!
//! Changes are collected first, while the model is read, and made at once by [`Model::apply`].
//! So code can walk over the nodes and decide, names stay those that it reads, and a change
//! that does not hold together changes nothing.

use crate::{GraphError, Model, NewNode, Node, Tensor, scope};
use onnx_protobuf::GraphProto;
use std::collections::{HashMap, HashSet};

mod apply;
mod unused;
mod wiring;

/// Changes of a model's graph, to be made by [`Model::apply`].
///
/// New nodes have no place: each is put before the first that takes what it makes. Names
/// inside a change are those of the model as it is.
///
/// ```
/// use half::f16;
/// use skysail_graph::{Attribute, ElementType, NewNode, Tensor, mlp};
///
/// # fn main() -> Result<(), skysail_graph::GraphError> {
/// let mut model = mlp(&[4, 3, 2], 7)?;
/// let mut edit = model.edit();
/// // A layer and the activation that it alone feeds become one node.
/// let links = model.graph().links();
/// for gemm in model.graph().nodes().filter(|node| node.op_type() == "Gemm") {
///     if let Some(relu) = links.single_consumer(&gemm.outputs()[0]) {
///         let fused = NewNode::copy_of(gemm).domain("example").output(0, &relu.outputs()[0]);
///         edit.replace(gemm, [fused]).remove(relu);
///     }
/// }
/// // Weights are stored in half precision, and widened before anyone takes them.
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
    /// Every name of a value, those of the graphs inside nodes included.
    names: HashSet<String>,
    /// The nodes to take out: their places, and what they made, to know them again.
    removed: HashMap<usize, Vec<String>>,
    added: Vec<NewNode>,
    /// In the order in which they were asked for.
    rewires: Vec<Rewire>,
    initializers: Vec<(String, Option<Tensor>)>,
    opsets: Vec<(String, i64)>,
}

/// A change of what is taken from where.
#[derive(Debug, Clone)]
enum Rewire {
    /// Nodes go between `value` and those who take it: from `from` to `to`.
    Cut { value: String, from: String, to: String },
    /// Those who take `old` take `new`.
    Redirect { old: String, new: String },
}

impl Edit {
    /// No change yet of `graph`.
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

    /// A name that no value has, and that is not given again: `base`, with a number where that
    /// is in use.
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

    /// Takes a node of the model's graph out. Other nodes must make what it made and is still
    /// taken, or [`redirect`](Self::redirect) says what is taken instead.
    pub fn remove(&mut self, node: Node<'_>) -> &mut Self {
        self.removed.insert(node.index(), node.outputs().to_vec());
        self
    }

    /// Puts nodes in the place of one. What the model says of its values stays said, so values
    /// of the same names must be of the same kinds.
    pub fn replace(&mut self, old: Node<'_>, new: impl IntoIterator<Item = NewNode>) -> &mut Self {
        self.remove(old);
        for node in new {
            self.add(node);
        }
        self
    }

    /// Makes room between a value and all who take it, the graph's outputs and the graphs
    /// inside nodes included: add nodes that lead from the first name to the second. Nodes of
    /// a second cut of the same value come after those of the first where a node makes the
    /// value, else before them.
    pub fn cut(&mut self, value: &str) -> (String, String) {
        let from = self.fresh(&format!("{value}_before"));
        let to = self.fresh(&format!("{value}_after"));
        let cut = Rewire::Cut { value: value.to_owned(), from: from.clone(), to: to.clone() };
        self.rewires.push(cut);
        (from, to)
    }

    /// Lets all who take the value `old` take `new`. Where `old` is an output of the graph,
    /// `new` gets its name: the node that made `old` must be taken out.
    pub fn redirect(&mut self, old: &str, new: &str) -> &mut Self {
        self.rewires.push(Rewire::Redirect { old: old.to_owned(), new: new.to_owned() });
        self
    }

    /// As [`Model::set_initializer`].
    pub fn set_initializer(&mut self, name: &str, tensor: Tensor) -> &mut Self {
        self.names.insert(name.to_owned());
        self.initializers.push((name.to_owned(), Some(tensor)));
        self
    }

    /// Takes an initializer out, with its place among the inputs that old models give it.
    pub fn remove_initializer(&mut self, name: &str) -> &mut Self {
        self.initializers.push((name.to_owned(), None));
        self
    }

    /// Lets the model use the operators of `domain` in this version, or the later one that it
    /// uses already.
    pub fn import(&mut self, domain: &str, version: i64) -> &mut Self {
        let domain = if domain == "ai.onnx" { "" } else { domain };
        self.opsets.push((domain.to_owned(), version));
        self
    }
}

impl Model {
    /// Starts to collect changes of the graph.
    pub fn edit(&self) -> Edit {
        Edit::of(self.graph().proto())
    }

    /// Makes the changes, all or none of them. The nodes are then in an order in which each
    /// comes after those whose values it takes.
    ///
    /// # Errors
    /// `BadGraph` when the changed graph would not hold together: a value that nothing makes
    /// is taken, two values have one name, nodes take their own values in a circle, a node to
    /// be taken out is not of this graph, or an earlier version of a domain's operators is in
    /// use.
    pub fn apply(&mut self, edit: Edit) -> Result<(), GraphError> {
        apply::apply(self, edit)
    }

    /// Takes out what no output of the graph depends on: nodes, and initializers with their
    /// places among the inputs. Gives the names of the initializers. Nodes that make nothing
    /// stay, and what training uses.
    pub fn drop_unused(&mut self) -> Vec<String> {
        unused::drop_unused(self.proto_mut())
    }
}

#[cfg(test)]
mod tests;
