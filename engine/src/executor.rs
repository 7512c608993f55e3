//! The seam between a batch and whatever runs it.

use crate::payload::Payload;
use crate::request::OutputTensor;
use crate::tensor::Shape;
use smallvec::SmallVec;
use std::time::Instant;

#[cfg(test)]
pub(crate) mod puppet;

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

/// Why a run failed, in the executor's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ExecuteError(pub String);

/// Runs batches of one version of one model, one at a time: a session of ONNX Runtime here, and
/// just as well a worker process, another machine, or shards that run in step. It knows nothing
/// of requests, queues or deadlines.
pub trait Executor: Send {
    /// Runs one batch. `inputs` has one for each input of the model, in its order, already
    /// checked against its signature.
    ///
    /// # Errors
    /// When the model or what runs it fails. The executor stays usable, even after a panic.
    fn execute(&mut self, inputs: &[BatchInput<'_>]) -> Result<Execution, ExecuteError>;
}
