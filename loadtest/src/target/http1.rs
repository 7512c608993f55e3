//! Target over HTTP/1.1. Requests are serialized once, and responses are checked but not kept, so
//! that a request costs little more than its two system calls and allocates nothing. Hyper's client
//! costs several times as much and would be the bottleneck at high rates.

use super::http::{Request, check_answer, dial, resolve, status_failure};
use super::response::Reader;
use super::{Address, Failure, Server};
use bytes::Bytes;
use http::StatusCode;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Server with its requests.
#[derive(Clone, Debug)]
pub struct Connector {
    address: Address,
    keep_alive: bool,
    requests: Arc<[Bytes]>,
}

impl Connector {
    pub(super) fn new(server: &Server, requests: &[Request]) -> Self {
        let keep_alive = server.transport.keep_alive;
        let requests = requests.iter().map(|request| written(request, keep_alive)).collect();
        Self { address: server.address.clone(), keep_alive, requests }
    }
}

/// Bytes of a request.
fn written(request: &Request, keep_alive: bool) -> Bytes {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        bytes.extend(name.as_str().as_bytes());
        bytes.extend(b": ");
        bytes.extend(value.as_bytes());
        bytes.extend(b"\r\n");
    }
    if !keep_alive {
        bytes.extend(b"connection: close\r\n");
    }
    bytes.extend(b"\r\n");
    bytes.extend(request.body().clone().into_inner().unwrap_or_default());
    bytes.into()
}

/// Opens `count` connections.
pub(super) async fn connect(
    connector: &Connector,
    count: usize,
) -> Result<Vec<super::Connection>, Failure> {
    let addresses: Arc<[SocketAddr]> = resolve(&connector.address).await?.into();
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(super::Connection::Http1(Connection {
            stream: Some(dial(&addresses).await?),
            addresses: addresses.clone(),
            requests: connector.requests.clone(),
            keep_alive: connector.keep_alive,
            reader: Reader::default(),
        }));
    }
    Ok(connections)
}

/// Connection with one request at a time.
#[derive(Debug)]
pub struct Connection {
    addresses: Arc<[SocketAddr]>,
    requests: Arc<[Bytes]>,
    keep_alive: bool,
    /// `None` while it must not be reused: during a request, or after one that broke.
    stream: Option<TcpStream>,
    reader: Reader,
}

impl Connection {
    /// Sends a request and reads the whole response.
    pub(super) async fn send(&mut self, request: usize) -> Result<(), Failure> {
        let mut stream = self.ready().await?;
        self.reader.clear();
        let sent = stream.write_all(&self.requests[request]).await;
        // A server may answer and close before it has read everything.
        let answer = match (self.reader.answer(&mut stream).await, sent) {
            (Ok(answer), _) => answer,
            (Err(_), Err(error)) => return Err(Failure::Broken(error.to_string())),
            (Err(failure), Ok(())) => return Err(failure),
        };
        if self.keep_alive && answer.keep_alive && self.reader.is_empty() {
            self.stream = Some(stream);
        } else if !self.keep_alive {
            // The response is complete; a zero linger time keeps the port out of TIME_WAIT.
            let _ = stream.set_zero_linger();
        }
        if answer.status == StatusCode::OK {
            return check_answer(self.reader.text());
        }
        Err(status_failure(answer.status, self.reader.text()))
    }

    async fn ready(&mut self) -> Result<TcpStream, Failure> {
        if let Some(stream) = self.stream.take() {
            // An idle connection must have nothing to read: neither an unexpected response nor the
            // end.
            let read = stream.try_read(&mut [0]);
            if read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) {
                return Ok(stream);
            }
        }
        dial(&self.addresses).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;
    use crate::target::{Protocol, Target, http};

    #[test]
    fn a_request_is_written_once() {
        let address = "http://host:8000".parse().unwrap();
        let target = Target::new(address, Protocol::Json, "m");
        let request = http::encode(&target, &Payload::default()).unwrap();
        let text = |keep_alive| String::from_utf8(written(&request, keep_alive).to_vec()).unwrap();
        let (kept, closed) = (text(true), text(false));
        assert!(
            kept.starts_with("POST /v2/models/m/infer HTTP/1.1\r\nhost: host:8000\r\n"),
            "{kept}"
        );
        assert!(kept.contains("\r\ncontent-length: 13\r\n"), "{kept}");
        assert!(kept.ends_with("\r\n\r\n{\"inputs\":[]}"), "{kept}");
        assert!(closed.contains("\r\nconnection: close\r\n\r\n{"), "{closed}");
    }
}
