//! A stream whose client must soon show which protocol it speaks.
//!
//! A request's head is timed once it is known to be one of HTTP/1.1, and HTTP/2 once its preface
//! is whole. Before that a client could say nothing, or the first letters of the preface, and
//! keep its connection for ever.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What a client of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that breaks when its client stays silent at the start.
pub(super) struct Greeting<S> {
    stream: S,
    /// Bytes of the preface that came.
    matched: usize,
    /// Runs until the protocol is known.
    limit: Option<Pin<Box<Sleep>>>,
}

impl<S> Greeting<S> {
    /// Gives the client `limit` from now on.
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, matched: 0, limit: Some(Box::pin(sleep(limit))) }
    }

    /// Takes in what came; the protocol is known at the preface's end, or where it differs.
    fn see(&mut self, bytes: &[u8]) {
        let rest = &PREFACE[self.matched..];
        self.matched += bytes.len().min(rest.len());
        if bytes.is_empty() || bytes.len() >= rest.len() || !rest.starts_with(bytes) {
            self.limit = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeting<S> {
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
        self.see(&buffer.filled()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeting<S> {
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

    /// Whether reading goes on without limit after the client sent these parts.
    async fn is_greeted_by(parts: &[&[u8]]) -> bool {
        let (mut client, server) = duplex(100);
        let mut server = Greeting::new(server, Duration::from_millis(1));
        for part in parts {
            client.write_all(part).await.unwrap();
            server.read_exact(&mut vec![0; part.len()]).await.unwrap();
        }
        let waits = tokio::time::timeout(Duration::from_millis(50), server.read_u8()).await;
        waits.is_err()
    }

    #[tokio::test]
    async fn only_a_client_that_shows_its_protocol_may_be_silent() {
        assert!(!is_greeted_by(&[]).await);
        assert!(!is_greeted_by(&[b"P"]).await);
        assert!(!is_greeted_by(&[b"PRI * HTTP/2.0", b"\r\n\r\nSM\r\n"]).await);
        assert!(is_greeted_by(&[b"PRI * HTTP/2.0", b"\r\n\r\nSM\r\n\r\n"]).await);
        assert!(is_greeted_by(&[b"P", b"OST /"]).await);
        assert!(is_greeted_by(&[b"GET"]).await);
    }
}
