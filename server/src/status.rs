//! Errors of the server, and the one table of their statuses in HTTP and gRPC.

use crate::config::Limits;
use http::StatusCode;
use skysail_engine::Error as EngineError;
use skysail_engine::error::ShedReason;
use skysail_engine::repository::{RepositoryError, SentFilesError};
use skysail_engine::validate::InvalidRequest;
use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Advice on when to retry, in milliseconds, if nothing better is known.
const RETRY_AFTER_MS: u64 = 1000;

/// Bytes of the longest message.
const MESSAGE_BYTES_MAX: usize = 1000;

/// Metadata with the time to retry that gRPC's own clients follow.
const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Any rejection or failure of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Error of the engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Error of the repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Files that came with a request can not be taken.
    #[error("the files of the model are not taken: {0}")]
    Files(#[from] SentFilesError),
    /// The request is invalid.
    #[error("{0}")]
    Malformed(String),
    /// The request uses a part of the protocol that this server lacks.
    #[error("{0}")]
    Unsupported(String),
    /// No such path.
    #[error("there is no path {path}; {instead}")]
    NoSuchPath {
        /// The path, cut if it is long.
        path: String,
        /// Paths that exist.
        instead: String,
    },
    /// The path exists, for other methods.
    #[error("this path takes {0} only")]
    WrongMethod(&'static str),
    /// The body has an unknown compression.
    #[error("Content-Encoding '{0}' is not known here; gzip and deflate are")]
    UnknownEncoding(String),
    /// A body over the limit.
    #[error(
        "the body is larger than {limit} bytes; the server's flag --body-bytes-max sets the limit, \
         which is at most {} for requests other than inference",
        Limits::ADMIN_BYTES_MAX
    )]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body stalled.
    #[error(
        "no byte of the body came for {limit_ms} ms; the server's flag --body-timeout-ms sets the limit"
    )]
    BodyTooSlow {
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// The connection broke before the end of the body.
    #[error("the body ended early: {0}")]
    BodyBroken(String),
    /// The call's own deadline passed, which ends the call in any case.
    #[error("the call's deadline of {limit_us} us has passed")]
    DeadlinePassed {
        /// The limit in microseconds.
        limit_us: u64,
    },
    /// No shared memory region has this name.
    #[error("there is no shared memory region '{0}': register it first")]
    NoSuchRegion(String),
    /// A shared memory region has this name already.
    #[error("there is a shared memory region '{0}' already: unregister it first")]
    RegionExists(String),
    /// The strings of one request need more memory than all requests together may take.
    #[error(
        "the request's strings need {bytes} bytes of memory, and all requests together may take \
         {limit}: send fewer strings at once, or raise the server's flag --in-flight-bytes-max"
    )]
    StringsTooLarge {
        /// Bytes that they need.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The server stops before the request could be answered.
    #[error("the server is stopping: send the request to another one, or later again")]
    Stopping,
    /// The server is at a limit.
    #[error("the server holds {what}, its limit; try again later")]
    Busy {
        /// The limited resource.
        what: String,
    },
}

impl Error {
    /// An invalid request, with the reason.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed(message.into())
    }

    /// A path that does not exist, with words on those that do.
    pub(crate) fn no_such_path(path: &str, instead: impl Into<String>) -> Self {
        const SHOWN_CHARS: usize = 200;
        let mut path = path.escape_debug().to_string();
        if let Some((end, _)) = path.char_indices().nth(SHOWN_CHARS) {
            path.truncate(end);
            path.push_str("...");
        }
        Self::NoSuchPath { path, instead: instead.into() }
    }

    /// The error in words, of a length that every client takes: in gRPC it is a header.
    pub(crate) fn message(&self) -> String {
        cut(self.to_string())
    }

    /// Status of the error over HTTP and over gRPC: the one table of both.
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
            Self::Engine(E::QueueFull { .. } | E::Overloaded { .. } | E::Dropped { .. })
            | Self::Busy { .. }
            | Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            Self::Engine(E::TimedOut { .. }) | Self::DeadlinePassed { .. } => {
                (StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded)
            }
            // The model runs on other inputs, so this input is at fault.
            Self::Engine(E::Execute { .. }) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            Self::Engine(E::ModelFailed { .. } | E::Internal(_)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal)
            }
            Self::Engine(E::Unavailable { .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
            }
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
            Self::Files(SentFilesError::Io(_)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal)
            }
            Self::Files(_) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            Self::NoSuchRegion(_) => (StatusCode::NOT_FOUND, Code::NotFound),
            Self::RegionExists(_) => (StatusCode::BAD_REQUEST, Code::AlreadyExists),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            Self::Unsupported(_) => (StatusCode::NOT_IMPLEMENTED, Code::Unimplemented),
            Self::NoSuchPath { .. } => (StatusCode::NOT_FOUND, Code::Unimplemented),
            Self::WrongMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented),
            Self::UnknownEncoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented),
            Self::BodyTooLarge { .. } | Self::StringsTooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted)
            }
            Self::BodyTooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
            Self::BodyBroken(_) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        }
    }

    /// Milliseconds after which the same request may succeed, if it may.
    pub(crate) fn retry_after_ms(&self) -> Option<u64> {
        use EngineError as E;
        match self {
            Self::Engine(
                E::Overloaded { retry_after_ms, .. } | E::Dropped { retry_after_ms, .. },
            ) => Some(*retry_after_ms),
            Self::Engine(E::Unavailable { retry_after_ms, .. }) => {
                Some(retry_after_ms.unwrap_or(RETRY_AFTER_MS))
            }
            Self::Engine(E::QueueFull { .. } | E::ModelNotReady { .. })
            | Self::Repository(RepositoryError::Closed)
            | Self::Busy { .. }
            | Self::Stopping => Some(RETRY_AFTER_MS),
            _ => None,
        }
    }

    /// Reason for shedding, if the error sheds a sound request.
    pub(crate) fn shed_reason(&self) -> Option<ShedReason> {
        match self {
            Self::Engine(error) => error.shed_reason(),
            Self::DeadlinePassed { .. } => Some(ShedReason::Expired),
            Self::Busy { .. } => Some(ShedReason::Busy),
            _ => None,
        }
    }
}

/// Cuts a message that quotes what a client sent, at a character.
fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.push_str("...");
    }
    message
}

impl From<InvalidRequest> for Error {
    fn from(error: InvalidRequest) -> Self {
        Self::Engine(error.into())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, message) = (error.status().1, error.message());
        let Some(ms) = error.retry_after_ms() else { return Self::new(code, message) };
        let mut metadata = MetadataMap::new();
        metadata.insert(RETRY_PUSHBACK, i32::try_from(ms).unwrap_or(i32::MAX).into());
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(ms)));
        Self::with_error_details_and_metadata(code, message, details, metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overloaded(retry_after_ms: u64) -> Error {
        EngineError::Overloaded { model: "m".into(), deadline_us: 5, retry_after_ms }.into()
    }

    #[test]
    fn a_message_that_quotes_a_long_name_is_cut() {
        let error = Error::malformed("é".repeat(20_000));
        let message = error.message();
        assert!(message.len() <= MESSAGE_BYTES_MAX + 3 && message.ends_with("é..."), "{message}");
        assert_eq!(Status::from(error).message(), message);
        assert_eq!(Error::malformed("short").message(), "short");
    }

    #[test]
    fn only_errors_that_may_pass_advise_to_retry() {
        let full = EngineError::QueueFull { model: "m".into(), limit: 1 };
        assert_eq!(Error::from(full).retry_after_ms(), Some(RETRY_AFTER_MS));
        assert_eq!(overloaded(7).retry_after_ms(), Some(7));
        assert_eq!(Error::malformed("x").retry_after_ms(), None);
        assert_eq!(Error::from(RepositoryError::NotExplicit).retry_after_ms(), None);
    }

    #[test]
    fn a_failure_has_the_status_of_the_one_at_fault() {
        let (model, message) = (String::from("m"), String::from("it broke"));
        let request = EngineError::Execute { model: model.clone(), message: message.clone() };
        let failed = EngineError::ModelFailed { model: model.clone(), message: message.clone() };
        let retry_after_ms = Some(40);
        let replica = EngineError::Unavailable { model, message, retry_after_ms };
        let [request, failed, replica] = [request, failed, replica].map(Error::from);
        assert_eq!(request.status(), (StatusCode::BAD_REQUEST, Code::InvalidArgument));
        assert_eq!(failed.status(), (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal));
        assert_eq!(replica.status(), (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable));
        assert_eq!((failed.retry_after_ms(), replica.retry_after_ms()), (None, Some(40)));
    }

    #[test]
    fn grpc_has_retry_advice_in_details_and_metadata() {
        let status = Status::from(overloaded(1234));
        assert_eq!(status.code(), Code::Unavailable);
        let info = status.get_details_retry_info().unwrap();
        assert_eq!(info.retry_delay, Some(Duration::from_millis(1234)));
        assert_eq!(status.metadata().get(RETRY_PUSHBACK).unwrap(), "1234");
        let far = Status::from(overloaded(u64::MAX));
        assert_eq!(far.metadata().get(RETRY_PUSHBACK).unwrap(), &i32::MAX.to_string());
    }

    #[test]
    fn grpc_has_no_retry_advice_after_the_deadline() {
        let status = Status::from(Error::DeadlinePassed { limit_us: 5 });
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.get_details_retry_info().is_none());
        assert!(status.metadata().is_empty());
    }
}
