//! Tests of lossless packing, `inspect` and `unpack`.

use crate::support::{Folder, assert_same, classifier, convolution, shared};
use skysail_graph::{Model, Tensor};

#[test]
fn a_model_is_restored_exactly() {
    let folder = Folder::new();
    for model in [classifier().0, convolution()] {
        folder.model("small.onnx", &model);
        let message = folder.done(&["pack", "small.onnx"]);
        assert!(message.starts_with("small.sky: "), "{message}");
        folder.done(&["unpack", "small.sky", "-o", "again.onnx"]);
        assert_eq!(folder.load("again.onnx").to_bytes().unwrap(), model.to_bytes().unwrap());
        let message = folder.done(&["diff", "small.onnx", "small.sky"]);
        assert!(message.ends_with("all tensors are the same\n"), "{message}");
    }
}

#[test]
fn real_models_are_restored_exactly() {
    let names = ["resnet20-cifar10", "silero-vad-16k", "edge-float16", "triton-simple-string"];
    for name in names {
        let Some(path) = shared(&format!("models/{name}/model.onnx")) else { return };
        let folder = Folder::new();
        let path = path.to_str().unwrap();
        folder.done(&["pack", path, "-o", "packed.sky"]);
        folder.done(&["verify", "packed.sky"]);
        folder.done(&["unpack", "packed.sky"]);
        assert_same(&Model::load(path).unwrap(), &folder.load("packed.onnx"));
    }
}

#[test]
fn the_manifest_has_the_values_of_the_flags() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("digits")).unwrap();
    folder.model("digits/model.onnx", &classifier().0);
    folder.model("older.onnx", &convolution());
    let flags = ["--owner", "the lab", "--licence", "MIT", "--note", "a", "--note", "b"];
    let parent = ["--parent", "older.onnx", "-o", "digits.sky"];
    folder.done(&[&["pack", "digits/model.onnx"], &flags[..], &parent].concat());
    let manifest = &folder.json(&["inspect", "digits.sky"])["manifest"];
    assert_eq!(manifest["name"], "digits");
    assert_eq!((&manifest["owner"], &manifest["licence"]), (&"the lab".into(), &"MIT".into()));
    assert_eq!(manifest["notes"], serde_json::json!(["a", "b"]));
    let parents = manifest["parents"].as_array().unwrap();
    assert_eq!((parents.len(), &parents[1]["name"]), (2, &"older".into()));
    assert_eq!(parents[0]["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn inspect_shows_tensors_and_totals() {
    let folder = Folder::new();
    let mut model = classifier().0;
    // The weights have three values, and half of them are zero.
    let values: Vec<f32> = (0..512).map(|i| [0.0, 0.5, 0.0, -0.25][i * i % 11 % 4]).collect();
    model.set_initializer("fc0.weight", Tensor::new(&[32, 16], &values).unwrap());
    folder.model("m.onnx", &model);
    folder.done(&["pack", "m.onnx"]);
    let message = folder.done(&["inspect", "m.sky"]);
    let head = message.lines().find(|line| line.starts_with("tensor ")).unwrap();
    for column in ["shape", "kept", "code bits", "gap bits", "codec", "bytes", "share"] {
        assert!(head.contains(column), "{head}");
    }
    let row = message.lines().find(|line| line.starts_with("fc0.weight")).unwrap();
    assert!(row.contains("32x16") && row.contains("float32"), "{row}");
    let total = message.lines().find(|line| line.starts_with("4 tensors")).unwrap();

    let found = folder.json(&["inspect", "m.sky"]);
    let tensors = found["tensors"].as_array().unwrap();
    let weight = tensors.iter().find(|tensor| tensor["name"] == "fc0.weight").unwrap();
    let kept = values.iter().filter(|value| **value != 0.0).count();
    assert_eq!((weight["kept"].as_u64(), weight["count"].as_u64()), (Some(kept as u64), Some(512)));
    assert!(weight["bytes"].as_u64().unwrap() < 300, "{weight}");
    let shares: f64 = tensors.iter().map(|tensor| tensor["share"].as_f64().unwrap()).sum();
    assert!(total.contains(&format!("{:.2} %", 100.0 * shares)), "{total}");
    let file = std::fs::metadata(folder.path("m.sky")).unwrap().len();
    assert_eq!(found["bytes"], file);
}

#[test]
fn inspect_draws_weights() {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    folder.done(&["pack", "m.onnx", "--bits", "3"]);
    folder.done(&["inspect", "m.sky", "--plot", "weights.svg"]);
    let drawing = std::fs::read_to_string(folder.path("weights.svg")).unwrap();
    assert!(drawing.starts_with("<svg") && drawing.contains("fc0.weight"));
    assert!(drawing.contains("of 8 values"));
}

#[test]
fn unpack_does_not_replace_a_file_by_default() {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    folder.done(&["pack", "m.onnx", "--bits", "2"]);
    let message = folder.fails(2, &["unpack", "m.sky"]);
    assert!(message.contains("m.onnx is there already: name the file with -o"), "{message}");
    assert_same(&folder.load("m.onnx"), &classifier().0);
    folder.done(&["unpack", "m.sky", "-o", "m.onnx"]);
}
