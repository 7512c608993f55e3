//! Tests of loading, changing and saving models.

use super::*;
use crate::{ElementType, mlp};
use onnx_protobuf::{GraphProto, ValueInfoProto};

fn model(graph: GraphProto) -> Model {
    Model::from_proto(ModelProto { graph: MessageField::some(graph), ..ModelProto::default() })
}

/// A model with one external initializer `w`: three floats in `w.bin`.
fn external() -> Model {
    let tensor = TensorProto {
        name: "w".into(),
        data_type: ElementType::Float32.code(),
        dims: vec![3],
        external_data: vec![entry("location", "w.bin"), entry("length", "12")],
        data_location: DataLocation::EXTERNAL.into(),
        ..TensorProto::default()
    };
    model(GraphProto { initializer: vec![tensor], ..GraphProto::default() })
}

fn weights_file(folder: &Path) {
    let bytes: Vec<u8> = [1.0_f32, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(folder.join("w.bin"), bytes).unwrap();
}

#[test]
fn a_saved_model_loads_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let mut model = mlp(&[3, 2], 1).unwrap();
    model.set_metadata("task", "digits");
    model.set_metadata("task", "letters");
    model.save(&path).unwrap();
    let loaded = Model::load(&path).unwrap();
    assert_eq!(loaded.to_bytes().unwrap(), model.to_bytes().unwrap());
    assert_eq!(loaded.metadata().collect::<Vec<_>>(), [("task", "letters")]);
}

#[test]
fn bytes_and_files_that_are_no_model_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let message = |bytes: &[u8]| Model::from_bytes(bytes).unwrap_err().to_string();
    assert!(message(b"").contains("holds no graph"));
    assert!(message(b"hello, I am not a model").starts_with("not a valid ONNX file"));
    // A name that is not UTF-8: sound structure, bad field.
    assert!(message(&[0x12, 1, 0xFF]).starts_with("not a valid ONNX file"));
    let message = Model::load(folder.path()).unwrap_err().to_string();
    assert!(message.contains("cannot read") && message.contains("not a file"), "{message}");
    assert!(Model::load(folder.path().join("missing")).is_err());
}

#[test]
fn unknown_fields_are_kept() {
    // A graph, then fields 26 and 90 of some later version. The order in which they are written
    // does not matter.
    let later = [[0xD2, 1, 3, b'n', b'e', b'w'].as_slice(), &[0xD0, 5, 7]];
    let model = Model::from_bytes(&[&[0x3A, 0], later[0], later[1]].concat()).unwrap();
    let written = model.to_bytes().unwrap();
    let orders = [[later[0], later[1]].concat(), [later[1], later[0]].concat()];
    assert!(written.starts_with(&[0x3A, 0]) && orders.contains(&written[2..].to_vec()));
}

#[test]
fn external_data_are_read_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = external();
    let read = |model: &Model| {
        let view = model.graph().initializer("w").unwrap();
        Ok::<_, GraphError>(view.as_f32()?.into_owned())
    };
    assert!(read(&model).unwrap_err().to_string().contains("not loaded from a folder"));
    model.set_folder(folder.path());
    assert!(read(&model).unwrap_err().to_string().contains("cannot find"));
    weights_file(folder.path());
    assert_eq!(read(&model).unwrap(), [1.0, 2.0, 3.0]);
    assert!(model.graph().initializer("w").unwrap().is_external());
}

#[test]
fn external_data_are_saved_beside_their_file_or_inlined() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    weights_file(folder.path());
    let mut model = external();
    let elsewhere = other.path().join("model.onnx");
    assert!(matches!(model.save(&elsewhere), Err(GraphError::LeavesExternalData { .. })));
    model.set_folder(folder.path());
    assert!(matches!(model.save(&elsewhere), Err(GraphError::LeavesExternalData { .. })));

    let beside = folder.path().join("model.onnx");
    model.save(&beside).unwrap();
    let mut model = Model::load(&beside).unwrap();
    assert!(model.graph().initializer("w").unwrap().is_external());
    model.inline_external_data().unwrap();
    model.save(&elsewhere).unwrap();
    let moved = Model::load(&elsewhere).unwrap();
    let weight = moved.graph().initializer("w").unwrap();
    assert!(!weight.is_external());
    assert_eq!(*weight.as_f32().unwrap(), [1.0, 2.0, 3.0]);
}

#[test]
fn inlining_too_much_changes_nothing() {
    let mut model = external();
    let tensor = &mut model.proto.graph.mut_or_insert_default().initializer[0];
    tensor.dims = vec![1 << 40];
    assert!(matches!(model.inline_external_data(), Err(GraphError::TooLarge { .. })));
    assert!(model.graph().initializer("w").unwrap().is_external());
}

#[test]
fn initializers_are_replaced_everywhere() {
    let tensor = |name: &str| Tensor::new(&[1], &[1.0_f32]).unwrap().into_proto(name);
    let mut model = model(GraphProto {
        initializer: vec![tensor("a"), tensor("w"), tensor("b"), tensor("w")],
        input: vec![ValueInfoProto { name: "w".into(), ..ValueInfoProto::default() }],
        ..GraphProto::default()
    });
    assert!(model.graph().inputs().is_empty());
    model.set_initializer("w", Tensor::new(&[2], &[5_i64, 6]).unwrap());
    model.set_initializer("new", Tensor::new(&[], &[7_i64]).unwrap());
    let names: Vec<&str> = model.graph().initializers().map(|tensor| tensor.name()).collect();
    assert_eq!(names, ["a", "w", "b", "new"]);
    assert_eq!(*model.graph().initializer("w").unwrap().as_i64().unwrap(), [5, 6]);
    let input = ValueInfoProto::clone(&model.proto.graph.input[0]);
    assert_eq!(crate::ValueInfo::from_proto(&input).to_string(), "w: int64 tensor [2]");
}

#[test]
fn deep_models_need_little_stack() {
    // Branches inside branches: graph, node and attribute are three levels each.
    let delimited = |number: u8, content: &[u8]| {
        let length = content.len();
        let mut bytes = vec![number << 3 | 2, length as u8 | 0x80, (length >> 7) as u8];
        bytes.extend_from_slice(content);
        bytes
    };
    let deep = |levels: usize| {
        let graph = (0..levels)
            .fold(Vec::new(), |graph, _| delimited(1, &delimited(5, &delimited(6, &graph))));
        delimited(7, &graph)
    };
    let read = |levels| {
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        let bytes = deep(levels);
        let read = move || Model::from_bytes(&bytes).and_then(|model| model.to_bytes());
        thread.spawn(read).unwrap().join().unwrap()
    };
    assert!(read(33).is_ok());
    assert!(matches!(read(34), Err(GraphError::Malformed { .. })));
}

#[test]
fn a_moved_initializer_refers_to_its_file() {
    let folder = tempfile::tempdir().unwrap();
    weights_file(folder.path());
    let mut model = mlp(&[1, 3], 1).unwrap();
    model.move_initializer("fc0.bias", "w.bin");
    model.move_initializer("missing", "w.bin");
    assert!(!model.graph().initializer("fc0.weight").unwrap().is_external());
    let mut model = Model::from_bytes(&model.to_bytes().unwrap()).unwrap();
    model.set_folder(folder.path());
    let bias = model.graph().initializer("fc0.bias").unwrap();
    assert_eq!(bias.shape().unwrap(), [3]);
    assert_eq!(*bias.as_f32().unwrap(), [1.0, 2.0, 3.0]);
}
