//! Times out connections that do not show which protocol they speak.
//!
//! hyper times the head of an HTTP/1.1 request, and HTTP/2 once its preface is complete. Before
//! that, a client could send nothing, or part of the preface, and keep its connection for ever.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The first bytes of an HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that fails if its client stays silent at the start.
pub(super) struct HandshakeTimeout<S> {
    stream: S,
    /// Bytes of the preface that have arrived.
    matched: usize,
    /// Timer, until the protocol is known.
    limit: Option<Pin<Box<Sleep>>>,
}

impl<S> HandshakeTimeout<S> {
    /// Starts the timer.
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, matched: 0, limit: Some(Box::pin(sleep(limit))) }
    }

    /// Stops the timer at the end of the preface, or where the bytes differ from it.
    fn observe(&mut self, bytes: &[u8]) {
        let rest = &PREFACE[self.matched..];
        self.matched += bytes.len().min(rest.len());
        if bytes.is_empty() || bytes.len() >= rest.len() || !rest.starts_with(bytes) {
            self.limit = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HandshakeTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Some(limit) = &mut self.limit else { return read };
        if read.is_pending() {
            ready!(limit.as_mut().poll(cx));
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        self.observe(&buffer.filled()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HandshakeTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// True if reading goes on without a time limit after these parts.
    async fn ends_handshake(parts: &[&[u8]]) -> bool {
        let (mut client, server) = duplex(100);
        let mut server = HandshakeTimeout::new(server, Duration::from_millis(1));
        for part in parts {
            client.write_all(part).await.unwrap();
            server.read_exact(&mut vec![0; part.len()]).await.unwrap();
        }
        let waits = tokio::time::timeout(Duration::from_millis(50), server.read_u8()).await;
        waits.is_err()
    }

    #[tokio::test]
    async fn only_a_client_that_has_shown_its_protocol_may_be_silent() {
        assert!(!ends_handshake(&[]).await);
        assert!(!ends_handshake(&[b"P"]).await);
        assert!(!ends_handshake(&[b"PRI * HTTP/2.0", b"\r\n\r\nSM\r\n"]).await);
        assert!(ends_handshake(&[b"PRI * HTTP/2.0", b"\r\n\r\nSM\r\n\r\n"]).await);
        assert!(ends_handshake(&[b"P", b"OST /"]).await);
        assert!(ends_handshake(&[b"GET"]).await);
    }
}
