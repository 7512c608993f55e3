//! Builds models of one layer, dense and sparse, to measure their run time.

use super::kernel::Kernel;
use super::operation::{Operation, Product};
use crate::session::lock_operator_registration;
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, GraphError, NewNode, Tensor};
use skysail_kernels::{
    Convolution, DOMAIN, DOMAIN_VERSION, KernelError, OperatorWeights, Probe, operators,
};

/// Weights of the largest dense product that is measured. For a larger one, a part of the outputs
/// is measured.
const WEIGHTS_MAX: usize = 4 << 20;

/// Name of the weights in both forms.
const WEIGHT: &str = "w";

/// Value of all weights of dense layers, whose run time does not depend on it.
const VALUE: f32 = 0.01;

/// A builder of sessions with one thread.
pub(super) fn builder(environment: &Environment) -> ort::Result<SessionBuilder> {
    Ok(Session::builder(environment)?.with_independent_thread_pool()?.with_intra_threads(1)?)
}

/// A dense layer, and the factor by which the whole layer takes longer.
pub(super) fn dense(
    environment: &Environment,
    operation: Operation,
    x: &[usize],
) -> Result<(Probe, f64), KernelError> {
    let (model, factor) = match operation {
        Operation::Product(Product { outputs, inputs, .. }) => {
            let part = outputs.min((WEIGHTS_MAX / inputs.max(1)).max(1));
            (dense_product(x.len(), inputs, part)?, outputs as f64 / part as f64)
        }
        Operation::Convolution { outputs, rank, convolution } => {
            (dense_convolution(outputs, rank, convolution, x)?, 1.0)
        }
    };
    Ok((Probe::new(builder(environment)?, &model, x)?, factor))
}

/// A sparse layer.
pub(super) fn sparse(
    environment: &Environment,
    kernel: &Kernel,
    x: &[usize],
) -> Result<Probe, KernelError> {
    let mut weights = OperatorWeights::default();
    let operator = kernel.register(WEIGHT, &mut weights);
    let node = NewNode::new(operator, &["x"], &["y"]).domain(DOMAIN);
    let node = node.attribute("weight", Attribute::Text(WEIGHT.into()));
    let mut graph = GraphBuilder::new("sparse");
    graph.import(DOMAIN, DOMAIN_VERSION).input("x", ElementType::Float32, &dims(x)).add(node);
    let model = finish(graph, x.len())?;
    let builder = builder(environment)?.with_operators(operators(&weights)?);
    let _guard = lock_operator_registration();
    Probe::new(builder.map_err(ort::Error::from)?, &model, x)
}

/// A `MatMul` of any number of rows; its input has `rank` dimensions.
pub(super) fn dense_product(
    rank: usize,
    inputs: usize,
    outputs: usize,
) -> Result<Vec<u8>, KernelError> {
    let mut x = vec![Dim::Unknown; rank.saturating_sub(1)];
    x.push(Dim::from(inputs as u64));
    let mut graph = GraphBuilder::new("product");
    graph
        .input("x", ElementType::Float32, &x)
        .initializer(WEIGHT, constant(&[inputs as u64, outputs as u64])?)
        .node("MatMul", &["x", WEIGHT], &["y"], &[]);
    finish(graph, rank)
}

fn dense_convolution(
    outputs: usize,
    rank: usize,
    convolution: Convolution,
    x: &[usize],
) -> Result<Vec<u8>, KernelError> {
    let Convolution { channels, groups, kernel, strides, dilations, pads } = convolution;
    let skip = 2 - rank;
    let mut shape = vec![outputs as u64, (channels / groups) as u64];
    shape.extend(kernel[skip..].iter().map(|size| *size as u64));
    let ints = |sizes: &[usize]| {
        Attribute::Ints(sizes.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect())
    };
    let pads = [&pads[skip..2], &pads[2 + skip..]].concat();
    let attributes = [
        ("group", Attribute::Int(i64::try_from(groups).unwrap_or(i64::MAX))),
        ("strides", ints(&strides[skip..])),
        ("dilations", ints(&dilations[skip..])),
        ("pads", ints(&pads)),
    ];
    let mut graph = GraphBuilder::new("convolution");
    graph.input("x", ElementType::Float32, &dims(x)).initializer(WEIGHT, constant(&shape)?).node(
        "Conv",
        &["x", WEIGHT],
        &["y"],
        &attributes,
    );
    finish(graph, x.len())
}

fn constant(shape: &[u64]) -> Result<Tensor, KernelError> {
    let count = shape.iter().product::<u64>();
    Tensor::new(shape, &vec![VALUE; count as usize]).map_err(|error| build_error(&error))
}

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|size| Dim::Fixed(*size as u64)).collect()
}

fn finish(mut graph: GraphBuilder, rank: usize) -> Result<Vec<u8>, KernelError> {
    graph.output("y", ElementType::Float32, &vec![Dim::Unknown; rank]);
    graph.finish().and_then(|model| model.to_bytes()).map_err(|error| build_error(&error))
}

fn build_error(error: &GraphError) -> KernelError {
    KernelError::Runtime(ort::Error::new(format!("a layer can not be measured: {error}")))
}
