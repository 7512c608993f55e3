//! ONNX Runtime in this process, with bound inputs: the peer of every kernel.

use anyhow::Result;
use ort::environment::Environment;
use ort::session::builder::SessionBuilder;
use ort::session::{IoBinding, Session};
use ort::value::DynValue;
use skysail_compression::difference;
use skysail_graph::Tensor;
use skysail_kernels::{KernelError, Limits, OperatorWeights, median_times, operators};

/// Thread pool of a session.
#[derive(Clone, Copy)]
pub(super) enum Pool {
    /// Own pool of one thread.
    One,
    /// Pool that all sessions share.
    Shared,
}

/// Model with bound inputs, run for its time and its outputs.
pub(super) struct Timed {
    session: Session,
    binding: IoBinding,
    _inputs: Vec<DynValue>,
}

/// Builder of sessions of one thread.
fn builder(environment: &Environment) -> Result<SessionBuilder> {
    let own = Session::builder(environment)?.with_independent_thread_pool();
    let builder = own.map_err(ort::Error::<()>::from)?;
    Ok(builder.with_intra_threads(1).map_err(ort::Error::<()>::from)?)
}

impl Timed {
    /// Model of ONNX Runtime's own operators.
    pub(super) fn dense(
        environment: &Environment,
        model: &[u8],
        inputs: Vec<DynValue>,
    ) -> Result<Self> {
        Self::new(builder(environment)?, model, inputs)
    }

    /// Model on a thread pool, with our operators if weights are given.
    pub(super) fn on(
        pool: Pool,
        environment: &Environment,
        weights: Option<&OperatorWeights>,
        model: &[u8],
        inputs: Vec<DynValue>,
    ) -> Result<Self> {
        let mut builder = match pool {
            Pool::One => builder(environment)?,
            Pool::Shared => Session::builder(environment)?,
        };
        if let Some(weights) = weights {
            let with = builder.with_operators(operators(weights)?);
            builder = with.map_err(ort::Error::<()>::from)?;
        }
        Self::new(builder, model, inputs)
    }

    /// Model with our operators and these weights.
    pub(super) fn sparse(
        environment: &Environment,
        weights: &OperatorWeights,
        model: &[u8],
        inputs: Vec<DynValue>,
    ) -> Result<Self> {
        let builder = builder(environment)?.with_operators(operators(weights)?);
        Self::new(builder.map_err(ort::Error::<()>::from)?, model, inputs)
    }

    fn new(mut builder: SessionBuilder, model: &[u8], inputs: Vec<DynValue>) -> Result<Self> {
        let session = builder.commit_from_memory(model)?;
        let mut binding = session.create_binding()?;
        for (input, value) in session.inputs().iter().zip(&inputs) {
            binding.bind_input(input.name(), value)?;
        }
        for output in session.outputs() {
            binding.bind_output_to_device(output.name(), session.allocator().memory_info())?;
        }
        Ok(Self { session, binding, _inputs: inputs })
    }

    /// Runs it once.
    pub(super) fn run(&mut self) -> Result<(), KernelError> {
        self.session.run_binding(&self.binding)?;
        Ok(())
    }

    /// Copies one of its outputs.
    pub(super) fn output(&mut self, index: usize) -> Result<Tensor> {
        let outputs = self.session.run_binding(&self.binding)?;
        let (shape, values) = outputs[index].try_extract_tensor::<f32>()?;
        let shape: Vec<u64> = shape.iter().map(|size| *size as u64).collect();
        Ok(Tensor::new(&shape, values)?)
    }

    /// Difference of its first output from another's, relative to the largest element.
    pub(super) fn error(&mut self, other: &mut Self) -> Result<f64> {
        Ok(f64::from(difference(&other.output(0)?, &self.output(0)?)?.relative))
    }
}

/// Median times of some models in alternating runs, in microseconds.
pub(super) fn times<const N: usize>(models: [&mut Timed; N], limits: Limits) -> Result<[f64; N]> {
    let mut ways = models.map(|model| move || model.run());
    let mut ways = ways.each_mut().map(|way| way as &mut dyn FnMut() -> Result<(), KernelError>);
    let times = median_times(&mut ways, limits)?;
    Ok(std::array::from_fn(|index| times[index].as_secs_f64() * 1e6))
}
