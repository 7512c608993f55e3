//! Reasons why a request gets no response, by whose fault, and if a retry can help.

use crate::validate::InvalidRequest;

/// Reason why a request gets no outputs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository holds no such model.
    #[error(
        "Request for unknown model: there is no model '{model}'; `repository/index` lists the models"
    )]
    ModelNotFound {
        /// As the request names it.
        model: String,
    },
    /// The model has no such version in service.
    #[error("model '{model}' has no version {version} in service; it serves {serving}")]
    VersionNotFound {
        /// As the request names it.
        model: String,
        /// As the request names it.
        version: u64,
        /// Versions that serve, as text.
        serving: String,
    },
    /// The model is known, and no version of it serves.
    #[error("model '{model}' is not ready: {reason}")]
    ModelNotReady {
        /// As the request names it.
        model: String,
        /// State of its versions, as text.
        reason: String,
    },
    /// The request does not fit the model.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The queue has no room.
    #[error("model '{model}' has {limit} requests waiting, its limit; try again later")]
    QueueFull {
        /// Name of the model.
        model: String,
        /// Requests that the queue holds.
        limit: usize,
    },
    /// No response in time was possible, so it was rejected.
    #[error(
        "model '{model}' is overloaded: an answer within {deadline_us} us is not possible; try \
         again in {retry_after_ms} ms"
    )]
    Overloaded {
        /// Name of the model.
        model: String,
        /// Time that the caller or the latency objective allows.
        deadline_us: u64,
        /// Time after which a retry may succeed.
        retry_after_ms: u64,
    },
    /// It expired in the queue: no response in time was possible any more.
    #[error(
        "model '{model}' is overloaded: while the request waited, an answer within {deadline_us} \
         us became impossible; try again in {retry_after_ms} ms"
    )]
    Dropped {
        /// Name of the model.
        model: String,
        /// Time that the caller or the latency objective allows.
        deadline_us: u64,
        /// Time after which a retry may succeed.
        retry_after_ms: u64,
    },
    /// The request waited longer than it allows.
    #[error("the request waited in the queue for longer than its timeout of {timeout_us} us")]
    TimedOut {
        /// Timeout that passed.
        timeout_us: u64,
    },
    /// ONNX Runtime ran the model and failed.
    #[error("model '{model}' failed on this input: {message}; change its shapes or values")]
    Execute {
        /// Name of the model.
        model: String,
        /// Message of the runtime.
        message: String,
    },
    /// The model failed, whatever the request.
    #[error("model '{model}' failed: {message}")]
    ModelFailed {
        /// Name of the model.
        model: String,
        /// Description of the failure.
        message: String,
    },
    /// The replicas that could run it failed.
    #[error("model '{model}' is unavailable: {message}; try again later")]
    Unavailable {
        /// Name of the model.
        model: String,
        /// Description of the last failure.
        message: String,
        /// Time after which a replica may work again, if it is known.
        retry_after_ms: Option<u64>,
    },
    /// The server is stopping, or something broke that should not.
    #[error("{0}")]
    Internal(String),
}

/// Classes of failures that are counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Refused before it ran: a bad request, no room, or no time left.
    Rejected,
    /// The caller left, or the time of its call passed.
    Cancelled,
    /// The model or its runtime failed.
    Backend,
    /// Anything else: the server failed, or the response can not be given as asked.
    Other,
}

impl Reason {
    /// All variants.
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Cancelled, Self::Backend, Self::Other];

    /// Label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::Cancelled => "CANCELED",
            Self::Backend => "BACKEND",
            Self::Other => "OTHER",
        }
    }
}

/// Reasons for shedding a sound request. Another time it might have been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShedReason {
    /// Rejected: a response before the deadline was not possible.
    Overloaded,
    /// Rejected: the model's queue was full.
    QueueFull,
    /// Expired: the request waited in the queue until its deadline, or nearly so.
    Expired,
    /// Rejected: the whole server was at a limit.
    Busy,
}

impl ShedReason {
    /// All variants.
    pub const ALL: [Self; 4] = [Self::Overloaded, Self::QueueFull, Self::Expired, Self::Busy];

    /// Label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::QueueFull => "queue_full",
            Self::Expired => "expired",
            Self::Busy => "busy",
        }
    }
}

impl Error {
    /// Reason for shedding, if the error sheds a sound request.
    pub fn shed_reason(&self) -> Option<ShedReason> {
        match self {
            Self::Overloaded { .. } => Some(ShedReason::Overloaded),
            Self::QueueFull { .. } => Some(ShedReason::QueueFull),
            Self::TimedOut { .. } | Self::Dropped { .. } => Some(ShedReason::Expired),
            _ => None,
        }
    }

    /// Under which reason it is counted.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Invalid(_)
            | Self::QueueFull { .. }
            | Self::Overloaded { .. }
            | Self::Dropped { .. }
            | Self::TimedOut { .. } => Reason::Rejected,
            Self::Execute { .. } | Self::ModelFailed { .. } | Self::Unavailable { .. } => {
                Reason::Backend
            }
            _ => Reason::Other,
        }
    }
}
