//! Which tensors are weights, and how they lie.

use crate::{Graph, GraphError, Node, TensorView, constant};
use std::collections::HashMap;

/// The most nodes between a weight and the node that it feeds; real models have up to three.
const THROUGH_MAX: usize = 8;

/// A constant tensor in its role for one node.
#[derive(Debug, Clone)]
pub struct Weight<'a> {
    /// The tensor: an initializer, or what a `Constant` node makes.
    pub tensor: TensorView<'a>,
    /// The `Conv`, `ConvTranspose`, `Gemm` or `MatMul` that it feeds.
    pub node: Node<'a>,
    /// Which of the node's inputs it is, from 0.
    pub input: usize,
    /// The nodes between the two, from the tensor on, which only pass it on: `Identity`,
    /// `Cast`, `QuantizeLinear`, `DequantizeLinear`, `Transpose`, `Reshape`, `Flatten`,
    /// `Squeeze`, `Unsqueeze`. Most often none.
    pub through: Vec<Node<'a>>,
    /// What it is to the node.
    pub role: Role,
    /// Which of the tensor's dimensions counts the outputs (of a `ConvTranspose`, those of one
    /// group). `None` for a bias, for a lone row or column, and where that cannot be told since
    /// the tensor is reshaped.
    pub output_axis: Option<usize>,
}

/// What a tensor is to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The matrix or the kernels that inputs are multiplied by.
    Weight(Layout),
    /// What is added to each output.
    Bias,
}

/// Which way a weight lies in memory, whatever turns it afterwards. A convolution's outputs and
/// inputs are channels, and the kernel's own dimensions follow them unless a `Transpose` stands
/// between; a matrix may have dimensions of batches before its last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A row for each output: `Conv`, `Gemm` with `transB`.
    OutputsByInputs,
    /// A row for each input: `MatMul`, `Gemm` without `transB`, `ConvTranspose`.
    InputsByOutputs,
    /// It cannot be told: the tensor is first turned, then reshaped.
    Unknown,
}

/// The weights of `graph`, in the order of its nodes and their inputs.
pub(crate) fn find(graph: Graph<'_>) -> Result<Vec<Weight<'_>>, GraphError> {
    let sources = Sources::of(graph);
    let mut weights = Vec::new();
    for node in graph.nodes().filter(|node| node.domain().is_empty()) {
        for (input, name) in node.inputs().iter().enumerate() {
            let Some(operand) = Operand::of(node, input)? else { continue };
            let Some((tensor, through)) = sources.find(name) else { continue };
            let (role, output_axis) = operand.role(&through, tensor.rank())?;
            weights.push(Weight { tensor, node, input, through, role, output_axis });
        }
    }
    Ok(weights)
}

/// What a node's input is to it.
#[derive(Clone, Copy)]
enum Operand {
    Weight(Axes),
    Bias,
}

/// Which dimensions of a weight count the outputs and the inputs: from 0, or from -1 back.
#[derive(Clone, Copy)]
struct Axes {
    outputs: i64,
    inputs: i64,
}

impl Operand {
    fn of(node: Node<'_>, input: usize) -> Result<Option<Self>, GraphError> {
        let is_transposed = |attribute| Ok::<_, GraphError>(node.int(attribute)?.unwrap_or(0) != 0);
        let weight = |outputs, inputs| Some(Self::Weight(Axes { outputs, inputs }));
        Ok(match (node.op_type(), input) {
            ("Conv", 1) => weight(0, 1),
            ("ConvTranspose", 1) => weight(1, 0),
            // A weight on the left multiplies columns: its rows are outputs, unless turned.
            ("MatMul", 0) => weight(-2, -1),
            ("MatMul", 1) => weight(-1, -2),
            ("Gemm", 0) if is_transposed("transA")? => weight(1, 0),
            ("Gemm", 0) => weight(0, 1),
            ("Gemm", 1) if is_transposed("transB")? => weight(0, 1),
            ("Gemm", 1) => weight(1, 0),
            ("Conv" | "ConvTranspose" | "Gemm", 2) => Some(Self::Bias),
            _ => None,
        })
    }

    /// The role, and the dimension of outputs, of the tensor of this rank that the nodes
    /// `through` pass on.
    fn role(self, through: &[Node<'_>], rank: usize) -> Result<(Role, Option<usize>), GraphError> {
        let Self::Weight(mut axes) = self else { return Ok((Role::Bias, None)) };
        let mut is_reshaped = false;
        for node in through.iter().rev() {
            match node.op_type() {
                "Transpose" if is_reshaped => return Ok((Role::Weight(Layout::Unknown), None)),
                "Transpose" => axes = axes.before(node.ints("perm")?),
                "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => is_reshaped = true,
                _ => {}
            }
        }
        let output_axis = (!is_reshaped && rank >= 2).then(|| from_start(axes.outputs, rank));
        Ok((Role::Weight(axes.layout()), output_axis.flatten()))
    }
}

impl Axes {
    /// The dimensions before a `Transpose`, which turns all around unless `perm` says otherwise.
    fn before(self, perm: Option<&[i64]>) -> Self {
        let before = |axis: i64| match perm {
            None => -1 - axis,
            Some(perm) => {
                let place = from_start(axis, perm.len());
                place.and_then(|place| perm.get(place)).copied().unwrap_or(axis)
            }
        };
        Self { outputs: before(self.outputs), inputs: before(self.inputs) }
    }

    fn layout(self) -> Layout {
        if self.outputs < self.inputs { Layout::OutputsByInputs } else { Layout::InputsByOutputs }
    }
}

fn from_start(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    usize::try_from(axis).ok().filter(|_| axis < rank)
}

/// The constant tensors, and the nodes that only pass one on.
struct Sources<'a> {
    tensors: HashMap<&'a str, TensorView<'a>>,
    forwarding: HashMap<&'a str, Node<'a>>,
}

impl<'a> Sources<'a> {
    fn of(graph: Graph<'a>) -> Self {
        let constants = graph.nodes().filter_map(constant::tensor_of);
        let tensors = constants.chain(graph.initializers());
        let forwarding = graph.nodes().filter(forwards_input);
        Self {
            tensors: tensors.map(|tensor| (tensor.name(), tensor)).collect(),
            forwarding: forwarding
                .filter_map(|node| Some((node.outputs().first()?.as_str(), node)))
                .collect(),
        }
    }

    /// The tensor that the value of this name is, and the nodes that it comes through.
    fn find(&self, mut name: &'a str) -> Option<(TensorView<'a>, Vec<Node<'a>>)> {
        let mut through = Vec::new();
        while through.len() <= THROUGH_MAX {
            if let Some(tensor) = self.tensors.get(name) {
                through.reverse();
                return Some((*tensor, through));
            }
            let node = self.forwarding.get(name)?;
            through.push(*node);
            name = node.inputs().first()?;
        }
        None
    }
}

/// Whether what the node makes is its first input, rounded or laid out in another way.
fn forwards_input(node: &Node<'_>) -> bool {
    let operators = [
        "Identity",
        "Cast",
        "QuantizeLinear",
        "DequantizeLinear",
        "Transpose",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
    ];
    node.domain().is_empty() && operators.contains(&node.op_type())
}

#[cfg(test)]
mod tests;
