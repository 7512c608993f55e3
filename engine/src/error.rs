//! Why a request gets no answer: whose fault it was and whether trying again can help.

use crate::admit::InvalidRequest;

/// Why a prediction was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository holds no such model.
    #[error("there is no model '{model}'; `repository/index` lists the models")]
    ModelNotFound {
        /// As asked for.
        model: String,
    },
    /// The model has no such version in service.
    #[error("model '{model}' has no version {version} in service; it serves {serving}")]
    VersionNotFound {
        /// As asked for.
        model: String,
        /// As asked for.
        version: u64,
        /// The versions it does serve, in words.
        serving: String,
    },
    /// The model is known, and no version of it serves.
    #[error("model '{model}' is not ready: {reason}")]
    ModelNotReady {
        /// As asked for.
        model: String,
        /// Its state in words.
        reason: String,
    },
    /// The request does not fit the model.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The queue has no room.
    #[error("model '{model}' has {limit} requests waiting, its limit; try again later")]
    QueueFull {
        /// Its name.
        model: String,
        /// Requests that its queue holds.
        limit: usize,
    },
    /// The request waited longer than it allows.
    #[error("the request waited in the queue for longer than its timeout of {timeout_us} us")]
    TimedOut {
        /// The limit that passed.
        timeout_us: u64,
    },
    /// ONNX Runtime ran the model and failed.
    #[error("model '{model}' failed on this input: {message}")]
    Execute {
        /// Its name.
        model: String,
        /// What the runtime said.
        message: String,
    },
    /// The server is stopping, or something broke that should not.
    #[error("{0}")]
    Internal(String),
}

/// Kinds of failure that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Refused before it ran: a bad request, or no room.
    Rejected,
    /// Its caller left or its time was over.
    Cancelled,
    /// The model or its runtime failed.
    Backend,
    /// Anything else.
    Other,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Cancelled, Self::Backend, Self::Other];

    /// The label of its metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::Cancelled => "CANCELED",
            Self::Backend => "BACKEND",
            Self::Other => "OTHER",
        }
    }
}

impl Error {
    /// Under which reason it is counted.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Invalid(_) | Self::QueueFull { .. } => Reason::Rejected,
            Self::TimedOut { .. } => Reason::Cancelled,
            Self::Execute { .. } => Reason::Backend,
            _ => Reason::Other,
        }
    }
}
