//! Finds the tensors that are weights, and their layouts.

use crate::{Graph, GraphError, Node, TensorView, constant};
use std::collections::HashMap;

/// Most nodes between a weight and its consumer; real models have up to three.
const THROUGH_MAX: usize = 8;

/// A constant tensor and its role in one node.
#[derive(Debug, Clone)]
pub struct Weight<'a> {
    /// Tensor: an initializer, or the value of a `Constant` node.
    pub tensor: TensorView<'a>,
    /// Consumer: a `Conv`, `ConvTranspose`, `Gemm` or `MatMul`.
    pub node: Node<'a>,
    /// Number of the node's input, from 0.
    pub input: usize,
    /// Nodes between the tensor and the consumer, which only forward it; most often none. They are
    /// `Identity`, `Cast`, `QuantizeLinear`, `DequantizeLinear`, `Transpose`, `Reshape`, `Flatten`,
    /// `Squeeze` and `Unsqueeze`.
    pub through: Vec<Node<'a>>,
    /// Role of the tensor.
    pub role: Role,
    /// Dimension of the tensor that counts the outputs (of a `ConvTranspose`, those of one group).
    ///
    /// `None` for a bias, for a vector, and where the tensor is reshaped on the way to the node.
    pub output_axis: Option<usize>,
}

/// Role of a tensor in a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Matrix or kernels that inputs are multiplied by.
    Weight(Layout),
    /// Vector that is added to the outputs.
    Bias,
}

/// Layout of a weight in memory, before any `Transpose`.
///
/// For a convolution, outputs and inputs are channels, and the kernel's spatial dimensions follow
/// them unless a `Transpose` stands between. A matrix may have batch dimensions before its last
/// two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A row for each output: `Conv`, `Gemm` with `transB`.
    OutputsByInputs,
    /// A row for each input: `MatMul`, `Gemm` without `transB`, `ConvTranspose`.
    InputsByOutputs,
    /// Unknown: the tensor is transposed, then reshaped.
    Unknown,
}

/// Finds the weights of `graph`, in the order of nodes and their inputs.
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

/// Role of a node's input.
#[derive(Clone, Copy)]
enum Operand {
    Weight(Axes),
    Bias,
}

/// Dimensions of a weight that count outputs and inputs: from 0, or from -1 backwards.
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
            // A weight on the left multiplies columns: its rows are outputs, unless transposed.
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

    /// Role and output dimension of a tensor of this rank behind the nodes `through`.
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
    /// Maps the dimensions to those before a `Transpose`, which reverses all unless `perm` is set.
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

/// Constant tensors, and nodes that only forward one.
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

    /// Follows a value back to its tensor; returns the nodes between as well.
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

/// True if the output is the first input, rounded or in another layout.
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
