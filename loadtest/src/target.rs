//! The server under load: what it says of its model, and connections to it that
//! send encoded requests again and again.

mod address;
pub mod http;
pub mod http1;
mod response;
pub mod http2;
pub mod grpc;
pub mod stream;

pub use address::{Address, BadUrl};

use crate::payload::{self, Payload};
use skysail_protocol::json::ModelMetadata;
use std::io;
use std::time::Duration;

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP, tensors in JSON.
    Json,
    /// HTTP, raw tensors after a JSON part.
    Binary,
    /// gRPC, raw tensors, each request a call of its own.
    Grpc,
    /// gRPC, raw tensors, each caller with one call for all of its requests.
    GrpcStream,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Json, Self::Binary, Self::Grpc, Self::GrpcStream];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Binary => "binary",
            Self::Grpc => "grpc",
            Self::GrpcStream => "grpc-stream",
        }
    }

    /// Whether it travels by HTTP alone.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Json | Self::Binary)
    }
}

/// How connections are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// HTTP/2 in place of HTTP/1.1 for JSON and raw tensors. gRPC always has it.
    pub http2: bool,
    /// Whether a connection of HTTP/1.1 carries one request after the other, or one only.
    pub keep_alive: bool,
    /// Callers that share a connection of HTTP/2 or gRPC, above 0.
    pub streams: usize,
}

impl Default for Transport {
    fn default() -> Self {
        /// Servers take at least 100 on each connection.
        const STREAMS: usize = 64;
        Self { http2: false, keep_alive: true, streams: STREAMS }
    }
}

/// A server, and the way to it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it is.
    pub address: Address,
    /// How requests travel.
    pub protocol: Protocol,
    /// How connections are used.
    pub transport: Transport,
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
    /// How connections are used.
    pub transport: Transport,
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
    /// The version that the server chooses, over connections that are used in the usual way.
    pub fn new(address: Address, protocol: Protocol, model: impl Into<String>) -> Self {
        let transport = Transport::default();
        Self { address, protocol, model: model.into(), version: None, transport }
    }

    /// The server that it is on.
    pub fn server(&self) -> Server {
        let Self { address, protocol, transport, .. } = self;
        Server { address: address.clone(), protocol: *protocol, transport: *transport }
    }

    /// Asks the server for the model's metadata.
    ///
    /// # Errors
    /// When the server is not there, does not answer, or does not know the model.
    pub async fn describe(&self) -> Result<ModelMetadata, Failure> {
        match self.protocol {
            Protocol::Json | Protocol::Binary => http::describe(self).await,
            Protocol::Grpc | Protocol::GrpcStream => grpc::describe(self).await,
        }
    }

    /// Encodes the payload, once for all requests.
    ///
    /// # Errors
    /// When the protocol cannot carry the payload.
    pub(crate) fn encode(&self, payload: &Payload) -> Result<Encoded, payload::Error> {
        match self.protocol {
            Protocol::Json | Protocol::Binary => {
                http::encode(self, payload).map(|request| Encoded::Http(Box::new(request)))
            }
            Protocol::Grpc | Protocol::GrpcStream => grpc::encode(self, payload).map(Encoded::Grpc),
        }
    }
}

/// A request as its protocol sends it.
#[derive(Clone, Debug)]
pub(crate) enum Encoded {
    /// Head and body.
    Http(Box<http::Request>),
    /// The message.
    Grpc(bytes::Bytes),
}

/// A server with the encoded requests for it, to connect to.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// Over HTTP/1.1.
    Http1(http1::Endpoint),
    /// Over HTTP/2.
    Http2(http2::Endpoint),
    /// Over gRPC, by calls or streams.
    Grpc(grpc::Endpoint),
}

impl Endpoint {
    /// Of a server and the requests, each encoded for one of its models.
    pub(crate) fn new(server: &Server, requests: Vec<Encoded>) -> Self {
        let (mut messages, mut http) = (Vec::new(), Vec::new());
        for request in requests {
            match request {
                Encoded::Http(request) => http.push(*request),
                Encoded::Grpc(message) => messages.push(message),
            }
        }
        match server.protocol {
            Protocol::Grpc | Protocol::GrpcStream => {
                Self::Grpc(grpc::Endpoint::new(server, messages))
            }
            Protocol::Json | Protocol::Binary if server.transport.http2 => {
                Self::Http2(http2::Endpoint::new(server, http))
            }
            Protocol::Json | Protocol::Binary => Self::Http1(http1::Endpoint::new(server, &http)),
        }
    }

    /// Opens connections, which may send at the same time.
    ///
    /// # Errors
    /// When one of them cannot be made.
    pub async fn connect(&self, count: usize) -> Result<Vec<Connection>, Failure> {
        match self {
            Self::Http1(endpoint) => http1::connect(endpoint, count).await,
            Self::Http2(endpoint) => http2::connect(endpoint, count).await,
            Self::Grpc(endpoint) => grpc::connect(endpoint, count).await,
        }
    }
}

/// One connection of HTTP/1.1, or one caller on a shared connection of HTTP/2 or gRPC.
#[derive(Debug)]
pub enum Connection {
    /// Over HTTP/1.1.
    Http1(http1::Connection),
    /// Over HTTP/2.
    Http2(http2::Connection),
    /// Over gRPC, by calls.
    Grpc(grpc::Connection),
    /// Over gRPC, by a stream.
    Stream(Box<stream::Connection>),
}

impl Connection {
    /// Sends the endpoint's request of this number and reads the whole answer. A connection that
    /// broke is made anew, and so is one whose answer was not waited for.
    ///
    /// # Errors
    /// When there is no answer, or not the right one.
    pub async fn send(&mut self, request: usize) -> Result<(), Failure> {
        match self {
            Self::Http1(connection) => connection.send(request).await,
            Self::Http2(connection) => connection.send(request).await,
            Self::Grpc(connection) => connection.send(request).await,
            Self::Stream(connection) => connection.send(request).await,
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
