//! Values of a graph: names and types.

use crate::{ElementType, Size};
use onnx_protobuf::tensor_shape_proto::dimension::Value as DimProto;
use onnx_protobuf::type_proto::{self, Value as KindProto};
use onnx_protobuf::{TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto::Dimension};
use protobuf::MessageField;
use std::fmt;

/// An input or an output of a graph. Displayed, `name: kind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueInfo {
    /// Name, unique among the graph's values.
    pub name: String,
    /// Type of the value.
    pub kind: Kind,
}

/// Type of a value. Displayed as a noun phrase, such as `sequence of maps from int64 to float32
/// tensors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A tensor.
    Tensor {
        /// Type of the elements.
        element: ElementType,
        /// Dimensions, none for a scalar; `None` if even their number is unknown.
        dims: Option<Vec<Dim>>,
    },
    /// A tensor that stores only its non-zero elements.
    SparseTensor {
        /// Type of the elements.
        element: ElementType,
        /// Dimensions, as for a tensor.
        dims: Option<Vec<Dim>>,
    },
    /// A list of values of one kind.
    Sequence(Box<Kind>),
    /// A dictionary with values of one kind.
    Map {
        /// Type of the keys: strings or integers.
        key: ElementType,
        /// Type of the values.
        value: Box<Kind>,
    },
    /// A value or none.
    Optional(Box<Kind>),
    /// Not stated by the model, or in a form that this version does not know.
    Unknown,
}

/// One dimension of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A constant size.
    Fixed(u64),
    /// A symbolic size: the same for all dimensions of this name.
    Symbol(String),
    /// A size computed from dynamic dimensions of the graph's inputs.
    Computed(Size),
    /// An unknown size.
    Unknown,
}

impl From<u64> for Dim {
    fn from(size: u64) -> Self {
        Self::Fixed(size)
    }
}

impl From<&str> for Dim {
    fn from(symbol: &str) -> Self {
        Self::Symbol(symbol.to_owned())
    }
}

impl ValueInfo {
    pub(crate) fn from_proto(proto: &ValueInfoProto) -> Self {
        let kind = proto.type_.as_ref().map_or(Kind::Unknown, Kind::from_proto);
        Self { name: proto.name.clone(), kind }
    }
}

impl Kind {
    /// Type of a tensor's elements; `None` if the value is no tensor.
    pub fn element(&self) -> Option<ElementType> {
        match self {
            Self::Tensor { element, .. } => Some(*element),
            _ => None,
        }
    }

    /// Dimensions of a tensor; `None` if even their number is unknown, or the value is no tensor.
    pub fn dims(&self) -> Option<&[Dim]> {
        match self {
            Self::Tensor { dims, .. } => dims.as_deref(),
            _ => None,
        }
    }

    /// Reads a type. Recursion is as deep as the message, which the decoder limits.
    fn from_proto(proto: &TypeProto) -> Self {
        let inner = |proto: &MessageField<TypeProto>| {
            Box::new(proto.as_ref().map_or(Self::Unknown, Self::from_proto))
        };
        match &proto.value {
            Some(KindProto::TensorType(tensor)) => Self::Tensor {
                element: ElementType::from_code(tensor.elem_type),
                dims: tensor.shape.as_ref().map(dims),
            },
            Some(KindProto::SparseTensorType(tensor)) => Self::SparseTensor {
                element: ElementType::from_code(tensor.elem_type),
                dims: tensor.shape.as_ref().map(dims),
            },
            Some(KindProto::SequenceType(list)) => Self::Sequence(inner(&list.elem_type)),
            Some(KindProto::OptionalType(maybe)) => Self::Optional(inner(&maybe.elem_type)),
            Some(KindProto::MapType(map)) => Self::Map {
                key: ElementType::from_code(map.key_type),
                value: inner(&map.value_type),
            },
            _ => Self::Unknown,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, plural: bool) -> fmt::Result {
        let s = if plural { "s" } else { "" };
        match self {
            Self::Tensor { element, dims } => {
                write!(f, "{element} tensor{s}")?;
                write_dims(f, dims.as_deref())
            }
            Self::SparseTensor { element, dims } => {
                write!(f, "sparse {element} tensor{s}")?;
                write_dims(f, dims.as_deref())
            }
            Self::Sequence(inner) => {
                write!(f, "sequence{s} of ")?;
                inner.write(f, true)
            }
            Self::Map { key, value } => {
                write!(f, "map{s} from {key} to ")?;
                value.write(f, true)
            }
            Self::Optional(inner) => {
                f.write_str("optional ")?;
                inner.write(f, plural)
            }
            Self::Unknown => write!(f, "value{s} of unknown type"),
        }
    }
}

fn dims(shape: &TensorShapeProto) -> Vec<Dim> {
    let dim = |dim: &Dimension| match &dim.value {
        // Exporters write -1 for unknown sizes.
        Some(DimProto::DimValue(size)) => u64::try_from(*size).map_or(Dim::Unknown, Dim::Fixed),
        Some(DimProto::DimParam(symbol)) if !symbol.is_empty() => Dim::Symbol(symbol.clone()),
        _ => Dim::Unknown,
    };
    shape.dim.iter().map(dim).collect()
}

fn write_dims(f: &mut fmt::Formatter<'_>, dims: Option<&[Dim]>) -> fmt::Result {
    let Some(dims) = dims.filter(|dims| !dims.is_empty()) else { return Ok(()) };
    let words: Vec<String> = dims.iter().map(Dim::to_string).collect();
    write!(f, " [{}]", words.join(", "))
}

impl fmt::Display for ValueInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Symbol(symbol) => f.write_str(symbol),
            Self::Computed(size) => write!(f, "{size}"),
            Self::Unknown => f.write_str("?"),
        }
    }
}

/// Makes a tensor's type for a model. Sizes above `i64::MAX` become unknown.
pub(crate) fn tensor_type(element: ElementType, dims: &[Dim]) -> TypeProto {
    let dim = |dim: &Dim| Dimension {
        value: match dim {
            Dim::Fixed(size) => i64::try_from(*size).ok().map(DimProto::DimValue),
            Dim::Symbol(symbol) => Some(DimProto::DimParam(symbol.clone())),
            Dim::Computed(_) | Dim::Unknown => None,
        },
        ..Dimension::default()
    };
    let shape =
        TensorShapeProto { dim: dims.iter().map(dim).collect(), ..TensorShapeProto::default() };
    let tensor = type_proto::Tensor {
        elem_type: element.code(),
        shape: MessageField::some(shape),
        ..type_proto::Tensor::default()
    };
    TypeProto { value: Some(KindProto::TensorType(tensor)), ..TypeProto::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(value: KindProto) -> TypeProto {
        TypeProto { value: Some(value), ..TypeProto::default() }
    }

    #[test]
    fn tensors_round_trip() {
        let dims = vec![Dim::from("batch"), Dim::from(784), Dim::Unknown, Dim::Fixed(0)];
        let proto = tensor_type(ElementType::Float32, &dims);
        let kind = Kind::from_proto(&proto);
        assert_eq!(kind.to_string(), "float32 tensor [batch, 784, ?, 0]");
        assert_eq!(kind, Kind::Tensor { element: ElementType::Float32, dims: Some(dims) });
        let scalar = Kind::from_proto(&tensor_type(ElementType::Bool, &[]));
        assert_eq!(scalar, Kind::Tensor { element: ElementType::Bool, dims: Some(vec![]) });
        assert_eq!(scalar.to_string(), "bool tensor");
    }

    #[test]
    fn unknown_dims_and_ranks_stay_unknown() {
        let value = |value| Dimension { value: Some(value), ..Dimension::default() };
        let dim = vec![value(DimProto::DimValue(-1)), value(DimProto::DimParam(String::new()))];
        let shape = TensorShapeProto { dim, ..TensorShapeProto::default() };
        assert_eq!(dims(&shape), [Dim::Unknown, Dim::Unknown]);
        let rankless = KindProto::TensorType(type_proto::Tensor::default());
        let rankless = Kind::from_proto(&kind(rankless));
        assert_eq!(rankless, Kind::Tensor { element: ElementType::Other(0), dims: None });
    }

    #[test]
    fn nested_kinds_are_described_in_words() {
        let map = type_proto::Map {
            key_type: ElementType::Int64.code(),
            value_type: MessageField::some(tensor_type(ElementType::Float32, &[])),
            ..type_proto::Map::default()
        };
        let sequence = type_proto::Sequence {
            elem_type: MessageField::some(kind(KindProto::MapType(map))),
            ..type_proto::Sequence::default()
        };
        let optional = type_proto::Optional {
            elem_type: MessageField::some(kind(KindProto::SequenceType(sequence))),
            ..type_proto::Optional::default()
        };
        let described = Kind::from_proto(&kind(KindProto::OptionalType(optional))).to_string();
        assert_eq!(described, "optional sequence of maps from int64 to float32 tensors");
        assert_eq!(Kind::from_proto(&TypeProto::default()).to_string(), "value of unknown type");
    }
}
