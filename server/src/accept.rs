//! Listens, takes connections within limits, and lets them finish when the server stops.

use crate::config::Limits;
use crate::io_threads::IoHandles;
use anyhow::{Context, Result};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
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

mod greeting;

use greeting::Greeting;

/// Connections that the system keeps waiting while the server is at its limit.
const BACKLOG: i32 = 1024;

/// What one HTTP/2 connection may do at once.
const STREAMS_MAX: u32 = 1024;

/// Flow control of HTTP/2: large enough that a tensor comes without a pause.
const WINDOW_BYTES: u32 = 4 << 20;

/// Binds an address.
///
/// # Errors
/// When it is taken or not this machine's, with what to do.
pub(crate) fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A port left a moment ago can be had again.
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

/// Serves a port until `stop` changes, then waits for the requests inside.
pub(crate) async fn serve<S, F, B>(
    listener: TcpListener,
    limits: Limits,
    threads: IoHandles,
    mut stop: watch::Receiver<bool>,
    service: S,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let builder = Arc::new(builder(&limits));
    let graceful = GracefulShutdown::new();
    loop {
        let next = tokio::select! {
            next = next(&listener, &places) => next,
            _ = stop.changed() => break,
        };
        let (stream, place) = match next {
            Ok(next) => next,
            Err(error) => {
                // Out of file descriptors, mostly: those that end make room.
                tracing::warn!("a connection was not taken: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let service = service.clone();
        let service = service_fn(move |request| {
            let answer = service(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let (builder, watcher, limits) = (Arc::clone(&builder), graceful.watcher(), limits.clone());
        threads.next().spawn(async move {
            let _place = place;
            let io = match with_timeouts(stream, &limits) {
                Ok(stream) => TokioIo::new(stream),
                Err(error) => return tracing::debug!("a connection broke: {error}"),
            };
            let connection = builder.serve_connection(io, service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!("a connection broke: {error}");
            }
        });
    }
    drop(listener);
    let limit = Duration::from_millis(limits.stop_timeout_ms);
    if tokio::time::timeout(limit, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests still ran {} ms after the signal to stop", limits.stop_timeout_ms);
    }
}

/// Waits for a place, and then for a connection to have it.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(std::net::TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream.into_std()?, place))
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

/// The stream on this thread's runtime, with limits of time.
fn with_timeouts(
    stream: std::net::TcpStream,
    limits: &Limits,
) -> io::Result<Greeting<Pin<Box<TimeoutStream<TcpStream>>>>> {
    let stream = TcpStream::from_std(stream)?;
    stream.set_nodelay(true)?;
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(Duration::from_millis(limits.write_timeout_ms)));
    Ok(Greeting::new(Box::pin(stream), Duration::from_millis(limits.header_timeout_ms)))
}
