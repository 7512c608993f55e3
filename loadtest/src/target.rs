//! The server under load: what it says of its model, and connections to it that
//! send one encoded request again and again.

mod address;
pub mod grpc;
pub mod http;

pub use address::{Address, BadUrl};

use std::io;
use std::time::Duration;

use skysail_protocol::json::ModelMetadata;

use crate::payload::{self, Payload};

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, tensors in JSON.
    Json,
    /// HTTP/1.1, raw tensors after a JSON part.
    Binary,
    /// gRPC, raw tensors.
    Grpc,
}

impl Protocol {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Binary => "binary",
            Self::Grpc => "grpc",
        }
    }
}

/// A model on a server.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the server is.
    pub address: Address,
    /// How requests travel.
    pub protocol: Protocol,
    /// The model's name.
    pub model: String,
    /// The model's version; `None` leaves it to the server.
    pub version: Option<String>,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection could be made.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server answered that it would or could not.
    #[error("{status}: {message}")]
    Refused {
        /// HTTP's or gRPC's status.
        status: String,
        /// The server's words, cut short.
        message: String,
    },
    /// The connection ended too early, or what came is not of the protocol.
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl Failure {
    pub(crate) fn connect(error: &io::Error) -> Self {
        Self::Connect(error.to_string())
    }

    pub(crate) fn broken(error: &dyn std::error::Error) -> Self {
        Self::Broken(chain(error))
    }

    /// Whether the server turned the request down because it had too much to do: HTTP's 503 and
    /// 429, gRPC's `Unavailable` and `ResourceExhausted`.
    pub fn is_refusal(&self) -> bool {
        const BUSY: [&str; 4] = ["503", "429", "Unavailable", "ResourceExhausted"];
        matches!(self, Self::Refused { status, .. } if BUSY.contains(&&**status))
    }

    pub(crate) fn refused(status: &str, message: &str) -> Self {
        /// Characters of the server's words that are kept.
        const KEPT: usize = 200;
        Self::Refused {
            status: status.to_owned(),
            message: message.trim().chars().take(KEPT).collect(),
        }
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl Target {
    /// Asks the server for the model's metadata.
    ///
    /// # Errors
    /// When the server is not there, does not answer, or does not know the model.
    pub async fn describe(&self) -> Result<ModelMetadata, Failure> {
        match self.protocol {
            Protocol::Json | Protocol::Binary => http::describe(self).await,
            Protocol::Grpc => grpc::describe(self).await,
        }
    }

    /// Encodes the payload, once for all requests.
    ///
    /// # Errors
    /// When the protocol cannot carry the payload.
    pub fn endpoint(&self, payload: &Payload) -> Result<Endpoint, payload::Error> {
        match self.protocol {
            Protocol::Json | Protocol::Binary => {
                http::Endpoint::new(self, payload).map(Endpoint::Http)
            }
            Protocol::Grpc => grpc::Endpoint::new(self, payload).map(Endpoint::Grpc),
        }
    }
}

/// A target with its encoded request, to connect to.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// Over HTTP/1.1.
    Http(http::Endpoint),
    /// Over gRPC.
    Grpc(grpc::Endpoint),
}

impl Endpoint {
    /// Opens connections, which may send at the same time.
    ///
    /// # Errors
    /// When one of them cannot be made.
    pub async fn connect(&self, count: usize) -> Result<Vec<Connection>, Failure> {
        match self {
            Self::Http(endpoint) => http::connect(endpoint, count).await,
            Self::Grpc(endpoint) => grpc::connect(endpoint, count).await,
        }
    }
}

/// One connection of HTTP, or one caller on a shared connection of gRPC.
#[derive(Debug)]
pub enum Connection {
    /// Over HTTP/1.1.
    Http(http::Connection),
    /// Over gRPC.
    Grpc(grpc::Connection),
}

impl Connection {
    /// Sends the request and reads the whole answer. A connection that broke is made anew, and so
    /// is one whose answer was not waited for.
    ///
    /// # Errors
    /// When there is no answer, or not the right one.
    pub async fn send(&mut self) -> Result<(), Failure> {
        match self {
            Self::Http(connection) => connection.send().await,
            Self::Grpc(connection) => connection.send().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_cut_short() {
        let Failure::Refused { message, .. } = Failure::refused("503", &"x".repeat(1000)) else {
            panic!("not refused");
        };
        assert_eq!(message.len(), 200);
    }

    #[test]
    fn only_a_busy_server_refuses() {
        for busy in ["503", "429", "Unavailable", "ResourceExhausted"] {
            assert!(Failure::refused(busy, "").is_refusal(), "{busy}");
        }
        for other in ["400", "404", "500", "504", "InvalidArgument", "DeadlineExceeded"] {
            assert!(!Failure::refused(other, "").is_refusal(), "{other}");
        }
        assert!(!Failure::Broken("503".into()).is_refusal());
    }
}
