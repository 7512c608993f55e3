//! A temporary folder, models and data for it, and the program.

use serde_json::Value;
use skysail_compression::npy;
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Model, Tensor, mlp};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A temporary folder in which the program runs.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Returns the names of all files, in order.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skysail-pack"));
        command.current_dir(self.0.path()).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed, and returns its output.
    pub(crate) fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must succeed, and returns its JSON output.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[args, &["--output", "json"]].concat())).unwrap()
    }

    /// Runs a command that must fail with this status, and returns its error text.
    pub(crate) fn fails(&self, status: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{args:?}: {message}");
        assert!(output.stdout.is_empty(), "{args:?} printed a result");
        message
    }

    /// Saves a model in the folder.
    pub(crate) fn model(&self, file: &str, model: &Model) {
        model.save(self.path(file)).unwrap();
    }

    pub(crate) fn load(&self, file: &str) -> Model {
        Model::load(self.path(file)).unwrap()
    }

    /// Writes an `.npz` file.
    pub(crate) fn npz(&self, file: &str, arrays: &[(&str, Tensor)]) {
        let mut zip = ZipWriter::new(File::create(self.path(file)).unwrap());
        for (name, tensor) in arrays {
            zip.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
            zip.write_all(&npy::write(tensor).unwrap()).unwrap();
        }
        zip.finish().unwrap();
    }
}

/// Returns pseudorandom numbers between -1 and 1.
pub(crate) fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Returns a classifier of 16 numbers into 4 classes, and 40 rows.
pub(crate) fn classifier() -> (Model, Tensor) {
    (mlp(&[16, 32, 4], 3).unwrap(), Tensor::new(&[40, 16], &noise(1, 640)).unwrap())
}

/// Returns a model with a convolution, of the operator version that int8 needs.
pub(crate) fn convolution() -> Model {
    let mut builder = GraphBuilder::new("convolution");
    let dims = [Dim::from("batch"), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(8)];
    let out = [Dim::from("batch"), Dim::Fixed(8), Dim::Fixed(6), Dim::Fixed(6)];
    builder
        .input("image", ElementType::Float32, &dims)
        .initializer("w", Tensor::new(&[8, 3, 3, 3], &noise(2, 216)).unwrap())
        .initializer("b", Tensor::new(&[8], &noise(3, 8)).unwrap())
        .node("Conv", &["image", "w", "b"], &["sums"], &[("group", Attribute::Int(1))])
        .node("Relu", &["sums"], &["features"], &[])
        .output("features", ElementType::Float32, &out);
    builder.finish().unwrap()
}

/// Asserts that all initializers are the same bit for bit.
pub(crate) fn assert_same(a: &Model, b: &Model) {
    assert_eq!(a.graph().initializers().len(), b.graph().initializers().len());
    for (a, b) in a.graph().initializers().zip(b.graph().initializers()) {
        assert_eq!((a.name(), a.element()), (b.name(), b.element()));
        assert_eq!(a.shape().unwrap(), b.shape().unwrap());
        if a.element() == ElementType::String {
            assert_eq!(a.strings().unwrap(), b.strings().unwrap());
        } else {
            assert!(a.bytes().unwrap() == b.bytes().unwrap(), "{}", a.name());
        }
    }
}

/// Returns the path of a shared file; `None`, with a message, if there is none.
pub(crate) fn shared(file: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(file);
    if !path.exists() {
        println!("skipped: there is no {file}");
        return None;
    }
    Some(path)
}

/// Returns true if models can be run; prints a message if not.
pub(crate) fn can_run() -> bool {
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/onnxruntime/lib");
    let found = Path::new(library).exists();
    if !found {
        println!("skipped: ONNX Runtime is missing, `cargo xtask setup` brings it");
    }
    found
}
