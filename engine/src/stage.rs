//! Stages of a request. Each has one word, used as a label of metrics and a row of benchmarks.

/// A stage, in the order of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The bytes of the request arrive.
    Accept,
    /// Bytes are decoded to tensors.
    Decode,
    /// The request is validated against the model and queued.
    Admit,
    /// The request waits in the queue.
    Queue,
    /// Tensors are gathered into the batch.
    Batch,
    /// The batch runs.
    Execute,
    /// Tensors are encoded to bytes.
    Respond,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 7] = [
        Self::Accept,
        Self::Decode,
        Self::Admit,
        Self::Queue,
        Self::Batch,
        Self::Execute,
        Self::Respond,
    ];

    /// Label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Decode => "decode",
            Self::Admit => "admit",
            Self::Queue => "queue",
            Self::Batch => "batch",
            Self::Execute => "execute",
            Self::Respond => "respond",
        }
    }
}
