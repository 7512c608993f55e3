//! Errors that prevent a run.

use crate::payload;
use crate::target::{Address, Failure};
use std::io;

/// Reason why a run did not take place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server listens.
    #[error("{failure}; is a server running at {address}?")]
    Unreachable {
        /// Address without a server.
        address: Address,
        /// Failure of the connection.
        failure: Failure,
    },
    /// The server does not describe the model.
    #[error("the server at {address} does not describe the model `{model}`: {failure}")]
    Model {
        /// Address of the server.
        address: Address,
        /// Name of the model.
        model: String,
        /// Failure of the request for metadata.
        failure: Failure,
    },
    /// There is nothing to send.
    #[error(transparent)]
    Payload(#[from] payload::Error),
    /// The first request failed, so that a load would fail, too.
    #[error("the first request failed, so that no load was sent: {0}")]
    FirstRequest(Failure),
    /// The server accepted the first connection but not all of them.
    #[error("cannot open {count} connections: {failure}")]
    Connections {
        /// Number of connections.
        count: usize,
        /// Failure of a connection.
        failure: Failure,
    },
    /// The system has no threads or timers left.
    #[error("cannot send: {0}")]
    System(#[from] io::Error),
}
