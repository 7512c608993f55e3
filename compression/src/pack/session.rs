//! Runs models with ONNX Runtime, which is loaded with the first model.

use crate::interrupt::uninterrupted;
use bytemuck::Pod;
use half::{bf16, f16};
use ort::environment::Environment;
use ort::operator::OperatorDomain;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynTensor, DynValue, PrimitiveTensorElementType, TensorElementType, ValueType};
use skysail_compression::{
    Int8Operator, Int8Product, Run, Runner, RunnerError, bytes_with_outputs, fuse_int8,
};
use skysail_graph::{ElementType, Kind, Model, Tensor};
use skysail_kernels::{
    DOMAIN, DOMAIN_VERSION, INT8_MATMUL, Int8Matrix, OperatorWeights, operators,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Element types of inputs and outputs, with the runtime's names.
const ELEMENTS: [(ElementType, TensorElementType); 13] = [
    (ElementType::Float32, TensorElementType::Float32),
    (ElementType::Float64, TensorElementType::Float64),
    (ElementType::Float16, TensorElementType::Float16),
    (ElementType::BFloat16, TensorElementType::Bfloat16),
    (ElementType::Int8, TensorElementType::Int8),
    (ElementType::Int16, TensorElementType::Int16),
    (ElementType::Int32, TensorElementType::Int32),
    (ElementType::Int64, TensorElementType::Int64),
    (ElementType::UInt8, TensorElementType::Uint8),
    (ElementType::UInt16, TensorElementType::Uint16),
    (ElementType::UInt32, TensorElementType::Uint32),
    (ElementType::UInt64, TensorElementType::Uint64),
    (ElementType::Bool, TensorElementType::Bool),
];

/// Calls a function that is generic over the element type. A bool has an arm of its own, as not
/// every byte is one.
macro_rules! for_element {
    ($element:expr, $f:ident($($arg:expr),*), bool: $bool:expr) => {
        match $element {
            ElementType::Float32 => $f::<f32>($($arg),*),
            ElementType::Float64 => $f::<f64>($($arg),*),
            ElementType::Float16 => $f::<f16>($($arg),*),
            ElementType::BFloat16 => $f::<bf16>($($arg),*),
            ElementType::Int8 => $f::<i8>($($arg),*),
            ElementType::Int16 => $f::<i16>($($arg),*),
            ElementType::Int32 => $f::<i32>($($arg),*),
            ElementType::Int64 => $f::<i64>($($arg),*),
            ElementType::UInt8 => $f::<u8>($($arg),*),
            ElementType::UInt16 => $f::<u16>($($arg),*),
            ElementType::UInt32 => $f::<u32>($($arg),*),
            ElementType::UInt64 => $f::<u64>($($arg),*),
            ElementType::Bool => $bool,
            other => Err(unsupported(other)),
        }
    };
}

/// Number of threads of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// A single thread, for comparable times.
    One,
    /// All threads of the machine.
    All,
}

/// Loads models with ONNX Runtime.
pub(crate) struct OnnxRuntime(pub(crate) Threads);

impl Runner for OnnxRuntime {
    fn load<'a>(
        &'a mut self,
        model: &Model,
        wanted: &[String],
    ) -> Result<Box<dyn Run + 'a>, RunnerError> {
        Ok(Box::new(Session::with_outputs(model, wanted.to_vec(), self.0)?))
    }
}

/// A loaded model.
pub(crate) struct Session {
    session: ort::session::Session,
    inputs: Vec<String>,
    /// Names of the values that runs return.
    wanted: Vec<String>,
}

impl Session {
    /// Loads a model, whose runs return its outputs that are tensors of numbers.
    pub(crate) fn of(model: &Model, threads: Threads) -> Result<Self, RunnerError> {
        Self::with_outputs(model, numbers(model), threads)
    }

    fn with_outputs(
        model: &Model,
        wanted: Vec<String>,
        threads: Threads,
    ) -> Result<Self, RunnerError> {
        let bytes = match model.graph().initializers().any(|tensor| tensor.is_external()) {
            false => bytes_with_outputs(model, &wanted)?,
            true => {
                let mut model = model.clone();
                model.inline_external_data()?;
                bytes_with_outputs(&model, &wanted)?
            }
        };
        let inputs = model.graph().inputs().into_iter().map(|input| input.name).collect();
        let environment = skysail_onnxruntime::load(None)?;
        let session = uninterrupted(|| session(&environment, &bytes, threads, None))?;
        Ok(Self { session, inputs, wanted })
    }

    /// Loads a model as a server does: int8 products by rows become one operator.
    pub(crate) fn as_served(model: &Model, threads: Threads) -> Result<Self, RunnerError> {
        let mut model = model.clone();
        model.inline_external_data()?;
        let wanted = numbers(&model);
        let operator =
            Int8Operator { op_type: INT8_MATMUL, domain: DOMAIN, version: DOMAIN_VERSION };
        let products = fuse_int8(&mut model, operator)?;
        if products.is_empty() {
            return Self::of(&model, threads);
        }
        let mut weights = OperatorWeights::default();
        for Int8Product { name, inputs, outputs, codes, scales } in products {
            let matrix = Int8Matrix::new(&codes, inputs, outputs, &scales)?;
            weights.int8.insert(name, Arc::new(matrix));
        }
        let (bytes, environment) =
            (bytes_with_outputs(&model, &wanted)?, skysail_onnxruntime::load(None)?);
        let inputs = model.graph().inputs().into_iter().map(|input| input.name).collect();
        let operators = operators(&weights)?;
        let session = uninterrupted(|| session(&environment, &bytes, threads, Some(operators)))?;
        Ok(Self { session, inputs, wanted })
    }

    /// Returns the names of the values that runs return, in order.
    pub(crate) fn outputs(&self) -> &[String] {
        &self.wanted
    }

    /// Copies inputs to the runtime's memory, for [`time`](Self::time).
    pub(crate) fn prepare(&self, inputs: &[Tensor]) -> Result<Vec<DynTensor>, RunnerError> {
        inputs.iter().map(|tensor| self.value(tensor)).collect()
    }

    /// Runs the model and returns the run time.
    pub(crate) fn time(&mut self, inputs: &[DynTensor]) -> Result<Duration, RunnerError> {
        let named: Vec<_> = self.inputs.iter().map(String::as_str).zip(inputs).collect();
        uninterrupted(|| {
            let started = Instant::now();
            self.session.run(named)?;
            Ok(started.elapsed())
        })
    }

    fn value(&self, tensor: &Tensor) -> Result<DynTensor, RunnerError> {
        let dims: Vec<i64> = tensor.shape().iter().map(|dim| dim.cast_signed()).collect();
        let element = runtime_type(tensor.element())?;
        let mut value = DynTensor::new(self.session.allocator(), element, dims)?;
        let bytes = tensor.bytes();
        for_element!(
            tensor.element(),
            fill(&mut value, bytes),
            bool: fill_bool(&mut value, bytes)
        )?;
        Ok(value)
    }
}

impl Run for Session {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunnerError> {
        let values = self.prepare(inputs)?;
        let named: Vec<_> = self.inputs.iter().map(String::as_str).zip(&values).collect();
        uninterrupted(|| {
            let outputs = self.session.run(named)?;
            let read = |name: &String| {
                let value = outputs.get(name);
                value.ok_or_else(|| format!("it gave no '{name}'").into()).and_then(tensor)
            };
            self.wanted.iter().map(read).collect()
        })
    }
}

/// Returns the outputs of a model that are tensors of numbers.
fn numbers(model: &Model) -> Vec<String> {
    let outputs = model.graph().outputs().into_iter();
    let numeric = outputs.filter(|output| match &output.kind {
        Kind::Tensor { element, .. } => runtime_type(*element).is_ok(),
        // The runtime infers a type that the model does not state.
        kind => matches!(kind, Kind::Unknown),
    });
    numeric.map(|output| output.name).collect()
}

fn session(
    environment: &Environment,
    model: &[u8],
    threads: Threads,
    operators: Option<OperatorDomain>,
) -> ort::Result<ort::session::Session> {
    let builder = ort::session::Session::builder(environment)?;
    let mut builder = builder.with_optimization_level(GraphOptimizationLevel::All)?;
    if threads == Threads::One {
        builder = builder.with_intra_threads(1)?;
    }
    if let Some(operators) = operators {
        builder = builder.with_operators(operators)?;
    }
    builder.commit_from_memory(model)
}

/// Returns the runtime's name of an element type, if runs support it.
fn runtime_type(element: ElementType) -> Result<TensorElementType, RunnerError> {
    let known = ELEMENTS.iter().find(|(ours, _)| *ours == element);
    known.map(|(_, theirs)| *theirs).ok_or_else(|| unsupported(element))
}

fn unsupported(element: ElementType) -> RunnerError {
    format!("tensors of {element} cannot be given to a run or taken from it").into()
}

fn fill<T: PrimitiveTensorElementType + Pod>(
    value: &mut DynTensor,
    bytes: &[u8],
) -> Result<(), RunnerError> {
    let (_, elements) = value.try_extract_tensor_mut::<T>()?;
    bytemuck::cast_slice_mut::<T, u8>(elements).copy_from_slice(bytes);
    Ok(())
}

fn fill_bool(value: &mut DynTensor, bytes: &[u8]) -> Result<(), RunnerError> {
    let (_, elements) = value.try_extract_tensor_mut::<bool>()?;
    elements.iter_mut().zip(bytes).for_each(|(bit, byte)| *bit = *byte != 0);
    Ok(())
}

/// Copies an output of a run.
fn tensor(value: &DynValue) -> Result<Tensor, RunnerError> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(format!("it gave {}, which is no tensor", value.dtype()).into());
    };
    let shape: Vec<u64> = shape.iter().map(|dim| dim.cast_unsigned()).collect();
    let known = ELEMENTS.iter().find(|(_, theirs)| theirs == ty);
    let (element, _) = *known.ok_or_else(|| format!("it gave a tensor of {ty}"))?;
    let bytes = for_element!(element, read(value), bool: read_bool(value))?;
    Ok(Tensor::from_bytes(element, &shape, bytes)?)
}

fn read<T: PrimitiveTensorElementType + Pod>(value: &DynValue) -> Result<Vec<u8>, RunnerError> {
    Ok(bytemuck::cast_slice(value.try_extract_tensor::<T>()?.1).to_vec())
}

fn read_bool(value: &DynValue) -> Result<Vec<u8>, RunnerError> {
    Ok(value.try_extract_tensor::<bool>()?.1.iter().map(|bit| u8::from(*bit)).collect())
}
