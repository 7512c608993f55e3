//! Tests of bad input: each error says what is wrong and what to do, and nothing is written.

use crate::support::{Folder, can_run, classifier};
use skysail_graph::Tensor;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    folder
}

#[test]
fn bad_usage_is_an_error_with_a_hint() {
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
        let message = folder.fails(2, args);
        assert!(message.contains(expected), "{args:?}: {message}");
    }
    assert_eq!(folder.files(), ["m.onnx", "p.sky"]);
    let message = folder.fails(1, &["pack", "p.sky", "-o", "q.sky"]);
    assert!(message.contains("it is a package already: `skysail-pack unpack`"), "{message}");
}

#[test]
fn help_has_examples() {
    let folder = folder();
    for command in ["pack", "unpack", "inspect", "verify", "diff", "keygen"] {
        let message = folder.done(&[command, "--help"]);
        assert!(message.contains("Examples:\n  skysail-pack "), "{message}");
    }
}

#[test]
fn an_error_suggests_layers_for_an_unknown_name() {
    let folder = folder();
    for flag in ["--prune-layer", "--bits-layer"] {
        let message = folder.fails(2, &["pack", "m.onnx", flag, "fc1.wieght=1"]);
        assert!(message.contains("no layer 'fc1.wieght'"), "{message}");
        assert!(message.contains("the nearest are 'fc1.weight'"), "{message}");
    }
}

#[test]
fn an_error_in_a_recipe_names_the_line_and_the_key() {
    let folder = folder();
    let cases = [
        ("prune = 0.3\nbist = 5\n", "line 2"),
        ("prune = 0.3\nbits = \"five\"\n", "line 2"),
        ("bits = 5\n[prune-layer]\n\"fc0.wieght\" = 0.1\n", "bad.toml:3: the model has no layer"),
        ("init = \"linear\"\n", "`init` needs `bits`"),
    ];
    for (recipe, expected) in cases {
        std::fs::write(folder.path("bad.toml"), recipe).unwrap();
        let message = folder.fails(64, &["pack", "m.onnx", "--recipe", "bad.toml"]);
        assert!(message.contains(expected), "{message}");
    }
    let message = folder.fails(64, &["pack", "m.onnx", "--recipe", "none.toml"]);
    assert!(message.contains("cannot read none.toml"), "{message}");
    assert_eq!(folder.files(), ["bad.toml", "m.onnx"]);
}

#[test]
fn an_error_says_why_data_does_not_fit() {
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
            let message = folder.fails(1, &["pack", "m.onnx", flag, "d.npz"]);
            assert!(message.contains("cannot use the data in d.npz"), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    }
    std::fs::write(folder.path("d.npz"), b"no archive").unwrap();
    let message = folder.fails(1, &["pack", "m.onnx", "--data", "d.npz"]);
    assert!(message.contains("it is no .npz file"), "{message}");
    assert_eq!(folder.files(), ["d.npz", "m.onnx"]);
}

#[test]
fn files_of_another_kind_are_rejected() {
    let folder = folder();
    std::fs::write(folder.path("text.onnx"), b"not a model").unwrap();
    let message = folder.fails(1, &["pack", "text.onnx"]);
    assert!(message.contains("cannot use the model text.onnx: not a valid ONNX file"), "{message}");
    let message = folder.fails(1, &["pack", "none.onnx"]);
    assert!(
        message.contains("none.onnx") && message.matches("No such file").count() == 1,
        "{message}"
    );
    std::fs::write(folder.path("other.sky"), b"not a package").unwrap();
    for command in ["unpack", "inspect", "verify"] {
        let message = folder.fails(1, &[command, "other.sky"]);
        assert!(message.contains("not a .sky package"), "{message}");
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
    let message = folder.fails(1, &["verify", "bad.sky"]);
    assert!(message.contains("tensor 'fc") && message.contains("at byte "), "{message}");
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
fn an_error_about_a_missing_runtime_names_the_setup_command() {
    let folder = folder();
    folder.npz("rows.npz", &[("input", classifier().1)]);
    let mut command = folder.command(&["pack", "m.onnx", "--data", "rows.npz"]);
    let output = command.env("SKYSAIL_ONNXRUNTIME", "nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("ONNX Runtime is missing") && message.contains("cargo xtask setup"),
        "{message}"
    );
    assert_eq!(folder.files(), ["m.onnx", "rows.npz"]);
}

#[test]
fn a_model_that_cannot_run_is_an_error_only_with_data() {
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
    let message = folder.fails(1, &["pack", "own.onnx", "--data", "rows.npz"]);
    assert!(message.contains("cannot run the original"), "{message}");
    folder.done(&["pack", "own.onnx"]);
    let message = folder.done(&["unpack", "own.sky", "-o", "u.onnx"]);
    assert!(
        message.contains("operators of other domains than ONNX's stayed: my.own."),
        "{message}"
    );
}
