//! Which initializers are weights, and how they lie.

use std::collections::HashMap;

use crate::{Graph, GraphError, Node, TensorView};

/// An initializer in its role for one node.
#[derive(Debug, Clone, Copy)]
pub struct Weight<'a> {
    /// The initializer.
    pub tensor: TensorView<'a>,
    /// The `Conv`, `Gemm` or `MatMul` that it feeds.
    pub node: Node<'a>,
    /// Which of the node's inputs it is, from 0.
    pub input: usize,
    /// The `Identity`, `Cast` or `DequantizeLinear` between the two, if there is one.
    pub through: Option<Node<'a>>,
    /// What it is to the node.
    pub role: Role,
}

/// What an initializer is to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The matrix or the kernels that inputs are multiplied by.
    Weight(Layout),
    /// What is added to each output.
    Bias,
}

/// Which way a weight lies in memory, rows first. A convolution's outputs and inputs are
/// channels, and the kernel's own dimensions follow them; a matrix may have dimensions of
/// batches before its last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A row for each output: `Conv`, `Gemm` with `transB`.
    OutputsByInputs,
    /// A row for each input: `MatMul`, `Gemm` without `transB`.
    InputsByOutputs,
}

/// The weights of `graph`, in the order of its nodes and their inputs.
pub(crate) fn find(graph: Graph<'_>) -> Result<Vec<Weight<'_>>, GraphError> {
    let sources = Sources::of(graph);
    let mut weights = Vec::new();
    for node in graph.nodes() {
        for (input, name) in node.inputs().iter().enumerate() {
            let Some((tensor, through)) = sources.find(name) else { continue };
            if let Some(role) = role(node, input)? {
                weights.push(Weight { tensor, node, input, through, role });
            }
        }
    }
    Ok(weights)
}

/// What the input of this number is to the node, if it is an initializer.
fn role(node: Node<'_>, input: usize) -> Result<Option<Role>, GraphError> {
    if !node.domain().is_empty() {
        return Ok(None);
    }
    let transposed = |attribute| Ok::<_, GraphError>(node.int(attribute)?.unwrap_or(0) != 0);
    let layout = |outputs_first| {
        Role::Weight(if outputs_first { Layout::OutputsByInputs } else { Layout::InputsByOutputs })
    };
    Ok(match (node.op_type(), input) {
        ("Conv", 1) => Some(layout(true)),
        // A weight on the left multiplies columns: its rows are outputs, unless transposed.
        ("MatMul", 0) => Some(layout(true)),
        ("MatMul", 1) => Some(layout(false)),
        ("Gemm", 0) => Some(layout(!transposed("transA")?)),
        ("Gemm", 1) => Some(layout(transposed("transB")?)),
        ("Conv" | "Gemm", 2) => Some(Role::Bias),
        _ => None,
    })
}

/// The initializers, and the nodes that only pass one on.
struct Sources<'a> {
    initializers: HashMap<&'a str, TensorView<'a>>,
    passed_on: HashMap<&'a str, Node<'a>>,
}

impl<'a> Sources<'a> {
    fn of(graph: Graph<'a>) -> Self {
        let initializers = graph.initializers().map(|tensor| (tensor.name(), tensor)).collect();
        let passed_on = graph
            .nodes()
            .filter(|node| node.domain().is_empty())
            .filter(|node| matches!(node.op_type(), "Identity" | "Cast" | "DequantizeLinear"))
            .filter_map(|node| Some((node.outputs().first()?.as_str(), node)))
            .collect();
        Self { initializers, passed_on }
    }

    /// The initializer that the value of this name is, and the node it comes through.
    fn find(&self, name: &str) -> Option<(TensorView<'a>, Option<Node<'a>>)> {
        if let Some(tensor) = self.initializers.get(name) {
            return Some((*tensor, None));
        }
        let node = self.passed_on.get(name)?;
        let tensor = self.initializers.get(node.inputs().first()?.as_str())?;
        Some((*tensor, Some(*node)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attribute, Dim, ElementType, GraphBuilder, Tensor};

    #[test]
    fn roles_and_layouts_are_found() {
        let mut builder = GraphBuilder::new("weights");
        builder.input("x", ElementType::Float32, &[Dim::Fixed(2), Dim::Fixed(2)]);
        for name in ["gemm.w", "gemm.b", "left", "right"] {
            builder.initializer(name, Tensor::new(&[2, 2], &[0.0_f32; 4]).unwrap());
        }
        builder.initializer("quantized", Tensor::new(&[2, 2], &[0_i8; 4]).unwrap());
        builder.initializer("scale", Tensor::new(&[], &[0.5_f32]).unwrap());
        let transposed = [("transB", Attribute::Int(1))];
        builder
            .node("Gemm", &["x", "gemm.w", "gemm.b"], &["a"], &transposed)
            .node("MatMul", &["left", "a"], &["b"], &[])
            .node("MatMul", &["b", "right"], &["c"], &[])
            .node("DequantizeLinear", &["quantized", "scale"], &["dequantized"], &[])
            .node("Conv", &["c", "dequantized"], &["d"], &[])
            .node("Add", &["d", "left"], &["y"], &[])
            .output("y", ElementType::Float32, &[Dim::Fixed(2), Dim::Fixed(2)]);
        let model = builder.finish().unwrap();
        let weights = model.graph().weights().unwrap();
        let found: Vec<_> = weights
            .iter()
            .map(|weight| (weight.tensor.name(), weight.input, weight.role))
            .collect();
        let by_outputs = Role::Weight(Layout::OutputsByInputs);
        let expected = [
            ("gemm.w", 1, by_outputs),
            ("gemm.b", 2, Role::Bias),
            ("left", 0, by_outputs),
            ("right", 1, Role::Weight(Layout::InputsByOutputs)),
            ("quantized", 1, by_outputs),
        ];
        assert_eq!(found, expected);
        assert_eq!(weights[4].through.unwrap().op_type(), "DequantizeLinear");
        assert!(weights[0].through.is_none());
    }
}
