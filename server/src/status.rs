//! Why the server does not answer with a prediction, and the one table of what that is in HTTP
//! and in gRPC.

use http::StatusCode;
use skysail_engine::Error as EngineError;
use skysail_engine::admit::InvalidRequest;
use skysail_engine::repository::RepositoryError;
use tonic::Code;

/// Any refusal or failure of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The engine's.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The repository's.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The request can not be read.
    #[error("{0}")]
    Malformed(String),
    /// The request asks for something that exists elsewhere and not here.
    #[error("{0}")]
    Unsupported(String),
    /// No such path.
    #[error("there is nothing at {0}; GET /v2 says what this server is")]
    NoSuchPath(String),
    /// A path that takes other methods.
    #[error("this path takes {0} only")]
    WrongMethod(&'static str),
    /// A body compressed in another way than those known here.
    #[error("Content-Encoding '{0}' is not known here; gzip and deflate are")]
    UnknownEncoding(String),
    /// A body over the limit.
    #[error("the body is larger than {limit} bytes; the server's flag --body-bytes-max sets that")]
    BodyTooLarge {
        /// Bytes.
        limit: usize,
    },
    /// A body that does not come.
    #[error("no byte of the body came for {limit_ms} ms; the flag --body-timeout-ms sets that")]
    BodyTooSlow {
        /// Milliseconds.
        limit_ms: u64,
    },
    /// The connection broke inside the body.
    #[error("the body ended early: {0}")]
    BodyBroken(String),
    /// Too much at once.
    #[error("the server holds {what}, its limit; try again later")]
    Busy {
        /// What there is too much of.
        what: String,
    },
}

impl Error {
    /// A request that can not be read.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed(message.into())
    }

    /// The table: what the refusal is over HTTP and over gRPC.
    pub(crate) fn status(&self) -> (StatusCode, Code) {
        use EngineError as E;
        match self {
            Self::Engine(E::ModelNotFound { .. } | E::VersionNotFound { .. }) => {
                (StatusCode::NOT_FOUND, Code::NotFound)
            }
            Self::Engine(E::Invalid(_)) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            Self::Engine(E::ModelNotReady { .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
            }
            Self::Engine(E::QueueFull { .. }) | Self::Busy { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
            }
            Self::Engine(E::TimedOut { .. }) => {
                (StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded)
            }
            // The model runs on other inputs, so it is these that it can not take.
            Self::Engine(E::Execute { .. }) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            Self::Engine(E::Internal(_)) => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
            Self::Repository(RepositoryError::NotExplicit) => {
                (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
            }
            Self::Repository(RepositoryError::NoSuchModel(_)) => {
                (StatusCode::NOT_FOUND, Code::NotFound)
            }
            Self::Repository(RepositoryError::NotLoaded { .. }) => {
                (StatusCode::BAD_REQUEST, Code::InvalidArgument)
            }
            Self::Repository(RepositoryError::Closed) => {
                (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
            }
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            Self::Unsupported(_) => (StatusCode::NOT_IMPLEMENTED, Code::Unimplemented),
            Self::NoSuchPath(_) => (StatusCode::NOT_FOUND, Code::Unimplemented),
            Self::WrongMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented),
            Self::UnknownEncoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted),
            Self::BodyTooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
            Self::BodyBroken(_) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        }
    }

    /// Whether the same request may succeed when it is sent again.
    pub(crate) fn can_retry(&self) -> bool {
        self.status().0 == StatusCode::SERVICE_UNAVAILABLE
    }
}

impl From<InvalidRequest> for Error {
    fn from(error: InvalidRequest) -> Self {
        Self::Engine(error.into())
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        Self::new(error.status().1, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_can_be_retried() {
        let full = EngineError::QueueFull { model: "m".into(), limit: 1 };
        assert!(Error::from(full).can_retry());
        assert!(!Error::malformed("x").can_retry());
    }
}
