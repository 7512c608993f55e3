//! Fields of ONNX messages that are messages again: all that the check of the wire format needs.

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
    /// True if the field holds at most one message, not a list.
    pub(super) single: bool,
}

const fn single(name: &'static str, message: Message) -> Option<Child> {
    Some(Child { name, message, single: true })
}

const fn repeated(name: &'static str, message: Message) -> Option<Child> {
    Some(Child { name, message, single: false })
}

impl Message {
    /// Message type of the field with this number; `None` if it holds no messages.
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
            7 => single("graph", Self::Graph),
            8 => repeated("opset_import", Self::Opset),
            14 => repeated("metadata_props", Self::Entry),
            20 => repeated("training_info", Self::Training),
            25 => repeated("functions", Self::Function),
            _ => None,
        }
    }

    fn of_graph(field: u32) -> Option<Child> {
        match field {
            1 => repeated("node", Self::Node),
            5 => repeated("initializer", Self::Tensor),
            11 => repeated("input", Self::Value),
            12 => repeated("output", Self::Value),
            13 => repeated("value_info", Self::Value),
            14 => repeated("quantization_annotation", Self::Annotation),
            15 => repeated("sparse_initializer", Self::SparseTensor),
            16 => repeated("metadata_props", Self::Entry),
            _ => None,
        }
    }

    fn of_node(field: u32) -> Option<Child> {
        match field {
            5 => repeated("attribute", Self::Attribute),
            9 => repeated("metadata_props", Self::Entry),
            _ => None,
        }
    }

    fn of_attribute(field: u32) -> Option<Child> {
        match field {
            5 => single("t", Self::Tensor),
            6 => single("g", Self::Graph),
            10 => repeated("tensors", Self::Tensor),
            11 => repeated("graphs", Self::Graph),
            14 => single("tp", Self::Type),
            15 => repeated("type_protos", Self::Type),
            22 => single("sparse_tensor", Self::SparseTensor),
            23 => repeated("sparse_tensors", Self::SparseTensor),
            _ => None,
        }
    }

    fn of_tensor(field: u32) -> Option<Child> {
        match field {
            3 => single("segment", Self::Segment),
            13 => repeated("external_data", Self::Entry),
            16 => repeated("metadata_props", Self::Entry),
            _ => None,
        }
    }

    fn of_sparse_tensor(field: u32) -> Option<Child> {
        match field {
            1 => single("values", Self::Tensor),
            2 => single("indices", Self::Tensor),
            _ => None,
        }
    }

    fn of_training(field: u32) -> Option<Child> {
        match field {
            1 => single("initialization", Self::Graph),
            2 => single("algorithm", Self::Graph),
            3 => repeated("initialization_binding", Self::Entry),
            4 => repeated("update_binding", Self::Entry),
            _ => None,
        }
    }

    fn of_function(field: u32) -> Option<Child> {
        match field {
            7 => repeated("node", Self::Node),
            9 => repeated("opset_import", Self::Opset),
            11 => repeated("attribute_proto", Self::Attribute),
            12 => repeated("value_info", Self::Value),
            14 => repeated("metadata_props", Self::Entry),
            _ => None,
        }
    }

    fn of_value(field: u32) -> Option<Child> {
        match field {
            2 => single("type", Self::Type),
            4 => repeated("metadata_props", Self::Entry),
            _ => None,
        }
    }

    fn of_small(self, field: u32) -> Option<Child> {
        match (self, field) {
            (Self::Annotation, 2) => repeated("quant_parameter_tensor_names", Self::Entry),
            (Self::Type, 1) => single("tensor_type", Self::TensorType),
            (Self::Type, 4) => single("sequence_type", Self::SequenceType),
            (Self::Type, 5) => single("map_type", Self::MapType),
            (Self::Type, 8) => single("sparse_tensor_type", Self::TensorType),
            (Self::Type, 9) => single("optional_type", Self::OptionalType),
            (Self::SequenceType | Self::OptionalType, 1) => single("elem_type", Self::Type),
            (Self::MapType, 2) => single("value_type", Self::Type),
            (Self::TensorType, 2) => single("shape", Self::Shape),
            (Self::Shape, 1) => repeated("dim", Self::Dimension),
            _ => None,
        }
    }

    /// True if the decoder knows the field of this number.
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

    /// Bytes of memory of one decoded, empty message.
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
