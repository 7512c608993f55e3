//! The layers of a package: which nodes have weights, and which could work without the zeros.

use super::constants::{Constants, Spread};
use super::tail::{Affine, Tail, Tails};
use crate::layers::Execution;
use skysail_compression::{Package, PackageError};
use skysail_graph::{ElementType, Graph, GraphError, Layout, Node, Role, Weight};
use skysail_kernels::Convolution;
use std::collections::HashSet;

/// A larger part of weights that are not zero is not worth a try.
const DENSITY_MAX: f64 = 0.5;

/// Fewer weights are multiplied in no time in any form.
const WEIGHTS_MIN: u64 = 1 << 10;

/// A convolution or a product of the graph, by its weights.
#[derive(Debug)]
pub(super) struct Layer {
    /// The name of the weights' tensor.
    pub(super) name: String,
    pub(super) operator: String,
    pub(super) shape: Vec<u64>,
    pub(super) density: f64,
    pub(super) kind: Kind,
    /// Its node's place in the graph.
    place: usize,
}

/// What a layer can be.
#[derive(Debug)]
pub(super) enum Kind {
    /// This and nothing else, for a reason.
    Only(Execution, &'static str),
    /// Dense or sparse.
    Either(Box<Candidate>),
}

/// A layer that could run sparse.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) operation: Operation,
    /// The name of what is multiplied.
    pub(super) input: String,
    pub(super) tail: Tail,
}

/// What a sparse layer computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operation {
    Product(Product),
    /// Of images (`rank` 2) or sequences (1).
    Convolution {
        outputs: usize,
        rank: usize,
        convolution: Convolution,
    },
}

/// `y = x W`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Product {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// Whether the weights have a row for each input rather than for each output.
    pub(super) by_inputs: bool,
}

/// The layers of a graph, in its order. No layer changes into one that takes the values of
/// `optional` inputs for constants.
pub(super) fn layers(
    package: &Package,
    graph: Graph<'_>,
    optional: &HashSet<String>,
) -> Result<Vec<Layer>, PackageError> {
    let tails = Tails {
        links: graph.links(),
        shapes: graph.shapes(),
        constants: Constants { package, graph, optional },
        taken: HashSet::new(),
    };
    let mut finder = Finder { package, tails };
    let mut seen = HashSet::new();
    let mut layers = Vec::new();
    for weight in graph.weights()? {
        if weight.role != Role::Bias && seen.insert(weight.tensor.name().to_owned()) {
            layers.push(finder.layer(&weight)?);
        }
    }
    for node in graph.nodes() {
        let of_integers = finder.of_integers(node)?;
        layers.extend(of_integers.filter(|layer| seen.insert(layer.name.clone())));
    }
    layers.sort_by_key(|layer| layer.place);
    Ok(layers)
}

struct Finder<'a> {
    package: &'a Package,
    tails: Tails<'a>,
}

impl Finder<'_> {
    fn layer(&mut self, weight: &Weight<'_>) -> Result<Layer, PackageError> {
        let name = weight.tensor.name();
        let kind = match self.only(weight)? {
            Some((execution, why)) => Kind::Only(execution, why),
            None => self.candidate(weight)?,
        };
        Ok(Layer {
            name: name.to_owned(),
            operator: weight.node.op_type().to_owned(),
            shape: weight.tensor.shape()?,
            density: self.density(name),
            kind,
            place: weight.node.index(),
        })
    }

    fn density(&self, tensor: &str) -> f64 {
        let entry = self.package.tensors().iter().rfind(|entry| entry.name == tensor);
        entry.map_or(1.0, skysail_compression::TensorEntry::density)
    }

    /// What the layer is whatever its operator, if that is clear from how its weights lie.
    fn only(&self, weight: &Weight<'_>) -> Result<Option<(Execution, &'static str)>, GraphError> {
        let (name, through) = (weight.tensor.name(), &weight.through);
        let comes_by = |operator: &str| through.iter().any(|node| node.op_type() == operator);
        let dense = |why| Ok(Some((Execution::Dense, why)));
        match weight.tensor.element() {
            ElementType::Int8 | ElementType::UInt8 if comes_by("DequantizeLinear") => {
                return Ok(Some((Execution::Int8, "its weights are integers of 8 bits")));
            }
            ElementType::Float32 => {}
            _ => return dense("its weights are not stored as float32"),
        }
        let only_turned = |node: &Node<'_>| matches!(node.op_type(), "Identity" | "Transpose");
        if !through.iter().all(only_turned) {
            return dense("its weights are changed on their way");
        }
        let mut values = vec![name];
        values.extend(through.iter().filter_map(|node| Some(node.outputs().first()?.as_str())));
        if values.iter().any(|value| self.tails.links.single_consumer(value).is_none()) {
            return dense("its weights are taken more than once");
        }
        if !self.package.tensors().iter().any(|entry| entry.name == name) {
            return dense("its weights are in the graph");
        }
        if self.tails.constants.optional.contains(name) {
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

    fn candidate(&mut self, weight: &Weight<'_>) -> Result<Kind, PackageError> {
        let (node, dense) = (weight.node, |why| Ok(Kind::Only(Execution::Dense, why)));
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
        let tail = self.tails.find(node, operation, affine)?;
        let (Some(input), Some(tail)) = (node.inputs().first().cloned(), tail) else {
            return dense("it takes or makes nothing");
        };
        Ok(Kind::Either(Box::new(Candidate { operation, input, tail })))
    }

    /// What the node itself multiplies and adds. `None` when that is not one number an output.
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
        let spread = Spread { behind: 0, rank: if is_gemm { 2 } else { 1 } };
        let bias = self.tails.constants.one_for_each(name, operation.outputs(), spread)?;
        Ok(bias.map(|mut bias| {
            bias.iter_mut().for_each(|value| *value *= beta);
            affine.bias = Some(bias);
            affine
        }))
    }

    /// The layer of a node whose weights are integers, if it is such a node.
    fn of_integers(&self, node: Node<'_>) -> Result<Option<Layer>, PackageError> {
        let Some((input, execution, why)) = integers(node)? else { return Ok(None) };
        let name = node.inputs().get(input);
        let entry =
            name.and_then(|name| self.package.tensors().iter().rfind(|entry| entry.name == *name));
        Ok(entry.map(|entry| Layer {
            name: entry.name.clone(),
            operator: node.op_type().to_owned(),
            shape: entry.shape.clone(),
            density: entry.density(),
            kind: Kind::Only(execution, why),
            place: node.index(),
        }))
    }
}

impl Operation {
    /// Channels, or numbers of a row, that come out.
    pub(super) fn outputs(&self) -> usize {
        match self {
            Self::Product(product) => product.outputs,
            Self::Convolution { outputs, .. } => *outputs,
        }
    }

    /// Weights of each output.
    pub(super) fn inputs(&self) -> usize {
        match self {
            Self::Product(product) => product.inputs,
            Self::Convolution {
                convolution: Convolution { channels, groups, kernel, .. }, ..
            } => channels / groups * kernel[0] * kernel[1],
        }
    }
}

/// Which input of a node of integers has the weights, and what it runs as.
fn integers(node: Node<'_>) -> Result<Option<(usize, Execution, &'static str)>, GraphError> {
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

fn product(weight: &Weight<'_>) -> Result<Option<Operation>, GraphError> {
    let node = weight.node;
    let shape = sizes(&weight.tensor.shape()?);
    let (Some([first, last]), Role::Weight(layout)) = (shape.as_deref(), weight.role) else {
        return Ok(None);
    };
    let (outputs, inputs, by_inputs) = match layout {
        Layout::OutputsByInputs => (*first, *last, false),
        Layout::InputsByOutputs => (*last, *first, true),
        Layout::Unknown => return Ok(None),
    };
    if node.op_type() == "Gemm" && node.int("transA")?.unwrap_or(0) != 0 {
        return Ok(None);
    }
    Ok(Some(Operation::Product(Product { outputs, inputs, by_inputs })))
}

/// A convolution of one or two dimensions whose pads do not depend on its input.
fn convolution(weight: &Weight<'_>) -> Result<Option<Operation>, GraphError> {
    let node = weight.node;
    let pads_follow = matches!(node.text("auto_pad")?, None | Some("" | "NOTSET" | "VALID"));
    let shape = sizes(&weight.tensor.shape()?);
    let Some([outputs, channels_of_group, kernel @ ..]) = shape.as_deref() else {
        return Ok(None);
    };
    let rank = kernel.len();
    if !pads_follow || !(1..=2).contains(&rank) {
        return Ok(None);
    }
    let attribute = |name: &str, count: usize, default: usize| -> Result<_, GraphError> {
        let Some(values) = node.ints(name)? else { return Ok(Some(vec![default; count])) };
        let values: Option<Vec<_>> = values.iter().map(|v| usize::try_from(*v).ok()).collect();
        Ok(values.filter(|values| values.len() == count))
    };
    let groups = node.int("group")?.map_or(Some(1), |groups| usize::try_from(groups).ok());
    let (Some(groups), Some(strides), Some(dilations), Some(pads)) = (
        groups,
        attribute("strides", rank, 1)?,
        attribute("dilations", rank, 1)?,
        attribute("pads", 2 * rank, 0)?,
    ) else {
        return Ok(None);
    };
    let Some(channels) = channels_of_group.checked_mul(groups) else { return Ok(None) };
    // A convolution of one dimension has one row in everything.
    let two = |sizes: &[usize]| if rank == 1 { [1, sizes[0]] } else { [sizes[0], sizes[1]] };
    let pads =
        if rank == 1 { [0, pads[0], 0, pads[1]] } else { [pads[0], pads[1], pads[2], pads[3]] };
    let convolution = Convolution {
        channels,
        groups,
        kernel: two(kernel),
        strides: two(&strides),
        dilations: two(&dilations),
        pads,
    };
    Ok(Some(Operation::Convolution { outputs: *outputs, rank, convolution }))
}

fn sizes(shape: &[u64]) -> Option<Vec<usize>> {
    shape.iter().map(|size| usize::try_from(*size).ok()).collect()
}
