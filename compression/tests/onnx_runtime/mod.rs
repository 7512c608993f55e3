//! Runs models with ONNX Runtime, and reads stored arrays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics")]
#![allow(clippy::print_stdout, reason = "says what it skips")]
#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod data;

use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::Tensor as OrtTensor;
use skysail_compression::{Run, Runner, RunnerError, bytes_with_outputs, npy};
use skysail_graph::{ElementType, Model, Tensor};
use std::path::{Path, PathBuf};

/// ONNX Runtime on one thread.
pub(crate) struct OnnxRuntime;

impl Runner for OnnxRuntime {
    fn load<'a>(
        &'a mut self,
        model: &Model,
        wanted: &[String],
    ) -> Result<Box<dyn Run + 'a>, RunnerError> {
        let bytes = bytes_with_outputs(model, wanted)?;
        Ok(Box::new(Loaded { session: session(&bytes, None)?, wanted: wanted.to_vec() }))
    }
}

/// Creates a session on one thread. The optimized model is saved to a file, if one is named.
pub(crate) fn session(model: &[u8], optimized: Option<&Path>) -> ort::Result<Session> {
    let environment = skysail_onnxruntime::load(None).unwrap_or_else(|error| panic!("{error}"));
    let builder = Session::builder(&environment)?;
    let builder = builder.with_optimization_level(GraphOptimizationLevel::All)?;
    let mut builder = builder.with_intra_threads(1)?;
    if let Some(path) = optimized {
        builder = builder.with_optimized_model_path(path)?;
    }
    builder.commit_from_memory(model)
}

/// A loaded model.
pub(crate) struct Loaded {
    session: Session,
    wanted: Vec<String>,
}

impl Loaded {
    /// Loads a model, whose runs return its own outputs.
    pub(crate) fn of(model: &Model) -> Self {
        let session = session(&model.to_bytes().unwrap(), None).unwrap();
        let wanted = model.graph().outputs().into_iter().map(|output| output.name).collect();
        Self { session, wanted }
    }
}

impl Run for Loaded {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunnerError> {
        let values = inputs.iter().map(value).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> =
            self.session.inputs().iter().map(|input| input.name().to_owned()).collect();
        let outputs = self.session.run(names.into_iter().zip(values).collect::<Vec<_>>())?;
        let tensors = self.wanted.iter().map(|name| {
            let (shape, values) = outputs[name.as_str()].try_extract_tensor::<f32>()?;
            let shape: Vec<u64> = shape.iter().map(|dim| dim.cast_unsigned()).collect();
            Ok(Tensor::new(&shape, values)?)
        });
        tensors.collect()
    }
}

fn value(tensor: &Tensor) -> Result<SessionInputValue<'static>, RunnerError> {
    let shape: Vec<i64> = tensor.shape().iter().map(|dim| dim.cast_signed()).collect();
    let bytes = tensor.bytes();
    Ok(match tensor.element() {
        ElementType::Float32 => {
            OrtTensor::from_array((shape, bytemuck::pod_collect_to_vec::<u8, f32>(bytes)))?.into()
        }
        ElementType::Int64 => {
            OrtTensor::from_array((shape, bytemuck::pod_collect_to_vec::<u8, i64>(bytes)))?.into()
        }
        other => panic!("tensors of {other} are not needed yet"),
    })
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

/// Reads an array that NumPy stored.
pub(crate) fn load_npy(path: &Path) -> Tensor {
    npy::read(&std::fs::read(path).unwrap()).unwrap().to_tensor().unwrap()
}
