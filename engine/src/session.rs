//! An executor of ONNX Runtime: one session, with input and output buffers bound and reused for
//! each batch shape.

use crate::executor::{BatchInput, ExecuteError, Execution, Executor, Stop, Stoppable};
use crate::request::OutputTensor;
use crate::signature::{Signature, TensorSpec};
use crate::tensor::{DataType, Shape};
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, DynTensorRef, Outlet, Tensor, TensorElementType, ValueType};
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Instant;

mod buffer;
mod make;
mod shared;

pub(crate) use make::{SessionMaker, Source, taking_in_operators};

/// Bytes of buffers that one executor keeps bound for batch shapes it may see again.
const PLAN_BYTES_MAX: usize = 64 << 20;
/// Batch shapes that one executor keeps buffers for.
const PLANS_MAX: usize = 64;

/// Why a model file can not be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("ONNX Runtime can not load it: {0}")]
    Runtime(String),
    #[error(
        "its {side} '{name}' is {kind}, which no tensor protocol carries; export the model so that \
         it gives tensors (for scikit-learn: convert with zipmap=False)"
    )]
    NotATensor { side: &'static str, name: String, kind: String },
    #[error("its {side} '{name}' has elements of type {element}, which the protocol does not have")]
    Element { side: &'static str, name: String, element: String },
    #[error("its sparse layers can not be run: {0}")]
    Kernel(#[from] skysail_kernels::KernelError),
    #[error("its optimised graph can not be kept: {0}")]
    Keep(#[from] std::io::Error),
    #[error("its optimised graph can not be read: {0}")]
    Graph(#[from] skysail_graph::GraphError),
}

impl<R> From<ort::Error<R>> for SessionError {
    fn from(error: ort::Error<R>) -> Self {
        Self::Runtime(error.to_string())
    }
}

/// The inputs and outputs of a session; whether it batches is for others to find out.
fn signature(session: &Session) -> Result<Signature, SessionError> {
    let specs = |outlets: &[Outlet], side| -> Result<Vec<TensorSpec>, SessionError> {
        outlets.iter().map(|outlet| spec(outlet, side)).collect()
    };
    Ok(Signature {
        inputs: specs(session.inputs(), "input")?,
        outputs: specs(session.outputs(), "output")?,
        batch_rows_max: 0,
        larger_requests_run_alone: false,
        padding: None,
    })
}

fn spec(outlet: &Outlet, side: &'static str) -> Result<TensorSpec, SessionError> {
    let name = outlet.name().to_owned();
    let ValueType::Tensor { ty, shape, dimension_symbols } = outlet.dtype() else {
        return Err(SessionError::NotATensor { side, name, kind: kind(outlet.dtype()) });
    };
    let Some(datatype) = datatype(*ty) else {
        return Err(SessionError::Element { side, name, element: ty.to_string() });
    };
    Ok(TensorSpec {
        name: name.into(),
        datatype,
        dims: shape.iter().map(|&dim| usize::try_from(dim).ok()).collect(),
        dim_names: dimension_symbols.iter().cloned().collect(),
    })
}

fn kind(dtype: &ValueType) -> String {
    match dtype {
        ValueType::Tensor { .. } => "a tensor".into(),
        ValueType::Sequence(of) => format!("a sequence of {}s", kind(of).replace("a ", "")),
        ValueType::Map { .. } => "a map".into(),
        ValueType::Optional(of) => format!("optionally {}", kind(of)),
    }
}

fn datatype(element: TensorElementType) -> Option<DataType> {
    Some(match element {
        TensorElementType::Bool => DataType::Bool,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Float16 => DataType::Fp16,
        TensorElementType::Float32 => DataType::Fp32,
        TensorElementType::Float64 => DataType::Fp64,
        TensorElementType::Bfloat16 => DataType::Bf16,
        TensorElementType::String => DataType::Bytes,
        _ => return None,
    })
}

/// A session with its buffers.
pub(crate) struct OrtExecutor {
    session: Session,
    /// Hold the flag that ends a run, which the runtime looks at between two operators: a graph
    /// that is one long operator runs to its end.
    options: Arc<RunOptions>,
    signature: Arc<Signature>,
    plans: Vec<Plan>,
    runs: u64,
}

/// The buffers of one batch shape, bound to the session.
struct Plan {
    shapes: SmallVec<[Shape; 2]>,
    binding: IoBinding,
    inputs: Vec<DynTensor>,
    /// `None` where the shape is known only after the run, or the elements are strings.
    outputs: Vec<Option<DynTensor>>,
    bytes: usize,
    last_used: u64,
}

impl OrtExecutor {
    /// An executor of a model of which no more is known than its graph says.
    pub(crate) fn first(session: Session) -> Result<Self, SessionError> {
        let signature = Arc::new(signature(&session)?);
        Self::new(session, signature)
    }

    pub(crate) fn new(session: Session, signature: Arc<Signature>) -> Result<Self, SessionError> {
        let options = Arc::new(RunOptions::new()?);
        Ok(Self { session, options, signature, plans: Vec::new(), runs: 0 })
    }

    /// What is known about the model.
    pub(crate) fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Takes over what was found out about the model.
    pub(crate) fn set_signature(&mut self, signature: &Arc<Signature>) {
        if self.signature.batches() != signature.batches() {
            // The buffers of outputs were made for what was thought of their shapes.
            self.plans.clear();
        }
        self.signature = Arc::clone(signature);
    }

    /// The place of the plan for these shapes, made when it is missing.
    fn plan(&mut self, inputs: &[BatchInput<'_>]) -> ort::Result<usize> {
        let fits = |plan: &Plan| plan.shapes.iter().eq(inputs.iter().map(|input| &input.shape));
        if let Some(index) = self.plans.iter().position(fits) {
            return Ok(index);
        }
        let plan = Plan::new(&self.session, &self.signature, inputs)?;
        self.make_room(plan.bytes);
        self.plans.push(plan);
        Ok(self.plans.len() - 1)
    }

    /// Drops the plans used longest ago until another of `bytes` fits.
    fn make_room(&mut self, bytes: usize) {
        let kept = |plans: &[Plan]| plans.iter().map(|plan| plan.bytes).sum::<usize>();
        while self.plans.len() >= PLANS_MAX || kept(&self.plans) + bytes > PLAN_BYTES_MAX {
            let oldest = (0..self.plans.len()).min_by_key(|&index| self.plans[index].last_used);
            let Some(oldest) = oldest else { return };
            self.plans.swap_remove(oldest);
        }
    }

    fn run(&mut self, inputs: &[BatchInput<'_>]) -> ort::Result<Execution> {
        let index = self.plan(inputs)?;
        self.runs += 1;
        let plan = &mut self.plans[index];
        plan.last_used = self.runs;
        plan.gather(&self.signature, inputs)?;
        let gathered = Instant::now();
        let unbound = plan.run(&mut self.session, &self.options, &self.signature)?;
        let executed = Instant::now();
        let outputs = plan.outputs(&self.signature, unbound)?;
        Ok(Execution { outputs, gathered, executed })
    }
}

impl Executor for OrtExecutor {
    fn execute(
        &mut self,
        inputs: &[BatchInput<'_>],
        stop: &Stop,
    ) -> Result<Execution, ExecuteError> {
        let failed = |error: ort::Error| ExecuteError::Failed(error.to_string());
        // The last run may have been told to stop, in time or just as it ended.
        self.options.unterminate().map_err(failed)?;
        let _attached = stop.attach(Arc::clone(&self.options) as Arc<dyn Stoppable>)?;
        self.run(inputs).map_err(|error| match stop.is_stopped() {
            true => ExecuteError::Stopped,
            false => failed(error),
        })
    }
}

impl Stoppable for RunOptions {
    fn stop(&self) {
        // When that fails, the run goes on to its end.
        drop(self.terminate());
    }
}

impl Plan {
    fn new(
        session: &Session,
        signature: &Signature,
        inputs: &[BatchInput<'_>],
    ) -> ort::Result<Self> {
        let mut plan = Self {
            shapes: inputs.iter().map(|input| input.shape.clone()).collect(),
            binding: session.create_binding()?,
            inputs: Vec::with_capacity(inputs.len()),
            outputs: Vec::with_capacity(signature.outputs.len()),
            bytes: 0,
            last_used: 0,
        };
        for (spec, input) in signature.inputs.iter().zip(inputs) {
            let tensor = buffer::allocate(session, spec.datatype, &input.shape)?;
            if spec.datatype != DataType::Bytes {
                plan.binding.bind_input(&*spec.name, &tensor)?;
                plan.bytes += buffer::bytes(&tensor);
            }
            plan.inputs.push(tensor);
        }
        let rows = inputs.first().and_then(|input| input.shape.first().copied()).unwrap_or(1);
        for spec in &signature.outputs {
            let output = plan.bind_output(session, spec, signature.batches().then_some(rows))?;
            plan.outputs.push(output);
        }
        Ok(plan)
    }

    /// Binds a buffer for an output whose shape follows from the number of rows.
    fn bind_output(
        &mut self,
        session: &Session,
        spec: &TensorSpec,
        rows: Option<usize>,
    ) -> ort::Result<Option<DynTensor>> {
        let known = match rows {
            Some(rows) => spec.shape_for_rows(rows),
            None => spec.dims.iter().copied().collect(),
        };
        let known = known.filter(|shape| shape.iter().all(|&dim| dim > 0));
        let Some(shape) = known.filter(|_| spec.datatype != DataType::Bytes) else {
            return Ok(None);
        };
        let mut tensor = buffer::allocate(session, spec.datatype, &shape)?;
        self.bytes += buffer::bytes(&tensor);
        self.binding.bind_output(&*spec.name, &mut tensor)?;
        Ok(Some(tensor))
    }

    /// Copies the members' data into the bound inputs.
    fn gather(&mut self, signature: &Signature, inputs: &[BatchInput<'_>]) -> ort::Result<()> {
        for ((tensor, input), spec) in self.inputs.iter_mut().zip(inputs).zip(&signature.inputs) {
            if spec.datatype == DataType::Bytes {
                let strings: Tensor<String> = buffer::strings(input)?;
                self.binding.bind_input(&*spec.name, &strings)?;
            } else {
                buffer::fill(tensor, spec.datatype, input)?;
            }
        }
        Ok(())
    }

    /// Runs, and gives those outputs that had no buffer, in order.
    fn run(
        &mut self,
        session: &mut Session,
        options: &RunOptions,
        signature: &Signature,
    ) -> ort::Result<SmallVec<[OutputTensor; 2]>> {
        for (output, spec) in self.outputs.iter().zip(&signature.outputs) {
            if output.is_none() {
                let memory = session.allocator().memory_info().to_owned();
                self.binding.bind_output_to_device(&*spec.name, &memory)?;
            }
        }
        let results = session.run_binding_with_options(&self.binding, options)?;
        let mut unbound = SmallVec::new();
        for (output, spec) in self.outputs.iter().zip(&signature.outputs) {
            if output.is_none() {
                let missing = || ort::Error::new(format!("output '{}' is missing", spec.name));
                let value = results.get(&spec.name).ok_or_else(missing)?;
                let tensor: DynTensorRef<'_> = value.view().downcast()?;
                unbound.push(buffer::read(&tensor, spec)?);
            }
        }
        Ok(unbound)
    }

    /// All outputs in the model's order, copied out of the buffers.
    fn outputs(
        &self,
        signature: &Signature,
        unbound: SmallVec<[OutputTensor; 2]>,
    ) -> ort::Result<SmallVec<[OutputTensor; 2]>> {
        let mut unbound = unbound.into_iter();
        let mut all = SmallVec::with_capacity(self.outputs.len());
        for (output, spec) in self.outputs.iter().zip(&signature.outputs) {
            match output {
                Some(tensor) => all.push(buffer::read(tensor, spec)?),
                None => all.extend(unbound.next()),
            }
        }
        Ok(all)
    }
}
