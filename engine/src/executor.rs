//! The seam between a batch and whatever runs it.

use crate::payload::Payload;
use crate::request::OutputTensor;
use crate::tensor::Shape;
use smallvec::SmallVec;
use std::time::Instant;

mod stop;
#[cfg(test)]
pub(crate) mod puppet;

pub use stop::{Attached, Stop, Stoppable, Stopped};

/// One input of a batch: the members' data one after the other.
#[derive(Debug)]
pub struct BatchInput<'a> {
    /// Of the whole batch.
    pub shape: Shape,
    /// Of each member, in order; together as many bytes as the shape needs.
    pub parts: SmallVec<[&'a Payload; 8]>,
}

/// What an executor gives back.
#[derive(Debug)]
pub struct Execution {
    /// One for each output of the model, in its order, for the whole batch.
    pub outputs: SmallVec<[OutputTensor; 2]>,
    /// When all inputs lay in the executor's own buffers.
    pub gathered: Instant,
    /// When the run was over.
    pub executed: Instant,
}

/// Why a run gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// It failed, in the executor's words.
    #[error("{0}")]
    Failed(String),
    /// It was told to stop.
    #[error("it was stopped, as all its callers had left")]
    Stopped,
}

impl From<Stopped> for ExecuteError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Runs batches of one version of one model, one at a time: a session of ONNX Runtime here, and
/// just as well a worker process, another machine, or shards that run in step. It knows nothing
/// of requests, queues or deadlines.
pub trait Executor: Send {
    /// Runs one batch. `inputs` has one for each input of the model that has no default, in its
    /// order, already checked against its signature.
    ///
    /// `stop` is told when nobody wants the outputs any more. An executor whose runs can be long
    /// attaches what stops them; one that can not be stopped runs on.
    ///
    /// # Errors
    /// When the model or what runs it fails, or `stop` was told. The executor stays usable, even
    /// after a panic.
    fn execute(
        &mut self,
        inputs: &[BatchInput<'_>],
        stop: &Stop,
    ) -> Result<Execution, ExecuteError>;

    /// Runs one request that brings inputs which have a default: `inputs` has them after all
    /// others, and `given` has their places among the signature's optional inputs.
    ///
    /// # Errors
    /// As [`execute`](Self::execute), and when the executor can not be given them.
    fn execute_given(
        &mut self,
        inputs: &[BatchInput<'_>],
        given: &[usize],
        stop: &Stop,
    ) -> Result<Execution, ExecuteError> {
        if given.is_empty() {
            return self.execute(inputs, stop);
        }
        let problem = "what runs it takes no inputs that have a default: leave them out";
        Err(ExecuteError::Failed(problem.into()))
    }
}
