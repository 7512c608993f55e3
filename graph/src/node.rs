//! A node: an operator applied to values.

use crate::presence::keep_zero;
use crate::{Graph, GraphError, Tensor, TensorView};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{AttributeProto, NodeProto};
use protobuf::MessageField;
use std::path::Path;

/// Read-only view of a node.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    proto: &'a NodeProto,
    folder: Option<&'a Path>,
    index: usize,
}

impl<'a> Node<'a> {
    pub(crate) fn new(proto: &'a NodeProto, folder: Option<&'a Path>, index: usize) -> Self {
        Self { proto, folder, index }
    }

    pub(crate) fn proto(self) -> &'a NodeProto {
        self.proto
    }

    /// Index among the nodes of the graph, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Operator, such as `Conv`.
    pub fn op_type(&self) -> &'a str {
        &self.proto.op_type
    }

    /// Domain of the operator; empty for ONNX's own, in either spelling.
    pub fn domain(&self) -> &'a str {
        if self.proto.domain == "ai.onnx" { "" } else { &self.proto.domain }
    }

    /// Name; often empty.
    pub fn name(&self) -> &'a str {
        &self.proto.name
    }

    /// Names of the inputs, in the operator's order; empty for one left out.
    pub fn inputs(&self) -> &'a [String] {
        &self.proto.input
    }

    /// Names of the outputs, in the operator's order; empty for one left out.
    pub fn outputs(&self) -> &'a [String] {
        &self.proto.output
    }

    /// Names of the attributes.
    pub fn attributes(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.proto.attribute.iter().map(|attribute| attribute.name.as_str())
    }

    /// Reads an integer attribute, if the node has it.
    ///
    /// # Errors
    /// `BadAttribute` when it has another type, as for the methods below.
    pub fn int(&self, name: &str) -> Result<Option<i64>, GraphError> {
        Ok(self.find(name, AttributeType::INT)?.map(|attribute| attribute.i))
    }

    /// Reads an attribute of integers, if the node has it.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn ints(&self, name: &str) -> Result<Option<&'a [i64]>, GraphError> {
        Ok(self.find(name, AttributeType::INTS)?.map(|attribute| attribute.ints.as_slice()))
    }

    /// Reads a float attribute, if the node has it.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn float(&self, name: &str) -> Result<Option<f32>, GraphError> {
        Ok(self.find(name, AttributeType::FLOAT)?.map(|attribute| attribute.f))
    }

    /// Reads an attribute of floats, if the node has it.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn floats(&self, name: &str) -> Result<Option<&'a [f32]>, GraphError> {
        Ok(self.find(name, AttributeType::FLOATS)?.map(|attribute| attribute.floats.as_slice()))
    }

    /// Reads a text attribute, if the node has it.
    ///
    /// # Errors
    /// As [`int`](Self::int), and when it is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, GraphError> {
        let Some(attribute) = self.find(name, AttributeType::STRING)? else { return Ok(None) };
        let text = str::from_utf8(&attribute.s);
        text.map(Some).map_err(|_| self.bad(name, "it is not UTF-8"))
    }

    /// Reads an attribute of byte strings, if the node has it.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn texts(&self, name: &str) -> Result<Option<&'a [Vec<u8>]>, GraphError> {
        Ok(self.find(name, AttributeType::STRINGS)?.map(|attribute| attribute.strings.as_slice()))
    }

    /// Reads a tensor attribute, if the node has it.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn tensor(&self, name: &str) -> Result<Option<TensorView<'a>>, GraphError> {
        let Some(attribute) = self.find(name, AttributeType::TENSOR)? else { return Ok(None) };
        let tensor = attribute.t.as_ref().ok_or_else(|| self.bad(name, "it holds no tensor"))?;
        Ok(Some(TensorView::new(tensor, self.folder)))
    }

    /// Reads a graph attribute, such as a branch of `If`, if the node has it.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn graph(&self, name: &str) -> Result<Option<Graph<'a>>, GraphError> {
        let Some(attribute) = self.find(name, AttributeType::GRAPH)? else { return Ok(None) };
        let graph = attribute.g.as_ref().ok_or_else(|| self.bad(name, "it holds no graph"))?;
        Ok(Some(Graph::new(graph, self.folder)))
    }

    fn find(
        &self,
        name: &str,
        wanted: AttributeType,
    ) -> Result<Option<&'a AttributeProto>, GraphError> {
        let found = self.proto.attribute.iter().find(|attribute| attribute.name == name);
        let Some(attribute) = found else { return Ok(None) };
        if attribute.type_.enum_value() != Ok(wanted) {
            let problem = match attribute.type_.enum_value() {
                Ok(found) => format!("it is {found:?}, not {wanted:?}"),
                Err(code) => format!("it is of unknown type {code}, not {wanted:?}"),
            };
            return Err(self.bad(name, problem));
        }
        Ok(Some(attribute))
    }

    fn bad(&self, attribute: &str, problem: impl Into<String>) -> GraphError {
        let name = if self.name().is_empty() { self.op_type() } else { self.name() };
        GraphError::BadAttribute {
            node: name.to_owned(),
            attribute: attribute.to_owned(),
            problem: problem.into(),
        }
    }
}

/// Value of an attribute for a new node.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A float.
    Float(f32),
    /// A list of floats.
    Floats(Vec<f32>),
    /// Text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A tensor.
    Tensor(Tensor),
}

impl Attribute {
    /// Makes the attribute of a model, with a name.
    pub(crate) fn into_proto(self, name: &str) -> AttributeProto {
        let mut proto = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
        let type_ = match self {
            Self::Int(value) => {
                proto.i = value;
                AttributeType::INT
            }
            Self::Ints(values) => {
                proto.ints = values;
                AttributeType::INTS
            }
            Self::Float(value) => {
                proto.f = value;
                AttributeType::FLOAT
            }
            Self::Floats(values) => {
                proto.floats = values;
                AttributeType::FLOATS
            }
            Self::Text(text) => {
                proto.s = text.into_bytes();
                AttributeType::STRING
            }
            Self::Texts(texts) => {
                proto.strings = texts.into_iter().map(String::into_bytes).collect();
                AttributeType::STRINGS
            }
            Self::Tensor(tensor) => {
                proto.t = MessageField::some(tensor.into_proto(""));
                AttributeType::TENSOR
            }
        };
        proto.type_ = type_.into();
        keep_zero(&mut proto);
        proto
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_by_their_types() {
        let tensor = Tensor::new(&[1], &[2.5_f32]).unwrap();
        let attributes = [
            ("int", Attribute::Int(-3)),
            ("ints", Attribute::Ints(vec![1, 2])),
            ("float", Attribute::Float(0.5)),
            ("floats", Attribute::Floats(vec![])),
            ("text", Attribute::Text("relu".into())),
            ("texts", Attribute::Texts(vec!["a".into(), String::new()])),
            ("tensor", Attribute::Tensor(tensor.clone())),
        ];
        let attribute = attributes.map(|(name, value)| value.into_proto(name)).to_vec();
        let proto = NodeProto { op_type: "Op".into(), attribute, ..NodeProto::default() };
        let node = Node::new(&proto, None, 0);
        assert_eq!(node.int("int").unwrap(), Some(-3));
        assert_eq!(node.ints("ints").unwrap(), Some([1, 2].as_slice()));
        assert_eq!(node.float("float").unwrap(), Some(0.5));
        assert_eq!(node.floats("floats").unwrap(), Some([].as_slice()));
        assert_eq!(node.text("text").unwrap(), Some("relu"));
        assert_eq!(node.texts("texts").unwrap(), Some(&[b"a".to_vec(), vec![]][..]));
        assert_eq!(node.tensor("tensor").unwrap().unwrap().to_tensor().unwrap(), tensor);
        assert_eq!(node.int("missing").unwrap(), None);
        assert_eq!(node.attributes().count(), 7);
        let message = node.int("text").unwrap_err().to_string();
        assert_eq!(message, "attribute 'text' of node 'Op': it is STRING, not INT");
        assert!(node.graph("int").is_err());
    }

    #[test]
    fn broken_attributes_are_errors() {
        let of = |type_: AttributeType| AttributeProto {
            name: "a".into(),
            type_: type_.into(),
            s: vec![0xFF],
            ..AttributeProto::default()
        };
        let node = |attribute| NodeProto { attribute: vec![attribute], ..NodeProto::default() };
        assert!(Node::new(&node(of(AttributeType::STRING)), None, 0).text("a").is_err());
        assert!(Node::new(&node(of(AttributeType::TENSOR)), None, 0).tensor("a").is_err());
        assert!(Node::new(&node(of(AttributeType::GRAPH)), None, 0).graph("a").is_err());
    }
}
