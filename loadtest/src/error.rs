//! The errors that keep a run from starting.

use crate::payload;
use crate::target::{Address, Failure};
use std::io;

/// Reason why a run did not take place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no server.
    #[error("{failure}; is a server running at {address}?")]
    Unreachable {
        /// Where none is.
        address: Address,
        /// What was seen.
        failure: Failure,
    },
    /// The server does not describe the model.
    #[error("the server at {address} does not describe the model `{model}`: {failure}")]
    Model {
        /// The server.
        address: Address,
        /// The model's name.
        model: String,
        /// What it said instead.
        failure: Failure,
    },
    /// There is nothing to send.
    #[error(transparent)]
    Payload(#[from] payload::Error),
    /// One request was tried, and a load of them would fare no better.
    #[error("the first request failed, so that no load was sent: {0}")]
    FirstRequest(Failure),
    /// The server took the first connection but not all of them.
    #[error("cannot open {count} connections: {failure}")]
    Connections {
        /// How many were wanted.
        count: usize,
        /// What was seen.
        failure: Failure,
    },
    /// The system has no threads or timers left.
    #[error("cannot send: {0}")]
    System(#[from] io::Error),
}
