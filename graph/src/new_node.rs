//! A new node for a graph.

use crate::{Attribute, Node};
use onnx_protobuf::NodeProto;

/// Builder of a node: operator, inputs, outputs and attributes.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNode {
    proto: NodeProto,
}

impl NewNode {
    /// Makes a node of ONNX's own operator `op_type`. An input or output left out is `""`.
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

    /// Copies a node, unknown fields included.
    pub fn copy_of(node: Node<'_>) -> Self {
        Self { proto: node.proto().clone() }
    }

    /// Sets the operator's domain, which the model must import.
    pub fn domain(mut self, domain: &str) -> Self {
        domain.clone_into(&mut self.proto.domain);
        self
    }

    /// Sets the name; the default is that of the first output.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.proto.name);
        self
    }

    /// Sets an attribute, in place of one of the same name.
    pub fn attribute(mut self, name: &str, value: Attribute) -> Self {
        self.proto.attribute.retain(|attribute| attribute.name != name);
        self.proto.attribute.push(value.into_proto(name));
        self
    }

    /// Sets the input of this number, from 0.
    pub fn input(mut self, index: usize, value: &str) -> Self {
        put(&mut self.proto.input, index, value);
        self
    }

    /// Sets the output of this number, from 0.
    pub fn output(mut self, index: usize, value: &str) -> Self {
        put(&mut self.proto.output, index, value);
        self
    }

    /// Names of the outputs.
    pub(crate) fn outputs(&self) -> &[String] {
        &self.proto.output
    }

    /// Makes the node of a model.
    pub(crate) fn into_proto(mut self) -> NodeProto {
        if self.proto.name.is_empty() {
            let first = self.proto.output.iter().find(|name| !name.is_empty());
            self.proto.name = first.cloned().unwrap_or_default();
        }
        self.proto
    }
}

/// Puts `value` at `index`, after empty names if the list is shorter.
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
