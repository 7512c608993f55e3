//! Which fields of which ONNX message are messages again. The rest of the pass needs no more.

use onnx_protobuf as onnx;
use onnx_protobuf::{tensor_proto, tensor_shape_proto, type_proto};

/// One more than the largest number of a field that holds a message.
pub(super) const FIELDS_MAX: usize = 26;

/// The messages of `onnx.proto`.
#[derive(Clone, Copy)]
pub(super) enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Segment,
    SparseTensor,
    Value,
    Type,
    TensorType,
    SequenceType,
    MapType,
    OptionalType,
    Shape,
    Dimension,
    Opset,
    Entry,
    Annotation,
    Training,
    Function,
}

/// A field that holds a message.
#[derive(Clone, Copy)]
pub(super) struct Child {
    pub(super) name: &'static str,
    pub(super) message: Message,
    /// Whether the field holds one message at most, not a list.
    pub(super) once: bool,
}

const fn one(name: &'static str, message: Message) -> Option<Child> {
    Some(Child { name, message, once: true })
}

const fn many(name: &'static str, message: Message) -> Option<Child> {
    Some(Child { name, message, once: false })
}

impl Message {
    /// What the field of this number holds, if messages.
    pub(super) fn child(self, field: u32) -> Option<Child> {
        match self {
            Self::Model => Self::of_model(field),
            Self::Graph => Self::of_graph(field),
            Self::Node => Self::of_node(field),
            Self::Attribute => Self::of_attribute(field),
            Self::Tensor => Self::of_tensor(field),
            Self::SparseTensor => Self::of_sparse_tensor(field),
            Self::Training => Self::of_training(field),
            Self::Function => Self::of_function(field),
            Self::Value => Self::of_value(field),
            _ => self.of_small(field),
        }
    }

    fn of_model(field: u32) -> Option<Child> {
        match field {
            7 => one("graph", Self::Graph),
            8 => many("opset_import", Self::Opset),
            14 => many("metadata_props", Self::Entry),
            20 => many("training_info", Self::Training),
            25 => many("functions", Self::Function),
            _ => None,
        }
    }

    fn of_graph(field: u32) -> Option<Child> {
        match field {
            1 => many("node", Self::Node),
            5 => many("initializer", Self::Tensor),
            11 => many("input", Self::Value),
            12 => many("output", Self::Value),
            13 => many("value_info", Self::Value),
            14 => many("quantization_annotation", Self::Annotation),
            15 => many("sparse_initializer", Self::SparseTensor),
            16 => many("metadata_props", Self::Entry),
            _ => None,
        }
    }

    fn of_node(field: u32) -> Option<Child> {
        match field {
            5 => many("attribute", Self::Attribute),
            9 => many("metadata_props", Self::Entry),
            _ => None,
        }
    }

    fn of_attribute(field: u32) -> Option<Child> {
        match field {
            5 => one("t", Self::Tensor),
            6 => one("g", Self::Graph),
            10 => many("tensors", Self::Tensor),
            11 => many("graphs", Self::Graph),
            14 => one("tp", Self::Type),
            15 => many("type_protos", Self::Type),
            22 => one("sparse_tensor", Self::SparseTensor),
            23 => many("sparse_tensors", Self::SparseTensor),
            _ => None,
        }
    }

    fn of_tensor(field: u32) -> Option<Child> {
        match field {
            3 => one("segment", Self::Segment),
            13 => many("external_data", Self::Entry),
            16 => many("metadata_props", Self::Entry),
            _ => None,
        }
    }

    fn of_sparse_tensor(field: u32) -> Option<Child> {
        match field {
            1 => one("values", Self::Tensor),
            2 => one("indices", Self::Tensor),
            _ => None,
        }
    }

    fn of_training(field: u32) -> Option<Child> {
        match field {
            1 => one("initialization", Self::Graph),
            2 => one("algorithm", Self::Graph),
            3 => many("initialization_binding", Self::Entry),
            4 => many("update_binding", Self::Entry),
            _ => None,
        }
    }

    fn of_function(field: u32) -> Option<Child> {
        match field {
            7 => many("node", Self::Node),
            9 => many("opset_import", Self::Opset),
            11 => many("attribute_proto", Self::Attribute),
            12 => many("value_info", Self::Value),
            14 => many("metadata_props", Self::Entry),
            _ => None,
        }
    }

    fn of_value(field: u32) -> Option<Child> {
        match field {
            2 => one("type", Self::Type),
            4 => many("metadata_props", Self::Entry),
            _ => None,
        }
    }

    fn of_small(self, field: u32) -> Option<Child> {
        match (self, field) {
            (Self::Annotation, 2) => many("quant_parameter_tensor_names", Self::Entry),
            (Self::Type, 1) => one("tensor_type", Self::TensorType),
            (Self::Type, 4) => one("sequence_type", Self::SequenceType),
            (Self::Type, 5) => one("map_type", Self::MapType),
            (Self::Type, 8) => one("sparse_tensor_type", Self::TensorType),
            (Self::Type, 9) => one("optional_type", Self::OptionalType),
            (Self::SequenceType | Self::OptionalType, 1) => one("elem_type", Self::Type),
            (Self::MapType, 2) => one("value_type", Self::Type),
            (Self::TensorType, 2) => one("shape", Self::Shape),
            (Self::Shape, 1) => many("dim", Self::Dimension),
            _ => None,
        }
    }

    /// Whether the decoder knows the field of this number.
    pub(super) fn has(self, field: u32) -> bool {
        let known: &[u32] = match self {
            Self::Model => &[1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25],
            Self::Graph => &[1, 2, 5, 10, 11, 12, 13, 14, 15, 16],
            Self::Node => &[1, 2, 3, 4, 5, 6, 7, 8, 9],
            Self::Attribute => &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 20, 21, 22, 23],
            Self::Tensor => &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16],
            Self::Function => &[1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
            Self::Type => &[1, 4, 5, 6, 8, 9],
            Self::Training | Self::Value => &[1, 2, 3, 4],
            Self::SparseTensor | Self::Dimension => &[1, 2, 3],
            Self::SequenceType | Self::OptionalType | Self::Shape => &[1],
            _ => &[1, 2],
        };
        known.contains(&field)
    }

    /// Bytes of memory that one such message takes, decoded and empty.
    pub(super) fn memory(self) -> usize {
        match self {
            Self::Model => size_of::<onnx::ModelProto>(),
            Self::Graph => size_of::<onnx::GraphProto>(),
            Self::Node => size_of::<onnx::NodeProto>(),
            Self::Attribute => size_of::<onnx::AttributeProto>(),
            Self::Tensor => size_of::<onnx::TensorProto>(),
            Self::Segment => size_of::<tensor_proto::Segment>(),
            Self::SparseTensor => size_of::<onnx::SparseTensorProto>(),
            Self::Value => size_of::<onnx::ValueInfoProto>(),
            Self::Type => size_of::<onnx::TypeProto>(),
            Self::TensorType => size_of::<type_proto::Tensor>(),
            Self::SequenceType => size_of::<type_proto::Sequence>(),
            Self::MapType => size_of::<type_proto::Map>(),
            Self::OptionalType => size_of::<type_proto::Optional>(),
            Self::Shape => size_of::<onnx::TensorShapeProto>(),
            Self::Dimension => size_of::<tensor_shape_proto::Dimension>(),
            Self::Opset => size_of::<onnx::OperatorSetIdProto>(),
            Self::Entry => size_of::<onnx::StringStringEntryProto>(),
            Self::Annotation => size_of::<onnx::TensorAnnotation>(),
            Self::Training => size_of::<onnx::TrainingInfoProto>(),
            Self::Function => size_of::<onnx::FunctionProto>(),
        }
    }
}
