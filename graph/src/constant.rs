//! `Constant` nodes.

use crate::{Node, TensorView};
use onnx_protobuf::NodeProto;

/// Tensor of a `Constant` node, named as the node's output. Other forms of the node, such as a
/// single integer, hold no tensor.
pub(crate) fn tensor_of(node: Node<'_>) -> Option<TensorView<'_>> {
    let own = node.domain().is_empty() && node.op_type() == "Constant";
    let tensor = own.then(|| node.tensor("value").ok()).flatten().flatten()?;
    Some(tensor.under(node.outputs().first()?))
}

/// True if the node is a `Constant` whose output has one of these names; an initializer of that
/// name replaces it.
pub(crate) fn is_constant_of(node: &NodeProto, named: impl Fn(&str) -> bool) -> bool {
    let own = matches!(node.domain.as_str(), "" | "ai.onnx");
    own && node.op_type == "Constant" && node.output.iter().any(|name| named(name))
}
