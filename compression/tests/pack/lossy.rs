//! Tests of lossy packing.

use crate::support::{Folder, can_run, classifier, convolution, noise};
use skysail_graph::{Dim, ElementType, GraphBuilder, Model, Tensor};

/// Returns the number of nonzero weights of a tensor, and of their distinct values.
fn kept(model: &Model, name: &str) -> (usize, usize) {
    let view = model.graph().initializer(name).unwrap();
    let values = view.as_f32().unwrap();
    let mut left: Vec<f32> = values.iter().copied().filter(|value| *value != 0.0).collect();
    let kept = left.len();
    left.sort_by(f32::total_cmp);
    left.dedup();
    (kept, left.len())
}

#[test]
fn weights_are_pruned_and_shared() {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    let flags = ["--prune", "25%", "--prune-layer", "fc1.weight=0.5", "--bits", "3"];
    let layer = ["--bits-layer", "fc1.weight=2", "--init", "density"];
    let message = folder.done(&[&["pack", "m.onnx"], &flags[..], &layer].concat());
    assert!(message.contains("prune") && message.contains("12 values, density start"), "{message}");
    folder.done(&["unpack", "m.sky", "-o", "u.onnx"]);
    let model = folder.load("u.onnx");
    assert_eq!(kept(&model, "fc0.weight"), (128, 8));
    assert_eq!(kept(&model, "fc1.weight"), (64, 4));
    let manifest = &folder.json(&["inspect", "m.sky"])["manifest"];
    let words: Vec<&str> = manifest["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["what"].as_str().unwrap())
        .collect();
    assert_eq!(words, ["prune", "cluster"]);
    assert_eq!(manifest["tensors"]["fc1.weight"][1]["settings"]["bits"], 2);
    let found = folder.json(&["diff", "m.onnx", "m.sky"]);
    let changes = found["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 2);
    assert_eq!((&changes[0]["what"], &changes[0]["b"]["kept"]), (&"changed".into(), &0.25.into()));
    assert!(changes[0]["difference_max"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_recipe_has_the_same_effect_as_flags() {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    let recipe = "threshold = 0.1\nbits = 3\n[bits-layer]\n\"fc1.weight\" = 2\n";
    std::fs::write(folder.path("small.toml"), recipe).unwrap();
    folder.done(&["pack", "m.onnx", "--recipe", "small.toml", "-o", "recipe.sky"]);
    let flags = ["--threshold", "0.1", "--bits", "3", "--bits-layer", "fc1.weight=2"];
    folder.done(&[&["pack", "m.onnx", "-o", "flags.sky"], &flags[..]].concat());
    let read = |file| std::fs::read(folder.path(file)).unwrap();
    assert_eq!(read("recipe.sky"), read("flags.sky"));
    folder.done(&["pack", "m.onnx", "--recipe", "small.toml", "--bits", "4", "-o", "both.sky"]);
    folder.done(&["unpack", "both.sky"]);
    assert_eq!(kept(&folder.load("both.onnx"), "fc0.weight").1, 16);
}

#[test]
fn weights_are_stored_in_halves() {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    folder.done(&["pack", "m.onnx", "--half", "bf16"]);
    folder.done(&["unpack", "m.sky", "-o", "u.onnx"]);
    let model = folder.load("u.onnx");
    let element = |name| model.graph().initializer(name).unwrap().element();
    assert_eq!(element("fc0.weight"), ElementType::BFloat16);
}

#[test]
fn int4_unpacks_to_standard_operators() {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    folder.done(&["pack", "m.onnx", "--int4"]);
    let found = folder.json(&["diff", "m.onnx", "m.sky"]);
    assert_eq!(found["operators"]["MatMulNBits"], 2);
    let message = folder.done(&["unpack", "m.sky", "-o", "u.onnx"]);
    assert!(!message.contains("other domains"), "{message}");
    let model = folder.load("u.onnx");
    assert!(model.graph().nodes().all(|node| node.domain().is_empty()));
}

#[test]
fn static_int8_is_calibrated() {
    if !can_run() {
        return;
    }
    let folder = Folder::new();
    folder.model("m.onnx", &convolution());
    let images = Tensor::new(&[20, 3, 8, 8], &noise(5, 20 * 192)).unwrap();
    folder.npz("images.npz", &[("image", images)]);
    for ranges in ["min-max", "percentile", "entropy"] {
        let flags = ["--int8", "static", "--calibrate", "images.npz", "--range-rule", ranges];
        let message = folder.done(&[&["pack", "m.onnx", "--force"], &flags[..]].concat());
        assert!(message.contains("int8     "), "{message}");
        let found = folder.json(&["diff", "m.onnx", "m.sky"]);
        assert!(found["operators"]["DequantizeLinear"].as_i64().unwrap() > 0, "{found}");
    }
}

#[test]
fn int8_is_timed_and_float32_may_stay() {
    if !can_run() {
        return;
    }
    let folder = Folder::new();
    let (model, rows) = classifier();
    folder.model("m.onnx", &model);
    folder.npz("rows.npz", &[("input", rows)]);
    let flags = ["pack", "m.onnx", "--int8", "dynamic", "--calibrate", "rows.npz"];
    let found = folder.json(&flags);
    let speed = found["speed"].as_array().unwrap();
    assert_eq!((&speed[0]["rows"], &speed[1]["rows"]), (&1.into(), &16.into()));
    let ratio = |cell: &serde_json::Value| {
        cell["float32_ms"].as_f64().unwrap() / cell["int8_ms"].as_f64().unwrap()
    };
    let faster = ratio(&speed[0]) * ratio(&speed[1]) > 1.02 * 1.02;
    let kept = found["notes"].as_array().unwrap().iter().any(|note| {
        note.as_str().unwrap().starts_with("float32 kept, as dynamic int8 was no faster")
    });
    assert_eq!(faster, !kept, "{found}");
    let same = folder.json(&["diff", "m.onnx", "m.sky"])["changes"].as_array().unwrap().is_empty();
    assert_eq!(same, kept);
}

#[test]
fn dynamic_int8_is_smoothed_where_there_are_typical_inputs() {
    if !can_run() {
        return;
    }
    let folder = Folder::new();
    let (model, rows) = classifier();
    folder.model("m.onnx", &model);
    folder.npz("rows.npz", &[("input", rows)]);
    let pack = ["pack", "m.onnx", "--int8", "dynamic", "--force"];
    let steps = |more: &[&str]| folder.json(&[&pack, more].concat())["steps"].clone();
    assert_eq!(steps(&["--calibrate", "rows.npz"])[0]["settings"]["smooth"], true);
    assert!(steps(&["--data", "rows.npz"])[0]["settings"]["smooth"].is_null());
}

/// Builds the difference of two nearly equal inputs, which int8 loses.
fn cancelling() -> Model {
    let mut builder = GraphBuilder::new("cancelling");
    let dims = [Dim::from("batch"), Dim::from(2)];
    builder
        .input("x", ElementType::Float32, &dims)
        .initializer("w", Tensor::new(&[2, 1], &[1.0_f32, -0.999]).unwrap())
        .node("MatMul", &["x", "w"], &["y"], &[])
        .output("y", ElementType::Float32, &[Dim::from("batch"), Dim::from(1)]);
    builder.finish().unwrap()
}

#[test]
fn an_unexplained_difference_is_rejected() {
    if !can_run() {
        return;
    }
    let folder = Folder::new();
    folder.model("m.onnx", &cancelling());
    folder.npz("rows.npz", &[("x", Tensor::new(&[4, 2], &[1.0_f32; 8]).unwrap())]);
    let pack = ["pack", "m.onnx", "--int8", "dynamic", "--force", "--data", "rows.npz"];
    let message = folder.fails(1, &pack);
    assert!(message.contains("output 'y' differs by 1.000 of its size"), "{message}");
    assert!(message.contains("--accept-difference"), "{message}");
    assert_eq!(folder.files(), ["m.onnx", "rows.npz"]);
    let message = folder.done(&[&pack[..], &["--accept-difference"]].concat());
    assert!(message.contains("accepted: output 'y'"), "{message}");
}

#[test]
fn outputs_are_compared_on_synthetic_inputs_without_data() {
    if !can_run() {
        return;
    }
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    for flags in [
        &["--int8", "dynamic", "--force"][..],
        &["--half", "fp16"],
        &["--int4"],
        &["--prune", "50%"],
    ] {
        let found = folder.json(&[&["pack", "m.onnx"], flags].concat());
        let check = &found["checks"][0];
        assert_eq!(check["inputs"], "synthetic inputs", "{found}");
        assert!(check["difference"].as_f64().unwrap() < 0.9, "{found}");
    }
}

#[test]
fn weights_that_would_become_zero_stay_and_are_reported() {
    let folder = Folder::new();
    let mut model = classifier().0;
    model.set_initializer("fc0.weight", Tensor::new(&[32, 16], &[1e-37_f32; 512]).unwrap());
    folder.model("m.onnx", &model);
    for flags in [&["--half", "fp16"][..], &["--int8", "dynamic", "--force"], &["--int4"]] {
        let message = folder.done(&[&["pack", "m.onnx"], flags].concat());
        assert!(
            message.contains("'fc0.weight' stayed as it was") && message.contains("1e-37"),
            "{message}"
        );
        folder.done(&["unpack", "m.sky", "-o", "u.onnx"]);
        let weight = folder.load("u.onnx").graph().initializer("fc0.weight").unwrap().element();
        assert_eq!(weight, ElementType::Float32);
    }
}

#[test]
fn inspect_describes_the_codes() {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    folder.done(&["pack", "m.onnx", "--int8", "dynamic", "--force"]);
    let message = folder.done(&["inspect", "m.sky"]);
    assert!(message.contains("unsigned, 128 is zero"), "{message}");
}
