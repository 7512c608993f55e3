//! Repositories for tests, and models for one purpose each.

use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Model, Tensor, mlp};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const FLOAT: ElementType = ElementType::Float32;

/// A temporary folder of models.
pub(crate) struct Models(TempDir);

impl Models {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder with the model `digits` of this project.
    pub(crate) fn digits() -> Self {
        let models = Self::empty();
        models.write("digits/1/model.onnx", shipped("digits/1/model.onnx"));
        models
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, such as `NAME/1/model.onnx`, atomically.
    pub(crate) fn write(&self, file: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let unseen = self.path().join(".unseen");
        fs::write(&unseen, bytes).unwrap();
        fs::rename(unseen, path).unwrap();
        self
    }

    /// Writes a model as version 1.
    pub(crate) fn add(&self, name: &str, model: &Model) -> &Self {
        self.add_version(name, 1, model)
    }

    /// Writes a version of a model.
    pub(crate) fn add_version(&self, name: &str, version: u64, model: &Model) -> &Self {
        self.write(&format!("{name}/{version}/model.onnx"), model.to_bytes().unwrap())
    }

    /// Deletes a folder, such as `NAME` or `NAME/2`.
    pub(crate) fn delete(&self, folder: &str) {
        fs::remove_dir_all(self.path().join(folder)).unwrap();
    }
}

/// Bytes of a file in this project's folder `models`.
pub(crate) fn shipped(file: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(file)).unwrap()
}

/// A request for `digits`.
pub(crate) fn digits_request() -> Vec<u8> {
    shipped("digits/example.json")
}

/// A model in the data folder beside the workspace; prints a note and returns `None` if absent.
#[expect(clippy::print_stdout, reason = "says that a test was skipped")]
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/models");
    let path = folder.join(name).join("model.onnx");
    if !path.is_file() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    Some(path)
}

/// `y = x + value`, for x of float32 `[batch, 2]`. Its requests share runs.
pub(crate) fn add(value: f32) -> Model {
    let dims = [Dim::from("batch"), Dim::from(2)];
    let mut graph = GraphBuilder::new("add");
    graph
        .input("x", FLOAT, &dims)
        .initializer("value", Tensor::new(&[], &[value]).unwrap())
        .node("Add", &["x", "value"], &["y"], &[])
        .output("y", FLOAT, &dims);
    graph.finish().unwrap()
}

/// A request for [`add`] of one row.
pub(crate) const ADD_REQUEST: &str =
    r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}"#;

/// `y = x`, for x of float32 `[batch, any]`.
pub(crate) fn same() -> Model {
    let dims = [Dim::from("batch"), Dim::Unknown];
    let mut graph = GraphBuilder::new("same");
    graph.input("x", FLOAT, &dims).node("Identity", &["x"], &["y"], &[]).output("y", FLOAT, &dims);
    graph.finish().unwrap()
}

/// `y = x`, for texts x of `[any]`.
pub(crate) fn texts() -> Model {
    let mut graph = GraphBuilder::new("texts");
    graph
        .input("x", ElementType::String, &[Dim::Unknown])
        .node("Identity", &["x"], &["y"], &[])
        .output("y", ElementType::String, &[Dim::Unknown]);
    graph.finish().unwrap()
}

/// Reduces all elements of x, float32 `[batch, any]`, by an operator such as `ReduceSum`.
pub(crate) fn over_all(op_type: &str) -> Model {
    let mut graph = GraphBuilder::new("over all");
    graph
        .input("x", FLOAT, &[Dim::from("batch"), Dim::Unknown])
        .node(op_type, &["x"], &["y"], &[("keepdims", Attribute::Int(0))])
        .output("y", FLOAT, &[]);
    graph.finish().unwrap()
}

/// `y = mean(x)` over the second dimension, for x of float32 `[batch, any]`.
pub(crate) fn mean() -> Model {
    let batch = Dim::from("batch");
    let mut graph = GraphBuilder::new("mean");
    let axes = [("axes", Attribute::Ints(vec![1])), ("keepdims", Attribute::Int(0))];
    graph
        .input("x", FLOAT, &[batch.clone(), Dim::Unknown])
        .node("ReduceMean", &["x"], &["y"], &axes)
        .output("y", FLOAT, &[batch]);
    graph.finish().unwrap()
}

/// A model with an unknown operator.
pub(crate) fn unsupported() -> Model {
    let dims = [Dim::from("batch")];
    let mut graph = GraphBuilder::new("unsupported");
    graph.input("x", FLOAT, &dims).node("NoSuchOperator", &["x"], &["y"], &[]);
    graph.output("y", FLOAT, &dims);
    graph.finish().unwrap()
}

/// Takes some hundred milliseconds for a request: a chain of products of large matrices.
///
/// x and y are float32 `[1]`, so requests run one by one.
pub(crate) fn slow() -> Model {
    const SIDE: u64 = 512;
    const STEPS: usize = 60;
    let matrix = vec![1.0 / SIDE as f32; (SIDE * SIDE) as usize];
    let mut graph = GraphBuilder::new("slow");
    graph
        .input("x", FLOAT, &[Dim::from(1)])
        .initializer("matrix", Tensor::new(&[SIDE, SIDE], &matrix).unwrap())
        .node("Add", &["x", "matrix"], &["step0"], &[]);
    for step in 1..=STEPS {
        let (from, to) = (format!("step{}", step - 1), format!("step{step}"));
        graph.node("MatMul", &[&from, "matrix"], &[&to], &[]);
    }
    let last = format!("step{STEPS}");
    graph
        .node("ReduceMean", &[&last], &["mean"], &[("keepdims", Attribute::Int(0))])
        .initializer("shape", Tensor::new(&[1], &[1_i64]).unwrap())
        .node("Reshape", &["mean", "shape"], &["y"], &[])
        .output("y", FLOAT, &[Dim::from(1)]);
    graph.finish().unwrap()
}

/// A request for [`slow`].
pub(crate) const SLOW_REQUEST: &str =
    r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}"#;

/// Runs for as long as a request asks: a thousand products of matrices of `x + 32` rows.
///
/// Each product is a node. x is int64 `[1]`, and y a float32.
pub(crate) fn as_long_as_wanted() -> Model {
    const STEPS: usize = 1000;
    let mut graph = GraphBuilder::new("as_long_as_wanted");
    graph
        .input("x", ElementType::Int64, &[Dim::from(1)])
        .initializer("least", Tensor::new(&[1], &[32_i64]).unwrap())
        .node("Add", &["x", "least"], &["side"], &[])
        .node("Concat", &["side", "side"], &["sides"], &[("axis", Attribute::Int(0))])
        .node("ConstantOfShape", &["sides"], &["step0"], &[]);
    for step in 1..=STEPS {
        let (from, to) = (format!("step{}", step - 1), format!("step{step}"));
        graph.node("MatMul", &[&from, &from], &[&to], &[]);
    }
    let last = format!("step{STEPS}");
    graph.node("ReduceMean", &[&last], &["y"], &[("keepdims", Attribute::Int(0))]).output(
        "y",
        FLOAT,
        &[],
    );
    graph.finish().unwrap()
}

/// A request for [`as_long_as_wanted`] that runs for milliseconds, with a timeout.
pub(crate) fn short_request(timeout_us: u64) -> String {
    format!(
        r#"{{"parameters": {{"timeout": {timeout_us}}},
            "inputs": [{{"name": "x", "shape": [1], "datatype": "INT64", "data": [0]}}]}}"#
    )
}

/// A request for [`as_long_as_wanted`] that runs for minutes.
pub(crate) const LONG_REQUEST: &str =
    r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [2016]}]}"#;

/// Settings of a model whose batches wait for `rows` rows, or `ms` milliseconds.
pub(crate) fn waits(rows: usize, ms: u64) -> String {
    format!("max_batch_size = {rows}\n[batching]\nmax_delay_us = {ms}000\n")
}

/// A multi-layer perceptron of a few kilobytes, float32 `[batch, 4]` to `[batch, 3]`.
pub(crate) fn small_mlp(seed: u64) -> Model {
    mlp(&[4, 8, 3], seed).unwrap()
}

/// Products of matrices whose side is the length of x. x is float32 `[any]`, and y a float32.
pub(crate) fn grows() -> Model {
    const STEPS: usize = 20;
    let mut graph = GraphBuilder::new("grows");
    graph
        .input("x", FLOAT, &[Dim::Unknown])
        .initializer("column", Tensor::new(&[2], &[-1_i64, 1]).unwrap())
        .initializer("row", Tensor::new(&[2], &[1_i64, -1]).unwrap())
        .node("Reshape", &["x", "column"], &["x_column"], &[])
        .node("Reshape", &["x", "row"], &["x_row"], &[])
        .node("MatMul", &["x_column", "x_row"], &["step0"], &[]);
    for step in 1..=STEPS {
        let (from, to) = (format!("step{}", step - 1), format!("step{step}"));
        graph.node("MatMul", &[&from, &from], &[&to], &[]);
    }
    let last = format!("step{STEPS}");
    graph.node("ReduceMax", &[&last], &["y"], &[("keepdims", Attribute::Int(0))]).output(
        "y",
        FLOAT,
        &[],
    );
    graph.finish().unwrap()
}
