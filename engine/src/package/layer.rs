//! Finds the layers of a package: nodes with weights, and those among them that can run sparse.

use super::constants::{Broadcast, Constants};
use super::epilogue::{Affine, Epilogue, EpilogueFinder};
use super::operation::{Operation, convolution, product};
use crate::layers::Execution;
use skysail_compression::{Package, PackageError};
use skysail_graph::{ElementType, Graph, GraphError, Node, Role, Weight};
use std::collections::HashSet;

/// Density of weights above which a sparse layer is not tried.
const DENSITY_MAX: f64 = 0.5;

/// Weights of the smallest layer for which sparse execution is tried.
const WEIGHTS_MIN: u64 = 1 << 10;

/// A convolution or product of the graph, identified by its weights.
#[derive(Debug)]
pub(super) struct Layer {
    /// The name of the weights' tensor.
    pub(super) name: String,
    pub(super) operator: String,
    pub(super) shape: Vec<u64>,
    pub(super) density: f64,
    pub(super) kind: LayerKind,
    /// Index of its node in the graph.
    node: usize,
}

/// Choice of executions that a layer has.
#[derive(Debug)]
pub(super) enum LayerKind {
    /// A single execution, for a reason.
    Fixed(Execution, &'static str),
    /// Dense or sparse.
    Candidate(Box<Candidate>),
}

/// A layer that could run sparse.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) operation: Operation,
    /// Name of the value that is multiplied by the weights.
    pub(super) input: String,
    pub(super) epilogue: Epilogue,
}

/// The layers of a graph, in its order. Values of `optional` inputs do not count as constants.
pub(super) fn layers(
    package: &Package,
    graph: Graph<'_>,
    optional: &HashSet<String>,
) -> Result<Vec<Layer>, PackageError> {
    let epilogues = EpilogueFinder {
        links: graph.links(),
        shapes: graph.shapes(),
        constants: Constants { package, graph, optional },
        taken: HashSet::new(),
    };
    let mut finder = Finder { package, epilogues };
    let mut seen = HashSet::new();
    let mut layers = Vec::new();
    for weight in graph.weights()? {
        if weight.role != Role::Bias && seen.insert(weight.tensor.name().to_owned()) {
            layers.push(finder.layer(&weight)?);
        }
    }
    for node in graph.nodes() {
        let quantized = finder.quantized(node)?;
        layers.extend(quantized.filter(|layer| seen.insert(layer.name.clone())));
    }
    layers.sort_by_key(|layer| layer.node);
    Ok(layers)
}

struct Finder<'a> {
    package: &'a Package,
    epilogues: EpilogueFinder<'a>,
}

impl Finder<'_> {
    fn layer(&mut self, weight: &Weight<'_>) -> Result<Layer, PackageError> {
        let name = weight.tensor.name();
        let kind = match self.fixed_execution(weight)? {
            Some((execution, why)) => LayerKind::Fixed(execution, why),
            None => self.candidate(weight)?,
        };
        Ok(Layer {
            name: name.to_owned(),
            operator: weight.node.op_type().to_owned(),
            shape: weight.tensor.shape()?,
            density: self.density(name),
            kind,
            node: weight.node.index(),
        })
    }

    fn density(&self, tensor: &str) -> f64 {
        let entry = self.package.tensors().iter().rfind(|entry| entry.name == tensor);
        entry.map_or(1.0, skysail_compression::TensorEntry::density)
    }

    /// The only execution that the layer's weights allow, if they do not allow both.
    fn fixed_execution(
        &self,
        weight: &Weight<'_>,
    ) -> Result<Option<(Execution, &'static str)>, GraphError> {
        let (name, through) = (weight.tensor.name(), &weight.through);
        let passes_through = |operator: &str| through.iter().any(|node| node.op_type() == operator);
        let dense = |why| Ok(Some((Execution::Dense, why)));
        match weight.tensor.element() {
            ElementType::Int8 | ElementType::UInt8 if passes_through("DequantizeLinear") => {
                return Ok(Some((Execution::Int8, "its weights are integers of 8 bits")));
            }
            ElementType::Float32 => {}
            _ => return dense("its weights are not stored as float32"),
        }
        let is_transposed = |node: &Node<'_>| matches!(node.op_type(), "Identity" | "Transpose");
        if !through.iter().all(is_transposed) {
            return dense("its weights are changed before they are used");
        }
        let mut values = vec![name];
        values.extend(through.iter().filter_map(|node| Some(node.outputs().first()?.as_str())));
        if values.iter().any(|value| self.epilogues.links.single_consumer(value).is_none()) {
            return dense("its weights are used more than once");
        }
        if !self.package.tensors().iter().any(|entry| entry.name == name) {
            return dense("its weights are in the graph");
        }
        if self.epilogues.constants.optional.contains(name) {
            return dense("a request may bring other weights");
        }
        if self.density(name) > DENSITY_MAX {
            return dense("too many of its weights are not zero");
        }
        if weight.tensor.count()? < WEIGHTS_MIN {
            return dense("it has few weights");
        }
        Ok(None)
    }

    fn candidate(&mut self, weight: &Weight<'_>) -> Result<LayerKind, PackageError> {
        let (node, dense) = (weight.node, |why| Ok(LayerKind::Fixed(Execution::Dense, why)));
        let operation = match (node.op_type(), weight.input) {
            ("Conv", 1) if weight.through.is_empty() => convolution(weight)?,
            ("MatMul" | "Gemm", 1) => product(weight)?,
            _ => None,
        };
        let Some(operation) = operation else {
            return dense("there is no sparse form of its operator");
        };
        let Some(affine) = self.own_affine(node, operation)? else {
            return dense("what is added to it is not one number for each output");
        };
        let epilogue = self.epilogues.find(node, operation, affine)?;
        let (Some(input), Some(epilogue)) = (node.inputs().first().cloned(), epilogue) else {
            return dense("it has no input or no output");
        };
        Ok(LayerKind::Candidate(Box::new(Candidate { operation, input, epilogue })))
    }

    /// Scale and bias of the node itself; `None` if the bias is not one number for each output.
    fn own_affine(
        &self,
        node: Node<'_>,
        operation: Operation,
    ) -> Result<Option<Affine>, PackageError> {
        let is_gemm = node.op_type() == "Gemm";
        let factor = |name| Ok::<_, GraphError>(if is_gemm { node.float(name)? } else { None });
        let (alpha, beta) = (factor("alpha")?, factor("beta")?.unwrap_or(1.0));
        let scale = alpha.filter(|alpha| *alpha != 1.0);
        let scale = scale.map(|alpha| vec![alpha; operation.outputs()]);
        let mut affine = Affine { scale, bias: None };
        let Some(name) = node.inputs().get(2).filter(|name| !name.is_empty()) else {
            return Ok(Some(affine));
        };
        let broadcast = Broadcast { after: 0, rank: if is_gemm { 2 } else { 1 } };
        let bias = self.epilogues.constants.per_output(name, operation.outputs(), broadcast)?;
        Ok(bias.map(|mut bias| {
            bias.iter_mut().for_each(|value| *value *= beta);
            affine.bias = Some(bias);
            affine
        }))
    }

    /// The layer of a node whose weights are integers; `None` for other nodes.
    fn quantized(&self, node: Node<'_>) -> Result<Option<Layer>, PackageError> {
        let Some((input, execution, why)) = quantized_weights(node)? else { return Ok(None) };
        let name = node.inputs().get(input);
        let entry =
            name.and_then(|name| self.package.tensors().iter().rfind(|entry| entry.name == *name));
        Ok(entry.map(|entry| Layer {
            name: entry.name.clone(),
            operator: node.op_type().to_owned(),
            shape: entry.shape.clone(),
            density: entry.density(),
            kind: LayerKind::Fixed(execution, why),
            node: node.index(),
        }))
    }
}

/// Index of the input with a quantized node's weights, its execution, and the reason for that.
fn quantized_weights(
    node: Node<'_>,
) -> Result<Option<(usize, Execution, &'static str)>, GraphError> {
    let int8 = |input| Some((input, Execution::Int8, "its weights are integers of 8 bits"));
    Ok(match (node.domain(), node.op_type()) {
        ("", "MatMulInteger" | "ConvInteger") => int8(1),
        ("", "QLinearConv" | "QLinearMatMul") => int8(3),
        ("com.microsoft", "DynamicQuantizeMatMul" | "MatMulIntegerToFloat") => int8(1),
        ("com.microsoft", "QGemm") => int8(3),
        ("com.microsoft", "MatMulNBits") => match node.int("bits")?.unwrap_or(4) {
            8 => int8(1),
            _ => Some((1, Execution::Int4, "its weights are integers of 4 bits")),
        },
        _ => None,
    })
}
