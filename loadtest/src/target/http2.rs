//! Target over HTTP/2 without TLS: several senders share a connection.

use super::http::{
    Body, Request, START_BYTES, TEXT_BYTES_MAX, check_answer, dial, resolve, status_failure, text,
};
use super::{Address, Failure, Server};
use http::header::{CONNECTION, HOST};
use http::{StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;

/// Server with its requests.
#[derive(Clone, Debug)]
pub struct Connector {
    address: Address,
    streams: usize,
    requests: Arc<[Request]>,
}

impl Connector {
    pub(super) fn new(server: &Server, requests: Vec<Request>) -> Self {
        let authority = server.address.authority();
        let requests = requests.into_iter().map(|request| absolute(request, &authority)).collect();
        Self { address: server.address.clone(), streams: server.transport.streams, requests }
    }
}

/// Request with an absolute URI, as HTTP/2 has it.
fn absolute(mut request: Request, authority: &str) -> Request {
    let path = request.uri().path().to_owned();
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path).build();
    // Both parts are valid: an address that was parsed, and an escaped path.
    *request.uri_mut() = uri.unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(HOST);
    request.headers_mut().remove(CONNECTION);
    request
}

/// Opens as many connections as `count` senders need.
pub(super) async fn connect(
    connector: &Connector,
    count: usize,
) -> Result<Vec<super::Connection>, Failure> {
    let addresses: Arc<[SocketAddr]> = resolve(&connector.address).await?.into();
    let mut callers = Vec::with_capacity(count);
    while callers.len() < count {
        let sender = open(&addresses).await?;
        let shared = Arc::new(Shared { addresses: addresses.clone(), sender: sender.into() });
        let more = connector.streams.min(count - callers.len());
        callers.extend((0..more).map(|_| {
            let (shared, requests) = (shared.clone(), connector.requests.clone());
            super::Connection::Http2(Connection { shared, requests })
        }));
    }
    Ok(callers)
}

/// Connection that several senders share.
#[derive(Debug)]
struct Shared {
    addresses: Arc<[SocketAddr]>,
    sender: Mutex<SendRequest<Body>>,
}

/// Sender of one request at a time.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    requests: Arc<[Request]>,
}

impl Connection {
    /// Sends a request and reads the whole response.
    pub(super) async fn send(&mut self, request: usize) -> Result<(), Failure> {
        let mut sender = self.shared.ready().await?;
        let answer = sender.send_request(self.requests[request].clone()).await;
        let mut response = answer.map_err(|error| Failure::broken(&error))?;
        let status = response.status();
        if status != StatusCode::OK {
            let (status, text) = text(response, TEXT_BYTES_MAX).await?;
            return Err(status_failure(status, &text));
        }
        let mut start = Vec::new();
        while let Some(frame) = response.frame().await {
            let frame = frame.map_err(|error| Failure::broken(&error))?;
            let data = frame.data_ref().map_or(&[][..], |data| data);
            let more = data.len().min(START_BYTES - start.len());
            start.extend_from_slice(&data[..more]);
        }
        check_answer(&start)
    }
}

impl Shared {
    /// Connection, reopened if it broke.
    async fn ready(&self) -> Result<SendRequest<Body>, Failure> {
        let sender = self.sender.lock().clone();
        if !sender.is_closed() {
            return Ok(sender);
        }
        let sender = open(&self.addresses).await?;
        *self.sender.lock() = sender.clone();
        Ok(sender)
    }
}

async fn open(addresses: &[SocketAddr]) -> Result<SendRequest<Body>, Failure> {
    let stream = TokioIo::new(dial(addresses).await?);
    let opened = handshake(TokioExecutor::new(), stream).await;
    let (sender, connection) = opened.map_err(|error| Failure::broken(&error))?;
    // The error of the connection is also the error of its requests.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
