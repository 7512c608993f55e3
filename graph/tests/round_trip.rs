//! A model that is loaded and saved stays the same, unknown fields included.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics and prints")]

mod support;

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto,
    SparseTensorProto, StringStringEntryProto, TensorAnnotation, TensorProto, TrainingInfoProto,
    ValueInfoProto,
};
use protobuf::MessageField;
use skysail_graph::Model;

/// Number of a field that no message of ONNX has yet.
const LATER_FIELD: u32 = 1000;

#[test]
fn real_models_keep_every_bit_of_their_tensors() {
    let folder = tempfile::tempdir().unwrap();
    for path in support::models() {
        let model = Model::load(&path).unwrap();
        let saved = folder.path().join("model.onnx");
        model.save(&saved).unwrap();
        let decoded = |bytes: Vec<u8>| ModelProto::parse_from_bytes(&bytes).unwrap();
        let [before, after] = [&path, &saved].map(|path| decoded(std::fs::read(path).unwrap()));
        assert_eq!(before, after, "{}", path.display());
        let again = Model::load(&saved).unwrap();
        let (before, after) = (model.graph().initializers(), again.graph().initializers());
        assert_eq!(before.len(), after.len());
        for (before, after) in before.zip(after) {
            assert_eq!(before.name(), after.name());
            assert_eq!(before.bytes().ok(), after.bytes().ok(), "{}", before.name());
        }
    }
}

#[test]
fn every_part_is_kept() {
    let before = everything();
    let model = Model::from_bytes(&before.write_to_bytes().unwrap()).unwrap();
    let written = model.to_bytes().unwrap();
    assert_eq!(ModelProto::parse_from_bytes(&written).unwrap(), before);
    // An empty edit changes nothing either.
    let mut model = Model::from_bytes(&written).unwrap();
    let edit = model.edit();
    model.apply(edit).unwrap();
    let after = ModelProto::parse_from_bytes(&model.to_bytes().unwrap()).unwrap();
    assert_eq!(after, before);
}

/// A model with a part of each kind, each with a field of a later version.
fn everything() -> ModelProto {
    let mut graph = graph("main");
    graph.node.push(later(NodeProto {
        op_type: "If".to_owned(),
        output: vec!["chosen".to_owned()],
        attribute: vec![inner("then_branch"), inner("else_branch")],
        metadata_props: vec![entry("pkg.node")],
        ..NodeProto::default()
    }));
    let function = FunctionProto {
        name: "twice".to_owned(),
        input: vec!["x".to_owned()],
        attribute: vec!["alpha".to_owned()],
        attribute_proto: vec![tensor_attribute("beta")],
        node: vec![NodeProto { op_type: "Add".to_owned(), ..NodeProto::default() }],
        opset_import: vec![OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() }],
        overload: "float".to_owned(),
        metadata_props: vec![entry("pkg.function")],
        ..FunctionProto::default()
    };
    let training = TrainingInfoProto {
        initialization: MessageField::some(self::graph("start")),
        algorithm: MessageField::some(self::graph("step")),
        initialization_binding: vec![entry("dense")],
        update_binding: vec![entry("dense")],
        ..TrainingInfoProto::default()
    };
    later(ModelProto {
        ir_version: 10,
        graph: MessageField::some(graph),
        functions: vec![later(function)],
        training_info: vec![later(training)],
        metadata_props: vec![later(entry("task"))],
        doc_string: "of all kinds".to_owned(),
        ..ModelProto::default()
    })
}

/// A graph with initializers of every kind, external ones included.
fn graph(name: &str) -> GraphProto {
    let data_type = skysail_graph::ElementType::Float32.code();
    let dense = TensorProto {
        name: "dense".to_owned(),
        data_type,
        dims: vec![2],
        raw_data: vec![0, 0, 0xC0, 0x7F, 1, 0, 0, 0],
        metadata_props: vec![entry("pkg.tensor")],
        ..TensorProto::default()
    };
    let external = TensorProto {
        name: "external".to_owned(),
        data_type,
        dims: vec![1 << 40],
        external_data: vec![entry("location")],
        data_location: DataLocation::EXTERNAL.into(),
        ..TensorProto::default()
    };
    let values = TensorProto { name: "sparse".to_owned(), ..dense.clone() };
    let sparse = SparseTensorProto {
        values: MessageField::some(values),
        indices: MessageField::some(TensorProto {
            int64_data: vec![3, 5],
            ..TensorProto::default()
        }),
        dims: vec![9],
        ..SparseTensorProto::default()
    };
    let annotation = TensorAnnotation {
        tensor_name: "dense".to_owned(),
        quant_parameter_tensor_names: vec![entry("SCALE_TENSOR")],
        ..TensorAnnotation::default()
    };
    let value = |name: &str| ValueInfoProto {
        name: name.to_owned(),
        metadata_props: vec![entry("pkg.value")],
        ..ValueInfoProto::default()
    };
    later(GraphProto {
        name: name.to_owned(),
        initializer: vec![later(dense), external],
        sparse_initializer: vec![later(sparse)],
        value_info: vec![later(value("dense"))],
        output: vec![value("dense")],
        quantization_annotation: vec![annotation],
        metadata_props: vec![entry("pkg.graph")],
        ..GraphProto::default()
    })
}

fn inner(name: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        type_: AttributeType::GRAPH.into(),
        g: MessageField::some(graph("inner")),
        ..AttributeProto::default()
    }
}

fn tensor_attribute(name: &str) -> AttributeProto {
    later(AttributeProto {
        name: name.to_owned(),
        type_: AttributeType::TENSORS.into(),
        tensors: graph("unused").initializer,
        ..AttributeProto::default()
    })
}

fn entry(key: &str) -> StringStringEntryProto {
    let (key, value) = (key.to_owned(), "dense".to_owned());
    StringStringEntryProto { key, value, ..StringStringEntryProto::default() }
}

/// The message with an unknown field.
fn later<M: Message>(mut message: M) -> M {
    let fields = message.mut_special_fields().mut_unknown_fields();
    fields.add_length_delimited(LATER_FIELD, b"of a later version".to_vec());
    message
}
