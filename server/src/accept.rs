//! Listens, accepts connections within limits, and lets them finish when the server stops.

use crate::config::Limits;
use anyhow::{Context, Result};
pub(crate) use arrival_clock::ArrivalClock;
use connections::Connections;
use handshake_timeout::HandshakeTimeout;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
pub(crate) use io_threads::{IoHandles, IoThread, IoThreads};
use socket2::{Domain, Protocol, Socket, Type};
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

mod arrival_clock;
mod connections;
mod handshake_timeout;
mod io_threads;

/// Connections that wait in the system while the server is at its limit.
const BACKLOG: i32 = 1024;

/// Concurrent streams of one HTTP/2 connection.
const STREAMS_MAX: u32 = 1024;

/// Flow-control windows of HTTP/2, large enough for a tensor to arrive without a pause.
const WINDOW_BYTES: u32 = 4 << 20;

/// Binds an address.
///
/// # Errors
/// When the address is taken or not one of this machine; the message names the flag to change.
pub(crate) fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A port that was closed a moment ago can be bound again.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bind().with_context(|| {
        format!("can not listen on {address}: choose another address with --{flag} ADDRESS")
    })
}

/// Serves a port until `stop` changes, then waits for the requests in flight. Those that the time
/// to stop does not suffice for get a response of `refuse`.
pub(crate) async fn serve<S, F, B>(
    listener: TcpListener,
    limits: Limits,
    threads: IoHandles,
    mut stop: watch::Receiver<bool>,
    service: S,
    refuse: fn() -> Response<B>,
) where
    S: Fn(Arc<IoThread>, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let builder = Arc::new(builder(&limits));
    let connections = Connections::default();
    let begin = |stream, permit| {
        let (runtime, thread) = threads.next();
        let (thread, service) = (Arc::clone(thread), service.clone());
        let give_up = connections.give_up();
        let service = service_fn(move |request| {
            let response = service(Arc::clone(&thread), request);
            let give_up = give_up.clone();
            async move { Ok::<_, Infallible>(give_up.or_refuse(response, refuse).await) }
        });
        let (builder, member, limits) =
            (Arc::clone(&builder), connections.member(), limits.clone());
        runtime.spawn(async move {
            let _permit = permit;
            let io = match with_timeouts(stream, &limits) {
                Ok(stream) => TokioIo::new(stream),
                Err(error) => return tracing::debug!("a connection broke: {error}"),
            };
            let connection = builder.serve_connection(io, service);
            if let Err(error) = member.run(connection).await {
                tracing::debug!("a connection broke: {error}");
            }
        });
    };
    loop {
        let next = tokio::select! {
            next = next(&listener, &permits) => next,
            _ = stop.changed() => break,
        };
        match next {
            Ok((stream, permit)) => begin(stream, permit),
            Err(error) => {
                // Usually out of file descriptors: connections that end free some.
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    // Connections that wait in the system may have sent their requests already.
    for (stream, permit) in waiting(listener, &permits) {
        begin(stream, permit);
    }
    connections.finish(Duration::from_millis(limits.stop_timeout_ms)).await;
}

/// Connections that can be accepted without a wait. Then nothing listens any more.
fn waiting(
    listener: TcpListener,
    permits: &Arc<Semaphore>,
) -> Vec<(std::net::TcpStream, OwnedSemaphorePermit)> {
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    std::iter::from_fn(|| {
        let permit = Arc::clone(permits).try_acquire_owned().ok()?;
        let (stream, _) = listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((stream, permit))
    })
    .collect()
}

/// Waits for a permit, and then for a connection.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(std::net::TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream.into_std()?, permit))
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_timeout_ms))
        .max_buf_size(limits.header_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(Duration::from_millis(limits.header_timeout_ms))
        .keep_alive_timeout(Duration::from_millis(limits.header_timeout_ms));
    builder
}

/// Moves the stream to this thread's runtime, with its time limits.
fn with_timeouts(
    stream: std::net::TcpStream,
    limits: &Limits,
) -> io::Result<HandshakeTimeout<Pin<Box<TimeoutStream<TcpStream>>>>> {
    let stream = TcpStream::from_std(stream)?;
    stream.set_nodelay(true)?;
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(Duration::from_millis(limits.write_timeout_ms)));
    Ok(HandshakeTimeout::new(Box::pin(stream), Duration::from_millis(limits.header_timeout_ms)))
}
