//! The stages of a request, each one word: the module, the metric's label and the benchmark's row.

/// A stage, in the order of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its bytes arrive.
    Accept,
    /// Bytes become tensors.
    Decode,
    /// It is checked against the model and put into the queue.
    Admit,
    /// It waits.
    Queue,
    /// Its tensors are gathered into the batch.
    Batch,
    /// The batch runs.
    Execute,
    /// Tensors become bytes.
    Respond,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Accept,
        Self::Decode,
        Self::Admit,
        Self::Queue,
        Self::Batch,
        Self::Execute,
        Self::Respond,
    ];

    /// The label of its metrics.
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
