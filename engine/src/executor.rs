//! The seam between a batch and whatever runs it.

use crate::payload::Payload;
use crate::request::Outputs;
use crate::tensor::Shape;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod completion;
mod stop;
#[cfg(test)]
pub(crate) mod puppet;

pub use completion::Completion;
pub use stop::{Attached, Stop, Stoppable, Stopped};

/// One input of a batch: the data of its members, one after the other.
#[derive(Debug)]
pub struct BatchInput<'a> {
    /// Shape of the whole batch.
    pub shape: Shape,
    /// Data of each member, in order; together as many bytes as the shape needs.
    pub parts: SmallVec<[&'a Payload; 8]>,
    /// Shape of each member, if the model has ragged inputs; else empty.
    pub members: Vec<Shape>,
}

/// The inputs of a batch that runs elsewhere. They share the memory of the requests.
#[derive(Debug)]
pub struct BatchInputs {
    /// Shape of the whole batch and data of each member, for each input in the model's order.
    pub inputs: Vec<(Shape, Vec<Payload>)>,
    /// Indices of the last of these among the signature's optional inputs.
    pub given: Vec<usize>,
}

impl BatchInputs {
    pub(crate) fn new(inputs: &[BatchInput<'_>], given: &[usize]) -> Self {
        let owned = |input: &BatchInput<'_>| {
            (input.shape.clone(), input.parts.iter().copied().cloned().collect())
        };
        Self { inputs: inputs.iter().map(owned).collect(), given: given.to_vec() }
    }
}

/// Result of a run.
#[derive(Debug)]
pub struct Execution {
    /// Outputs of the whole batch, in the model's order.
    pub outputs: Outputs,
    /// Time at which all inputs lay in the executor's own buffers.
    pub gathered: Instant,
    /// Time at which the run ended.
    pub executed: Instant,
}

/// Reason why a run failed, by whose fault it was.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The model does not run on these inputs: the request's fault.
    #[error("{0}")]
    Request(String),
    /// The model or its runtime failed, whatever the inputs.
    #[error("{0}")]
    Model(String),
    /// The replica failed: another one may run the same batch.
    #[error("{message}")]
    Replica {
        /// Description of the failure.
        message: String,
        /// Time after which the replica may work again, if it is known.
        retry_in: Option<Duration>,
    },
    /// The run was stopped, as all its callers had left.
    #[error("it was stopped, as all its callers had left")]
    Stopped,
}

impl From<Stopped> for ExecuteError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Runs batches of one version, one at a time, on the thread that calls it. It knows nothing of
/// requests, queues or deadlines.
pub trait Executor: Send {
    /// Runs one batch. `inputs` has one for each input of the model without a default, in the
    /// model's order; they fit its signature.
    ///
    /// `stop` is signalled when no caller wants the outputs any more. An executor with long runs
    /// attaches what stops them; one that cannot be stopped runs on.
    ///
    /// # Errors
    /// When the run fails or was stopped. The executor stays usable, even after a panic.
    fn execute(
        &mut self,
        inputs: &[BatchInput<'_>],
        stop: &Stop,
    ) -> Result<Execution, ExecuteError>;

    /// Runs one request that brings inputs which have a default. `inputs` has them last, and
    /// `given` has their indices among the signature's optional inputs.
    ///
    /// # Errors
    /// As [`execute`](Self::execute), and when the executor takes no such inputs.
    fn execute_given(
        &mut self,
        inputs: &[BatchInput<'_>],
        given: &[usize],
        stop: &Stop,
    ) -> Result<Execution, ExecuteError> {
        if given.is_empty() {
            return self.execute(inputs, stop);
        }
        let problem = "its backend takes no inputs that have a default: leave them out";
        Err(ExecuteError::Request(problem.into()))
    }

    /// Gives back memory that larger batches have left, by one run of these inputs. Nothing may
    /// depend on it.
    fn shrink(&mut self, _inputs: &[BatchInput<'_>]) {}
}

/// Runs batches of one version elsewhere, several at a time: in another process, on another
/// machine. No thread waits for it.
pub trait AsyncExecutor: Send + Sync {
    /// Starts a batch and returns at once; `completion` gets its result, on any thread. A
    /// completion that is dropped counts as a failure of the replica. `stop` is signalled as for
    /// an [`Executor`].
    fn start(&self, inputs: BatchInputs, stop: Arc<Stop>, completion: Completion);
}
