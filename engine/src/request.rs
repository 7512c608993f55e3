//! A prediction request and its response, free of any protocol.

use crate::payload::Payload;
use crate::tensor::{DataType, Shape};
use bytes::Bytes;
use skysail_policy::cause::{BlockingBatch, Run};
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request as a protocol decoded it; nothing in it has been checked against a model.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The tensors it brings, in its own order.
    pub inputs: SmallVec<[InputTensor; 2]>,
    /// Names of the outputs it wants; all of them when empty.
    pub outputs: Vec<String>,
    /// How long its caller waits for the answer, from when it was accepted; the model's own limit
    /// or objective when `None`.
    pub timeout_us: Option<u64>,
    /// 1 is the highest priority; 0 is that of a request that does not say.
    pub priority: u64,
    /// When its head arrived, from where its timeout counts; now when `None`.
    pub accepted: Option<Instant>,
    /// When all of it was there, from where the objective counts; now when `None`.
    pub received: Option<Instant>,
}

/// A tensor that a request brings.
#[derive(Clone, Debug)]
pub struct InputTensor {
    /// Name of the model's input.
    pub name: String,
    /// Type of its elements, as the request says.
    pub datatype: DataType,
    /// Its shape, as the request says.
    pub shape: Shape,
    /// Its elements in the protocol's binary form.
    pub data: Payload,
}

/// A tensor that a model gives.
#[derive(Clone, Debug)]
pub struct OutputTensor {
    /// Name of the model's output.
    pub name: Arc<str>,
    /// Type of its elements.
    pub datatype: DataType,
    /// Its shape.
    pub shape: Shape,
    /// Its elements in the protocol's binary form.
    pub data: Bytes,
}

/// What a request gets.
#[derive(Debug)]
pub struct Response {
    /// Name of the model that answered.
    pub model: Arc<str>,
    /// Its version.
    pub version: u64,
    /// The outputs, in the order asked for, else in the model's.
    pub outputs: Outputs,
    /// When it passed the engine's stages.
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

/// When a request passed the stages from `queue` to `execute`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    /// Put into the queue.
    pub queued: Instant,
    /// Taken into a batch.
    pub batched: Instant,
    /// All inputs of the batch lie in the executor's buffers.
    pub gathered: Instant,
    /// The run is over.
    pub executed: Instant,
    /// Its outputs are its own.
    pub split: Instant,
    /// The batch it was in, if it had a run.
    pub run: Option<Run>,
    /// What ran when it was queued, if no replica was free.
    pub behind: Option<BlockingBatch>,
    /// Requests that waited before it when it was queued.
    pub ahead: usize,
    /// What the cache said, if it was asked.
    pub cache: Option<CacheLookup>,
}

impl Stages {
    /// Those of a request that is answered without a run, by the cache if it was asked.
    pub(crate) fn without_run(
        queued: Instant,
        answered: Instant,
        cache: Option<CacheLookup>,
    ) -> Self {
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

    /// Rows of the batch it was in; 0 without one.
    pub fn batch_rows(&self) -> usize {
        self.run.map_or(0, |run| run.rows)
    }

    /// Time in the queue.
    pub fn queue(&self) -> Duration {
        self.batched - self.queued
    }

    /// From queue to own outputs.
    pub fn total(&self) -> Duration {
        self.split - self.queued
    }
}
