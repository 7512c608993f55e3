//! Runs models with ONNX Runtime.

use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;
use skysail_graph::Model;
use skysail_trainer::{Input, Values};
use std::path::PathBuf;

/// The model's first output for `input`.
pub(crate) fn run(model: &Model, input: &Input) -> Vec<f32> {
    let environment = skysail_onnxruntime::load(None).unwrap_or_else(|error| panic!("{error}"));
    let builder = Session::builder(&environment).unwrap();
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

/// Path of a real model, if available.
pub(crate) fn real(model: &str) -> Option<PathBuf> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/models");
    let path = PathBuf::from(data).join(model).join("model.onnx");
    let is_there = path.is_file();
    if !is_there {
        println!("skipped: there is no {}", path.display());
    }
    is_there.then_some(path)
}
