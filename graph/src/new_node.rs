//! A node to be put into a graph.

use crate::{Attribute, Node};
use onnx_protobuf::NodeProto;

/// A node in the making: an operator, the values that it takes and makes, its attributes.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNode {
    proto: NodeProto,
}

impl NewNode {
    /// A node of ONNX's own operator `op_type`. An input or an output left out is `""`.
    pub fn new(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            proto: NodeProto {
                op_type: op_type.to_owned(),
                input: owned(inputs),
                output: owned(outputs),
                ..NodeProto::default()
            },
        }
    }

    /// A copy of `node`, with all that this version does not know of it.
    pub fn copy_of(node: Node<'_>) -> Self {
        Self { proto: node.proto().clone() }
    }

    /// The operator is one of `domain`, which the model must import.
    pub fn domain(mut self, domain: &str) -> Self {
        domain.clone_into(&mut self.proto.domain);
        self
    }

    /// The node's name; without one, it is named after the first value that it makes.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.proto.name);
        self
    }

    /// Gives it an attribute, in place of one of the same name.
    pub fn attribute(mut self, name: &str, value: Attribute) -> Self {
        self.proto.attribute.retain(|attribute| attribute.name != name);
        self.proto.attribute.push(value.into_proto(name));
        self
    }

    /// Takes `value` as its input of this number, from 0.
    pub fn input(mut self, index: usize, value: &str) -> Self {
        put(&mut self.proto.input, index, value);
        self
    }

    /// Makes `value` as its output of this number, from 0.
    pub fn output(mut self, index: usize, value: &str) -> Self {
        put(&mut self.proto.output, index, value);
        self
    }

    /// The names of the values that it makes.
    pub(crate) fn outputs(&self) -> &[String] {
        &self.proto.output
    }

    /// The node as a model holds it.
    pub(crate) fn into_proto(mut self) -> NodeProto {
        if self.proto.name.is_empty() {
            let first = self.proto.output.iter().find(|name| !name.is_empty());
            self.proto.name = first.cloned().unwrap_or_default();
        }
        self.proto
    }
}

/// Puts `value` at `index`, after as many left out as it takes.
fn put(values: &mut Vec<String>, index: usize, value: &str) {
    if values.len() <= index {
        values.resize(index + 1, String::new());
    }
    value.clone_into(&mut values[index]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_differs_only_where_it_is_changed() {
        let node = NewNode::new("Gemm", &["x", "w"], &["y"])
            .attribute("transB", Attribute::Int(1))
            .attribute("alpha", Attribute::Float(2.0));
        let proto = node.into_proto();
        assert_eq!(proto.name, "y");
        let copy = NewNode::copy_of(Node::new(&proto, None, 0))
            .name("copy")
            .domain("custom")
            .input(3, "extra")
            .output(0, "z")
            .attribute("transB", Attribute::Int(0))
            .into_proto();
        let node = Node::new(&copy, None, 0);
        assert_eq!((node.name(), node.domain(), node.op_type()), ("copy", "custom", "Gemm"));
        assert_eq!(
            (node.inputs(), node.outputs()),
            (&["x", "w", "", "extra"].map(String::from)[..], &["z".to_owned()][..])
        );
        assert_eq!((node.int("transB").unwrap(), node.attributes().count()), (Some(0), 2));
    }
}
