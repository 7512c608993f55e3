//! Runs models with ONNX Runtime.

use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;
use skysail_graph::Model;
use skysail_trainer::{Input, Values};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The folder of the shared library, brought by `cargo xtask setup`.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/onnxruntime/lib");

fn environment() -> Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    let load = || {
        let folder = std::env::var_os("SKYSAIL_ONNXRUNTIME").map_or(FOLDER.into(), PathBuf::from);
        let library = if folder.is_dir() { folder.join("libonnxruntime.so") } else { folder };
        let environment = ort::init_from(library).expect("run `cargo xtask setup` first");
        let environment = environment.with_telemetry(false).build().unwrap();
        environment.set_log_level(ort::logging::LogLevel::Error);
        environment
    };
    ENVIRONMENT.get_or_init(load).clone()
}

/// The model's first output for `input`.
pub(crate) fn run(model: &Model, input: &Input) -> Vec<f32> {
    let builder = Session::builder(&environment()).unwrap();
    let builder = builder.with_optimization_level(GraphOptimizationLevel::Disable).unwrap();
    let mut builder = builder.with_intra_threads(1).unwrap();
    let mut session = builder.commit_from_memory(&model.to_bytes().unwrap()).unwrap();
    let graph = model.graph();
    let (name, output) = (graph.inputs()[0].name.clone(), graph.outputs()[0].name.clone());
    let outputs = session.run(vec![(name, value(input))]).unwrap();
    outputs[output.as_str()].try_extract_tensor::<f32>().unwrap().1.to_vec()
}

fn value(input: &Input) -> SessionInputValue<'static> {
    let shape: Vec<i64> = input.shape.iter().map(|dim| *dim as i64).collect();
    match &input.values {
        Values::Float32(values) => Tensor::from_array((shape, values.clone())).unwrap().into(),
        Values::Int64(values) => Tensor::from_array((shape, values.clone())).unwrap().into(),
    }
}

/// The file of a real model, where it is at hand.
pub(crate) fn real(model: &str) -> Option<PathBuf> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/models");
    let path = PathBuf::from(data).join(model).join("model.onnx");
    let is_there = path.is_file();
    if !is_there {
        println!("skipped: there is no {}", path.display());
    }
    is_there.then_some(path)
}
