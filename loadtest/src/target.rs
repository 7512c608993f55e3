//! Server under load: its models' metadata, and connections that send encoded requests again and
//! again.

mod address;
pub mod http;
pub mod http1;
mod response;
pub mod http2;
pub mod grpc;
pub mod stream;

pub use address::{Address, InvalidUrl};

use crate::payload::{self, Payload};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use skysail_protocol::json::ModelMetadata;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// Most bytes of a page that a query reads.
pub(crate) const PAGE_BYTES_MAX: usize = 16 << 20;

/// Protocol of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP with tensors in JSON.
    Json,
    /// HTTP with raw tensors after a JSON part.
    Binary,
    /// gRPC with raw tensors, a call for each request.
    Grpc,
    /// gRPC with raw tensors, a stream for each concurrent sender.
    GrpcStream,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 4] = [Self::Json, Self::Binary, Self::Grpc, Self::GrpcStream];

    /// Name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Binary => "binary",
            Self::Grpc => "grpc",
            Self::GrpcStream => "grpc-stream",
        }
    }

    /// True for HTTP without gRPC.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Json | Self::Binary)
    }
}

/// Use of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// True for HTTP/2 instead of HTTP/1.1, for JSON and raw tensors. gRPC always uses HTTP/2.
    pub http2: bool,
    /// True if a connection of HTTP/1.1 carries several requests.
    pub keep_alive: bool,
    /// Concurrent requests on a connection of HTTP/2 or gRPC, above 0.
    pub streams: usize,
}

impl Default for Transport {
    fn default() -> Self {
        /// Servers allow at least 100 on each connection.
        const STREAMS: usize = 64;
        Self { http2: false, keep_alive: true, streams: STREAMS }
    }
}

/// Server, with the protocol and the use of connections.
#[derive(Clone, Debug)]
pub struct Server {
    /// Address of the server.
    pub address: Address,
    /// Protocol of the requests.
    pub protocol: Protocol,
    /// Use of connections.
    pub transport: Transport,
}

/// Model on a server.
#[derive(Clone, Debug)]
pub struct Target {
    /// Address of the server.
    pub address: Address,
    /// Protocol of the requests.
    pub protocol: Protocol,
    /// Name of the model.
    pub model: String,
    /// Version of the model; `None` leaves it to the server.
    pub version: Option<String>,
    /// Use of connections.
    pub transport: Transport,
}

/// Reason why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection could be made.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// No response came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server answered with an error.
    #[error("{status}: {message}")]
    Status {
        /// Status of HTTP or gRPC.
        status: String,
        /// Error message, truncated.
        message: String,
    },
    /// The connection ended too early, or the response is not of the protocol.
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

    /// True if the server rejected the request because of overload: HTTP's 503 and 429, gRPC's
    /// `Unavailable` and `ResourceExhausted`.
    pub fn is_rejection(&self) -> bool {
        const BUSY: [&str; 4] = ["503", "429", "Unavailable", "ResourceExhausted"];
        matches!(self, Self::Status { status, .. } if BUSY.contains(&&**status))
    }

    pub(crate) fn from_status(status: &str, message: &str) -> Self {
        /// Most characters of an error message.
        const KEPT: usize = 200;
        Self::Status {
            status: status.to_owned(),
            message: message.trim().chars().take(KEPT).collect(),
        }
    }
}

/// Escapes a name for a path segment or a query value.
pub(crate) fn percent_encoded(name: &str) -> String {
    /// Characters that are left as they are.
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(name, PLAIN).to_string()
}

/// Error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl Target {
    /// Creates a target with the server's choice of version and default connections.
    pub fn new(address: Address, protocol: Protocol, model: impl Into<String>) -> Self {
        let transport = Transport::default();
        Self { address, protocol, model: model.into(), version: None, transport }
    }

    /// Server of the target.
    pub fn server(&self) -> Server {
        let Self { address, protocol, transport, .. } = self;
        Server { address: address.clone(), protocol: *protocol, transport: *transport }
    }

    /// Path of the model's own pages on the server.
    pub(crate) fn path(&self) -> String {
        let version = self.version.as_deref().map(percent_encoded);
        let version = version.map_or(String::new(), |version| format!("/versions/{version}"));
        format!("/v2/models/{}{version}", percent_encoded(&self.model))
    }

    /// Queries the server over the target's protocol, by one of two futures.
    ///
    /// # Errors
    /// Fails if there is no response within `limit`, or the future fails.
    pub(crate) async fn query<T>(
        &self,
        limit: Duration,
        over_http: impl Future<Output = Result<T, Failure>>,
        over_grpc: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let querying =
            async { if self.protocol.is_http() { over_http.await } else { over_grpc.await } };
        timeout(limit, querying).await.unwrap_or(Err(Failure::Timeout(limit)))
    }

    /// Requests the model's metadata.
    ///
    /// # Errors
    /// Fails if the server is not there, does not answer, or does not know the model.
    pub async fn describe(&self) -> Result<ModelMetadata, Failure> {
        match self.protocol {
            Protocol::Json | Protocol::Binary => http::describe(self).await,
            Protocol::Grpc | Protocol::GrpcStream => grpc::describe(self).await,
        }
    }

    /// Encodes the payload, once for all requests.
    ///
    /// # Errors
    /// Fails if the protocol cannot carry the payload.
    pub(crate) fn encode(&self, payload: &Payload) -> Result<EncodedRequest, payload::Error> {
        match self.protocol {
            Protocol::Json | Protocol::Binary => {
                http::encode(self, payload).map(|request| EncodedRequest::Http(Box::new(request)))
            }
            Protocol::Grpc | Protocol::GrpcStream => {
                grpc::encode(self, payload).map(EncodedRequest::Grpc)
            }
        }
    }
}

/// Encoded request.
#[derive(Clone, Debug)]
pub(crate) enum EncodedRequest {
    /// Head and body.
    Http(Box<http::Request>),
    /// Message.
    Grpc(bytes::Bytes),
}

/// Server with its encoded requests, to connect to.
#[derive(Clone, Debug)]
pub enum Connector {
    /// HTTP/1.1.
    Http1(http1::Connector),
    /// HTTP/2.
    Http2(http2::Connector),
    /// gRPC, by calls or streams.
    Grpc(grpc::Connector),
}

impl Connector {
    /// Creates a connector for a server and its encoded requests.
    pub(crate) fn new(server: &Server, requests: Vec<EncodedRequest>) -> Self {
        let (mut messages, mut http) = (Vec::new(), Vec::new());
        for request in requests {
            match request {
                EncodedRequest::Http(request) => http.push(*request),
                EncodedRequest::Grpc(message) => messages.push(message),
            }
        }
        match server.protocol {
            Protocol::Grpc | Protocol::GrpcStream => {
                Self::Grpc(grpc::Connector::new(server, messages))
            }
            Protocol::Json | Protocol::Binary if server.transport.http2 => {
                Self::Http2(http2::Connector::new(server, http))
            }
            Protocol::Json | Protocol::Binary => Self::Http1(http1::Connector::new(server, &http)),
        }
    }

    /// Opens connections, which may send at the same time.
    ///
    /// # Errors
    /// Fails if one of them cannot be made.
    pub async fn connect(&self, count: usize) -> Result<Vec<Connection>, Failure> {
        match self {
            Self::Http1(connector) => http1::connect(connector, count).await,
            Self::Http2(connector) => http2::connect(connector, count).await,
            Self::Grpc(connector) => grpc::connect(connector, count).await,
        }
    }
}

/// Connection of HTTP/1.1, or a sender on a shared connection of HTTP/2 or gRPC.
#[derive(Debug)]
pub enum Connection {
    /// HTTP/1.1.
    Http1(http1::Connection),
    /// HTTP/2.
    Http2(http2::Connection),
    /// gRPC, by calls.
    Grpc(grpc::Connection),
    /// gRPC, by a stream.
    Stream(Box<stream::Connection>),
}

impl Connection {
    /// Sends the connector's request of this index and reads the whole response. Reconnects after a
    /// failure or a cancelled send.
    ///
    /// # Errors
    /// Fails if there is no response, or not a valid one.
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
    fn an_error_message_is_truncated() {
        let Failure::Status { message, .. } = Failure::from_status("503", &"x".repeat(1000)) else {
            panic!("not rejected");
        };
        assert_eq!(message.len(), 200);
    }

    #[test]
    fn only_overload_is_a_rejection() {
        for busy in ["503", "429", "Unavailable", "ResourceExhausted"] {
            assert!(Failure::from_status(busy, "").is_rejection(), "{busy}");
        }
        for other in ["400", "404", "500", "504", "InvalidArgument", "DeadlineExceeded"] {
            assert!(!Failure::from_status(other, "").is_rejection(), "{other}");
        }
        assert!(!Failure::Broken("503".into()).is_rejection());
    }
}
