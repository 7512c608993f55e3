//! Puts operators over sparse weights in the place of layers.

use super::kernel::Kernel;
use super::layer::Candidate;
use skysail_graph::{Attribute, GraphError, Model, NewNode, Tensor};
use skysail_kernels::{Activation, DOMAIN, DOMAIN_VERSION, OperatorWeights};

/// A layer that is to run sparse.
pub(super) struct SparseLayer<'a> {
    /// Of its weights.
    pub(super) name: &'a str,
    pub(super) layer: &'a Candidate,
    pub(super) kernel: &'a Kernel,
}

/// Replaces the nodes of these layers, and takes out what no node uses any more, their dense
/// weights among it. Gives the weights of the operators.
pub(super) fn rewrite(
    model: &mut Model,
    layers: &[SparseLayer<'_>],
) -> Result<OperatorWeights, GraphError> {
    let mut weights = OperatorWeights::default();
    let mut edit = model.edit();
    let links = model.graph().links();
    for SparseLayer { name, layer, kernel } in layers {
        let tail = &layer.tail;
        let operator = kernel.put(name, &mut weights);
        let mut bias_name = String::new();
        if let Some(bias) = &tail.affine.bias {
            bias_name = edit.fresh(&format!("{name}_bias"));
            edit.set_initializer(&bias_name, Tensor::new(&[bias.len() as u64], bias)?);
        }
        for node in tail.made.iter().filter_map(|made| links.maker(made)) {
            edit.remove(node);
        }
        let made = tail.made.last().map_or("", String::as_str);
        let mut node = NewNode::new(operator, &[&layer.input], &[made]).domain(DOMAIN);
        if !bias_name.is_empty() {
            node = node.input(1, &bias_name);
        }
        if let Some(added) = &tail.added {
            node = node.input(2, added);
        }
        node = node.attribute("weight", Attribute::Text((*name).to_owned()));
        edit.add(with_activation(node, tail.activation));
    }
    edit.import(DOMAIN, DOMAIN_VERSION);
    model.apply(edit)?;
    model.drop_unused();
    Ok(weights)
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
