//! A prediction request and its response, independent of any protocol.

use crate::parameters::CustomParameters;
use crate::payload::Payload;
use crate::tensor::{DataType, Shape};
use bytes::Bytes;
use skysail_policy::cause::{BlockingBatch, Run};
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A decoded request that is not yet validated against a model.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Input tensors, in the request's order.
    pub inputs: SmallVec<[InputTensor; 2]>,
    /// Names of the requested outputs; all outputs if empty.
    pub outputs: Vec<String>,
    /// Timeout of its own in microseconds: of the time in the queue where the model limits that,
    /// else from `accepted` to the response. Default: the model's timeout or objective.
    pub timeout_us: Option<u64>,
    /// Time limit of its call in microseconds, from `accepted` to the response.
    pub limit_us: Option<u64>,
    /// Priority: 1 is the highest, and 0 stands for the default.
    pub priority: u64,
    /// Parameters that the protocol gives no meaning.
    pub parameters: CustomParameters,
    /// Arrival of the head, from which the timeout counts. Default: now.
    pub accepted: Option<Instant>,
    /// Arrival of the whole request, from which the objective counts. Default: now.
    pub received: Option<Instant>,
}

/// An input tensor of a request.
#[derive(Clone, Debug)]
pub struct InputTensor {
    /// Name of the model's input.
    pub name: String,
    /// Datatype that the request states.
    pub datatype: DataType,
    /// Shape that the request states.
    pub shape: Shape,
    /// Elements in the protocol's binary form.
    pub data: Payload,
}

/// An output tensor of a model.
#[derive(Clone, Debug)]
pub struct OutputTensor {
    /// Name of the model's output.
    pub name: Arc<str>,
    /// Datatype of the elements.
    pub datatype: DataType,
    /// Shape of the tensor.
    pub shape: Shape,
    /// Elements in the protocol's binary form.
    pub data: Bytes,
}

/// Response to a request.
#[derive(Debug)]
pub struct Response {
    /// Name of the model that responded.
    pub model: Arc<str>,
    /// Version of the model.
    pub version: u64,
    /// Outputs in the requested order, or else in the model's.
    pub outputs: Outputs,
    /// Times of the engine's stages.
    pub stages: Stages,
}

/// The outputs of one request.
pub type Outputs = SmallVec<[OutputTensor; 2]>;

/// Result of looking a request up in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheLookup {
    /// The response was cached.
    Hit,
    /// An identical request in flight gave the response.
    Coalesced,
    /// The request ran.
    Miss,
}

impl CacheLookup {
    /// Name in logs and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Coalesced => "coalesced",
            Self::Miss => "miss",
        }
    }
}

/// Times at which a request passed the stages from `queue` to `execute`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    /// Time of joining the queue.
    pub queued: Instant,
    /// Time of joining a batch.
    pub batched: Instant,
    /// Time at which all inputs of the batch were in the executor's buffers.
    pub gathered: Instant,
    /// End of the run.
    pub executed: Instant,
    /// Time at which the request had its own outputs.
    pub split: Instant,
    /// Run of the batch; `None` without a run.
    pub run: Option<Run>,
    /// Batch that ran when the request was queued, if no replica was idle.
    pub behind: Option<BlockingBatch>,
    /// Requests that waited when the request was queued.
    pub ahead: usize,
    /// Result of the cache lookup; `None` without a cache.
    pub cache: Option<CacheLookup>,
}

impl Stages {
    /// Stages of a request that is answered without a run.
    pub fn without_run(queued: Instant, answered: Instant, cache: Option<CacheLookup>) -> Self {
        Self {
            queued,
            batched: answered,
            gathered: answered,
            executed: answered,
            split: answered,
            run: None,
            behind: None,
            ahead: 0,
            cache,
        }
    }

    /// Rows of the batch; 0 without a run.
    pub fn batch_rows(&self) -> usize {
        self.run.map_or(0, |run| run.rows)
    }

    /// Time in the queue.
    pub fn queue(&self) -> Duration {
        self.batched - self.queued
    }

    /// Time from joining the queue to having the outputs.
    pub fn total(&self) -> Duration {
        self.split - self.queued
    }
}
