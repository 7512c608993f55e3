//! Constants that lie in nodes.

use crate::{Node, TensorView};
use onnx_protobuf::NodeProto;

/// The tensor of a `Constant` node, under the name of the value that it makes. Other forms of
/// the node, such as a lone integer, hold no tensor.
pub(crate) fn tensor_of(node: Node<'_>) -> Option<TensorView<'_>> {
    let own = node.domain().is_empty() && node.op_type() == "Constant";
    let tensor = own.then(|| node.tensor("value").ok()).flatten().flatten()?;
    Some(tensor.under(node.outputs().first()?))
}

/// Whether the node is a `Constant` whose value has one of these names: an initializer of the
/// name takes its place.
pub(crate) fn is_constant_of(node: &NodeProto, named: impl Fn(&str) -> bool) -> bool {
    let own = matches!(node.domain.as_str(), "" | "ai.onnx");
    own && node.op_type == "Constant" && node.output.iter().any(|name| named(name))
}
