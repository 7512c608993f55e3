//! Builds parts of an ONNX model.

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::type_proto::{Tensor as TensorType, Value as TypeValue};
use onnx_protobuf::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};
use skysail_graph::ElementType;

fn attribute(name: &str, type_: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), type_: type_.into(), ..AttributeProto::default() }
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: value, ..attribute(name, AttributeType::INT) }
}

pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::INTS) }
}

pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: value, ..attribute(name, AttributeType::FLOAT) }
}

pub(crate) fn floats(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto { floats: values.to_vec(), ..attribute(name, AttributeType::FLOATS) }
}

pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: value.into(), ..attribute(name, AttributeType::STRING) }
}

pub(crate) fn texts(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    AttributeProto { strings, ..attribute(name, AttributeType::STRINGS) }
}

pub(crate) fn tensor(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(value).into(), ..attribute(name, AttributeType::TENSOR) }
}

pub(crate) fn graph(name: &str, value: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(value).into(), ..attribute(name, AttributeType::GRAPH) }
}

/// An attribute of a function's node that refers to one of the call.
pub(crate) fn of_call(name: &str, type_: AttributeType) -> AttributeProto {
    AttributeProto { ref_attr_name: name.into(), ..attribute(name, type_) }
}

pub(crate) fn node(
    domain: &str,
    operator: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: Vec<AttributeProto>,
) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NodeProto {
        domain: domain.into(),
        op_type: operator.into(),
        name: outputs.first().copied().unwrap_or_default().into(),
        input: owned(inputs),
        output: owned(outputs),
        attribute: attributes,
        ..NodeProto::default()
    }
}

/// A value of a graph, with its type and dimensions if they are known. An open dimension is `None`.
pub(crate) fn info(name: &str, kind: Option<(ElementType, Option<Vec<Side>>)>) -> ValueInfoProto {
    let type_ = kind.map(|(element, sides)| {
        let shape = sides.map(|sides| TensorShapeProto {
            dim: sides.into_iter().map(Side::into_proto).collect(),
            ..TensorShapeProto::default()
        });
        let elem_type = element.code();
        let tensor = TensorType { elem_type, shape: shape.into(), ..TensorType::default() };
        TypeProto { value: Some(TypeValue::TensorType(tensor)), ..TypeProto::default() }
    });
    ValueInfoProto { name: name.into(), type_: type_.into(), ..ValueInfoProto::default() }
}

/// A dimension of an input.
#[derive(Debug, Clone)]
pub(crate) enum Side {
    Fixed(usize),
    Named(String),
    Open,
}

impl Side {
    fn into_proto(self) -> onnx_protobuf::tensor_shape_proto::Dimension {
        use onnx_protobuf::tensor_shape_proto::{Dimension, dimension::Value};
        let value = match self {
            Self::Fixed(size) => Some(Value::DimValue(size as i64)),
            Self::Named(name) => Some(Value::DimParam(name)),
            Self::Open => None,
        };
        Dimension { value, ..Dimension::default() }
    }
}

/// A constant, given as the bytes of its elements.
pub(crate) fn constant(
    name: &str,
    element: ElementType,
    dims: &[usize],
    bytes: Vec<u8>,
) -> TensorProto {
    TensorProto {
        name: name.into(),
        data_type: element.code(),
        dims: dims.iter().map(|dim| *dim as i64).collect(),
        raw_data: bytes,
        ..TensorProto::default()
    }
}
