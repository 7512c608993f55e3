//! Tests of the accuracy limit, and of comparisons with the original.

use crate::support::{Folder, can_run, classifier, shared};
use skysail_compression::npy;
use skysail_graph::Tensor;

/// Creates a folder with a classifier and rows for it.
fn folder() -> Option<Folder> {
    if !can_run() {
        return None;
    }
    let folder = Folder::new();
    let (model, rows) = classifier();
    folder.model("m.onnx", &model);
    folder.npz("rows.npz", &[("input", rows)]);
    Some(folder)
}

#[test]
fn a_package_that_loses_too_much_is_not_written() {
    let Some(folder) = folder() else { return };
    let gate = ["--data", "rows.npz", "--max-loss", "1%"];
    let message = folder.fails(1, &[&["pack", "m.onnx", "--prune", "2%"], &gate[..]].concat());
    assert!(message.contains("no package was written: it loses "), "{message}");
    assert!(message.contains("agreement with the original's top class on 40 rows"), "{message}");
    assert!(message.contains("and 1 % is allowed"), "{message}");
    assert_eq!(folder.files(), ["m.onnx", "rows.npz"]);
    let found = folder.json(&[&["pack", "m.onnx"], &gate[..]].concat());
    assert_eq!(found["comparison"]["loss"], 0.0);
    assert_eq!(folder.files(), ["m.onnx", "m.sky", "rows.npz"]);
}

#[test]
fn accuracy_and_statistics_go_into_the_manifest() {
    let Some(folder) = folder() else { return };
    let (_, rows) = classifier();
    let labels: Vec<i64> = (0..40).map(|row| row % 4).collect();
    let labels = Tensor::new(&[40], &labels).unwrap();
    folder.npz("labelled.npz", &[("input", rows), ("labels", labels)]);
    folder.done(&["pack", "m.onnx", "--bits", "4", "--data", "labelled.npz"]);
    let manifest = &folder.json(&["inspect", "m.sky"])["manifest"];
    let accuracy = &manifest["accuracy"][0];
    assert_eq!((&accuracy["measure"], &accuracy["data"]), (&"top1".into(), &"labelled.npz".into()));
    assert!(accuracy["before"].as_f64().unwrap() <= 1.0 && accuracy["after"].is_number());
    assert_eq!(manifest["data"]["labelled.npz"].as_str().unwrap().len(), 64);
    assert_eq!(manifest["inputs"]["input"]["count"], 640);
    assert_eq!(manifest["outputs"].as_object().unwrap().len(), 1);
}

#[test]
fn outputs_are_verified_against_the_original() {
    let Some(folder) = folder() else { return };
    folder.done(&["pack", "m.onnx", "--bits", "2"]);
    let verify = ["verify", "m.sky", "--data", "rows.npz", "--against", "m.onnx"];
    let found = folder.json(&[&verify[..], &["--measure", "cosine"]].concat());
    let output = &found["comparison"]["outputs"][0];
    let cosine = output["after"].as_f64().unwrap();
    assert!(cosine < 1.0 && cosine > 0.5, "{output}");
    let message = folder.fails(2, &[&verify[..], &["--compare-output", "outptu"]].concat());
    assert!(message.contains("the model has no output 'outptu'; the nearest are '"), "{message}");
    let strict = ["--measure", "cosine", "--max-loss", "0"];
    let message = folder.fails(1, &[&verify[..], &strict].concat());
    assert!(message.contains("of cosine similarity to the original"), "{message}");
}

#[test]
fn unpacked_int4_has_the_same_outputs() {
    let Some(folder) = folder() else { return };
    folder.done(&["pack", "m.onnx", "--int4"]);
    folder.done(&["unpack", "m.sky", "-o", "u.onnx"]);
    let worst = |against| {
        let data = ["--against", against, "--data", "rows.npz", "--measure", "cosine"];
        let found = folder.json(&[&["verify", "m.sky"], &data[..]].concat());
        found["comparison"]["outputs"][0]["worst"].as_f64().unwrap()
    };
    // The runtime's own operator rounds its inputs too.
    let (unpacked, original) = (worst("u.onnx"), worst("m.onnx"));
    assert!(unpacked > 0.9998 && unpacked > original, "{unpacked}, {original} to the original");
}

#[test]
fn a_folder_of_inputs_is_data_too() {
    let Some(folder) = folder() else { return };
    for set in 0..2 {
        let path = folder.path(&format!("sets/test_data_set_{set}"));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("input_0.npy"), npy::write(&classifier().1).unwrap()).unwrap();
    }
    let found = folder.json(&["pack", "m.onnx", "--data", "sets"]);
    assert_eq!(
        (&found["comparison"]["rows"], &found["comparison"]["data"]),
        (&80.into(), &"sets".into())
    );
    std::fs::remove_file(folder.path("sets/test_data_set_1/input_0.npy")).unwrap();
    let message = folder.fails(1, &["pack", "m.onnx", "--data", "sets"]);
    assert!(message.contains("test_data_set_1 has no input_0.npy or input_0.pb"), "{message}");
}

#[test]
fn a_real_model_agrees_with_itself() {
    let Some(model) = shared("models/resnet20-cifar10/model.onnx") else { return };
    if !can_run() {
        return;
    }
    let data = shared("models/resnet20-cifar10/test_data_set_0").unwrap();
    let folder = Folder::new();
    let flags = ["-o", "r.sky", "--data", data.to_str().unwrap(), "--max-loss", "0%"];
    let found = folder.json(&[&["pack", model.to_str().unwrap()], &flags[..]].concat());
    assert_eq!(found["comparison"]["measure"], "agreement");
    assert_eq!(found["comparison"]["rows"], 16);
    let original = ["--against", model.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let found = folder.json(&[&["verify", "r.sky"], &original[..]].concat());
    assert_eq!(found["comparison"]["outputs"][0]["difference_max"], 0.0);
}
