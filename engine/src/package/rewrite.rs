//! Replaces layers by custom operators.

use super::PrepareError;
use super::kernel::Kernel;
use super::layer::Candidate;
use skysail_compression::{Int8Operator, fuse_int8};
use skysail_graph::{Attribute, GraphError, Model, NewNode, Tensor};
use skysail_kernels::{
    Activation, DOMAIN, DOMAIN_VERSION, INT8_MATMUL, Int8Matrix, OperatorWeights,
};
use std::sync::Arc;

/// A layer that runs sparse.
pub(super) struct SparseLayer<'a> {
    /// Name of its weights.
    pub(super) name: &'a str,
    pub(super) layer: &'a Candidate,
    pub(super) kernel: &'a Kernel,
}

/// Replaces the nodes of these layers, and drops unused values such as their dense weights. Returns
/// the weights of the operators.
pub(super) fn rewrite(
    model: &mut Model,
    layers: &[SparseLayer<'_>],
) -> Result<OperatorWeights, GraphError> {
    let mut weights = OperatorWeights::default();
    let mut edit = model.edit();
    let links = model.graph().links();
    for SparseLayer { name, layer, kernel } in layers {
        let epilogue = &layer.epilogue;
        let operator = kernel.register(name, &mut weights);
        let mut bias_name = String::new();
        if let Some(bias) = &epilogue.affine.bias {
            bias_name = edit.fresh(&format!("{name}_bias"));
            edit.set_initializer(&bias_name, Tensor::new(&[bias.len() as u64], bias)?);
        }
        for node in epilogue.outputs.iter().filter_map(|output| links.producer(output)) {
            edit.remove(node);
        }
        let output = epilogue.outputs.last().map_or("", String::as_str);
        let mut node = NewNode::new(operator, &[&layer.input], &[output]).domain(DOMAIN);
        if !bias_name.is_empty() {
            node = node.input(1, &bias_name);
        }
        if let Some(residual) = &epilogue.residual {
            node = node.input(2, residual);
        }
        node = node.attribute("weight", Attribute::Text((*name).to_owned()));
        edit.add(with_activation(node, epilogue.activation));
    }
    edit.import(DOMAIN, DOMAIN_VERSION);
    model.apply(edit)?;
    model.drop_unused();
    Ok(weights)
}

/// Fuses the nodes that quantize rows to bytes and multiply them into one operator each, and adds
/// its weights. Returns true if there are any.
pub(super) fn fuse(model: &mut Model, weights: &mut OperatorWeights) -> Result<bool, PrepareError> {
    let operator = Int8Operator { op_type: INT8_MATMUL, domain: DOMAIN, version: DOMAIN_VERSION };
    let products = fuse_int8(model, operator)?;
    for product in &products {
        let (inputs, outputs) = (product.inputs, product.outputs);
        let matrix = Int8Matrix::new(&product.codes, inputs, outputs, &product.scales)?;
        weights.int8.insert(product.name.clone(), Arc::new(matrix));
    }
    Ok(!products.is_empty())
}

fn with_activation(node: NewNode, activation: Activation) -> NewNode {
    let of = |name: &str| node.clone().attribute("activation", Attribute::Text(name.into()));
    match activation {
        Activation::None => node,
        Activation::Relu => of("Relu"),
        Activation::LeakyRelu { slope } => {
            of("LeakyRelu").attribute("slope", Attribute::Float(slope))
        }
        Activation::Clip { low, high } => of("Clip")
            .attribute("low", Attribute::Float(low))
            .attribute("high", Attribute::Float(high)),
    }
}
