//! Tests of bad input: each error says what is wrong and what to do, and nothing is written.

use crate::support::{Folder, can_run, classifier};
use skysail_graph::Tensor;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    folder
}

#[test]
fn bad_usage_is_told() {
    let folder = folder();
    folder.done(&["pack", "m.onnx", "-o", "p.sky"]);
    let cases: [(&[&str], &str); 13] = [
        (&[], "Usage"),
        (&["pack"], "MODEL"),
        (&["pack", "m.onnx", "--prune", "1.5"], "write 0.3 or 30%"),
        (&["pack", "m.onnx", "--prune-layer", "fc0.weight"], "NAME=VALUE"),
        (&["pack", "m.onnx", "--prune", "0.1", "--threshold", "1"], "exclude each other"),
        (&["pack", "m.onnx", "--int8", "static"], "--calibrate must give typical inputs"),
        (&["pack", "m.onnx", "--max-loss", "1%"], "--max-loss needs --data\n"),
        (&["pack", "m.onnx", "--bits", "17"], "it must be 1 to 16"),
        (&["pack", "m.onnx", "-o", "m.onnx"], "would replace the model"),
        (&["pack", "m.onnx", "-o", "none/m.sky"], "there is no folder none, make it first"),
        (&["pack", "m.onnx", "-o", "."], "is a folder"),
        (&["unpack", "p.sky", "-o", "none/m.onnx"], "there is no folder none"),
        (&["inspect", "p.sky", "--plot", "none/m.svg"], "there is no folder none"),
    ];
    for (args, expected) in cases {
        let said = folder.fails(2, args);
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    assert_eq!(folder.files(), ["m.onnx", "p.sky"]);
    let said = folder.fails(1, &["pack", "p.sky", "-o", "q.sky"]);
    assert!(said.contains("it is a package already: `skysail-pack unpack`"), "{said}");
}

#[test]
fn help_has_examples() {
    let folder = folder();
    for command in ["pack", "unpack", "inspect", "verify", "diff", "keygen"] {
        let said = folder.done(&[command, "--help"]);
        assert!(said.contains("Examples:\n  skysail-pack "), "{said}");
    }
}

#[test]
fn an_unknown_layer_is_told_with_those_near_it() {
    let folder = folder();
    for flag in ["--prune-layer", "--bits-layer"] {
        let said = folder.fails(2, &["pack", "m.onnx", flag, "fc1.wieght=1"]);
        assert!(said.contains("no layer 'fc1.wieght'"), "{said}");
        assert!(said.contains("the nearest are 'fc1.weight'"), "{said}");
    }
}

#[test]
fn a_bad_recipe_is_told_with_line_and_key() {
    let folder = folder();
    let cases = [
        ("prune = 0.3\nbist = 5\n", "line 2"),
        ("prune = 0.3\nbits = \"five\"\n", "line 2"),
        ("bits = 5\n[prune-layer]\n\"fc0.wieght\" = 0.1\n", "bad.toml:3: the model has no layer"),
        ("init = \"linear\"\n", "`init` needs `bits`"),
    ];
    for (recipe, expected) in cases {
        std::fs::write(folder.path("bad.toml"), recipe).unwrap();
        let said = folder.fails(64, &["pack", "m.onnx", "--recipe", "bad.toml"]);
        assert!(said.contains(expected), "{said}");
    }
    let said = folder.fails(64, &["pack", "m.onnx", "--recipe", "none.toml"]);
    assert!(said.contains("cannot read none.toml"), "{said}");
    assert_eq!(folder.files(), ["bad.toml", "m.onnx"]);
}

#[test]
fn data_that_does_not_fit_is_told() {
    let folder = folder();
    let rows = || classifier().1;
    let floats = |shape: &[u64]| {
        let count = shape.iter().product::<u64>() as usize;
        Tensor::new(shape, &vec![0.0_f32; count]).unwrap()
    };
    let cases: [(&[(&str, Tensor)], &str); 6] = [
        (&[("inputs", rows())], "the model has no input 'inputs': arrays are named as its inputs"),
        (&[], "there is no array for the input 'input'"),
        (&[("input", floats(&[4, 15]))], "must be float32 tensor [batch, 16]"),
        (&[("input", Tensor::new(&[1, 16], &[0.0_f64; 16]).unwrap())], "is of float64"),
        (&[("input", floats(&[0, 16]))], "there are no rows"),
        (
            &[("input", rows()), ("labels", Tensor::new(&[3], &[0_i64; 3]).unwrap())],
            "there are 3 labels for 40 rows",
        ),
    ];
    for (arrays, expected) in cases {
        folder.npz("d.npz", arrays);
        for flag in ["--data", "--calibrate"] {
            let said = folder.fails(1, &["pack", "m.onnx", flag, "d.npz"]);
            assert!(said.contains("cannot use the data in d.npz"), "{said}");
            assert!(said.contains(expected), "{said}");
        }
    }
    std::fs::write(folder.path("d.npz"), b"no archive").unwrap();
    let said = folder.fails(1, &["pack", "m.onnx", "--data", "d.npz"]);
    assert!(said.contains("it is no .npz file"), "{said}");
    assert_eq!(folder.files(), ["d.npz", "m.onnx"]);
}

#[test]
fn files_that_are_something_else_are_told() {
    let folder = folder();
    std::fs::write(folder.path("text.onnx"), b"not a model").unwrap();
    let said = folder.fails(1, &["pack", "text.onnx"]);
    assert!(said.contains("cannot use the model text.onnx: not a valid ONNX file"), "{said}");
    let said = folder.fails(1, &["pack", "none.onnx"]);
    assert!(said.contains("none.onnx") && said.matches("No such file").count() == 1, "{said}");
    std::fs::write(folder.path("other.sky"), b"not a package").unwrap();
    for command in ["unpack", "inspect", "verify"] {
        let said = folder.fails(1, &[command, "other.sky"]);
        assert!(said.contains("not a .sky package"), "{said}");
    }
    assert!(folder.fails(1, &["diff", "m.onnx", "text.onnx"]).contains("text.onnx"));
}

#[test]
fn a_damaged_package_names_tensor_and_offset() {
    let folder = folder();
    folder.done(&["pack", "m.onnx"]);
    let whole = std::fs::read(folder.path("m.sky")).unwrap();
    // The segments precede the digest, and are most of the file.
    let at = whole.len() * 3 / 5;
    let mut bytes = whole.clone();
    bytes[at] ^= 1;
    std::fs::write(folder.path("bad.sky"), &bytes).unwrap();
    let said = folder.fails(1, &["verify", "bad.sky"]);
    assert!(said.contains("tensor 'fc") && said.contains("at byte "), "{said}");
    assert!(folder.fails(1, &["unpack", "bad.sky"]).contains("tensor 'fc"));
    // The digest itself is damaged, then the file is cut off.
    let mut bytes = whole.clone();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(folder.path("bad.sky"), &bytes).unwrap();
    assert!(folder.fails(1, &["verify", "bad.sky"]).contains("changed or damaged"));
    std::fs::write(folder.path("bad.sky"), &whole[..at]).unwrap();
    assert!(folder.fails(1, &["verify", "bad.sky"]).contains("bad.sky: bad package"));
    assert_eq!(folder.files(), ["bad.sky", "m.onnx", "m.sky"]);
}

#[test]
fn a_missing_runtime_is_told_with_what_brings_it() {
    let folder = folder();
    folder.npz("rows.npz", &[("input", classifier().1)]);
    let mut command = folder.command(&["pack", "m.onnx", "--data", "rows.npz"]);
    let output = command.env("SKYSAIL_ONNXRUNTIME", "nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("ONNX Runtime is missing") && said.contains("cargo xtask setup"),
        "{said}"
    );
    assert_eq!(folder.files(), ["m.onnx", "rows.npz"]);
}

#[test]
fn a_model_that_no_runtime_takes_is_told() {
    if !can_run() {
        return;
    }
    let folder = folder();
    let mut model = folder.load("m.onnx");
    let mut edit = model.edit();
    edit.import("my.own", 1);
    let graph = model.graph();
    let node = graph.nodes().next().unwrap();
    edit.replace(node, [skysail_graph::NewNode::copy_of(node).domain("my.own")]);
    model.apply(edit).unwrap();
    folder.model("own.onnx", &model);
    folder.npz("rows.npz", &[("input", classifier().1)]);
    let said = folder.fails(1, &["pack", "own.onnx", "--data", "rows.npz"]);
    assert!(said.contains("cannot run the original"), "{said}");
    folder.done(&["pack", "own.onnx"]);
    let said = folder.done(&["unpack", "own.sky", "-o", "u.onnx"]);
    assert!(said.contains("operators of other domains than ONNX's stayed: my.own."), "{said}");
}
