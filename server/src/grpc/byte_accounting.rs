//! Charges arriving bytes, and their worst-case decompressed size, to the memory budget, and times
//! out stalled uploads.
//!
//! A call of one message is passed on only when the client has closed its side. So no decoded
//! message waits for its client.

use crate::accept::IoThread;
use crate::body::BodyLimits;
use crate::memory_budget::{MemoryBudget, MemoryPermit};
use crate::status::Error;
use bytes::Bytes;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// Bytes before each message: a flag for compression, and the length.
const PREFIX_BYTES: usize = 5;

/// Largest expansion of deflate, and so of gzip: 258 bytes for two bits of a code.
const DEFLATE_RATIO_MAX: usize = 1032;

/// A request body whose bytes are accounted for.
pub(super) struct AccountedBody<B> {
    body: B,
    messages: Messages,
    permit: MemoryPermit,
    thread: Arc<IoThread>,
    limits: BodyLimits,
    /// Any number of messages may follow, at the client's own pace.
    is_stream: bool,
    /// The last frame of the only message, until the client closes its side.
    last: Option<Frame<Bytes>>,
    /// Timer of a pause between two frames.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<B> AccountedBody<B> {
    pub(super) fn new(
        body: B,
        limits: BodyLimits,
        budget: &Arc<MemoryBudget>,
        thread: Arc<IoThread>,
        is_stream: bool,
    ) -> Self {
        Self {
            body,
            messages: Messages::default(),
            permit: budget.permit(),
            thread,
            limits,
            is_stream,
            last: None,
            pause: None,
        }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if self.is_stream && self.messages.arrived == 0 {
            return Poll::Pending;
        }
        let limit_ms = self.limits.pause_ms;
        let pause = || Box::pin(sleep(Duration::from_millis(limit_ms)));
        let pause = self.pause.get_or_insert_with(pause);
        ready!(pause.as_mut().poll(cx));
        Poll::Ready(Error::BodyTooSlow { limit_ms })
    }
}

impl<B: Body<Data = Bytes>> AccountedBody<B> {
    /// Accounts for a frame.
    fn observe(&mut self, frame: &Frame<Bytes>) -> Result<(), Error> {
        self.pause = None;
        self.thread.clock().on_frame();
        let Some(data) = frame.data_ref() else { return Ok(()) };
        let most = self.messages.observe(data, self.limits.bytes_max);
        if self.is_stream {
            self.permit.set(most)?;
            return self.permit.set(self.messages.cost(self.limits.bytes_max));
        }
        if self.messages.whole > 1 || (self.messages.whole == 1 && self.messages.arrived > 0) {
            return Err(Error::malformed("the call has more than one message"));
        }
        // A complete message is decoded at once, and charged then.
        let is_next = self.is_whole() && self.body.is_end_stream();
        if is_next && !self.messages.is_compressed() {
            return Ok(());
        }
        self.permit.grow_to(most)
    }

    /// True if the only message is complete.
    fn is_whole(&self) -> bool {
        !self.is_stream && self.messages.whole == 1
    }
}

impl<B> Body for AccountedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(frame)) => frame,
                Poll::Ready(None) => return Poll::Ready(self.last.take().map(Ok)),
                Poll::Pending => {
                    return self.poll_pause(cx).map(|error| Some(Err(error.into())));
                }
            };
            let frame = frame.map_err(|error| Status::from_error(Box::new(error)))?;
            self.observe(&frame)?;
            if !self.is_whole() {
                return Poll::Ready(Some(Ok(frame)));
            }
            // Frames after the last one of the message are empty.
            self.last.get_or_insert(frame);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.body.is_end_stream()
    }
}

/// Progress of a call's messages.
#[derive(Default)]
struct Messages {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the current message that have arrived, with the prefix; 0 between two messages.
    arrived: usize,
    /// Complete messages.
    whole: usize,
}

impl Messages {
    /// Advances by `data`, which may span messages. Returns the largest cost of one of them.
    fn observe(&mut self, mut data: &[u8], bytes_max: usize) -> usize {
        let mut most = 0;
        while !data.is_empty() {
            if self.arrived < PREFIX_BYTES {
                let rest = &mut self.prefix[self.arrived..];
                let count = rest.len().min(data.len());
                rest[..count].copy_from_slice(&data[..count]);
                self.arrived += count;
                data = &data[count..];
            }
            if self.arrived < PREFIX_BYTES {
                return most.max(self.arrived);
            }
            let [_, length @ ..] = self.prefix;
            let whole = PREFIX_BYTES + u32::from_be_bytes(length) as usize;
            let count = data.len().min(whole - self.arrived);
            data = &data[count..];
            self.arrived += count;
            most = most.max(self.cost(bytes_max));
            if self.arrived == whole {
                (self.arrived, self.whole) = (0, self.whole + 1);
            }
        }
        most
    }

    fn is_compressed(&self) -> bool {
        self.prefix[0] != 0
    }

    /// Bytes of the current message: those that arrived, or their largest decompressed size.
    fn cost(&self, bytes_max: usize) -> usize {
        match self.is_compressed() {
            false => self.arrived,
            true => self.arrived.max(self.arrived.saturating_mul(DEFLATE_RATIO_MAX).min(bytes_max)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};
    use std::convert::Infallible;
    use tokio_stream::{StreamExt, iter, pending};

    #[test]
    fn progress_is_known_however_messages_are_split() {
        let two = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\x01\0";
        for at in 0..=two.len() {
            let mut messages = Messages::default();
            messages.observe(&two[..at], 1000);
            let (whole, arrived) = match at {
                0..=7 => (0, at),
                8..=12 => (1, at - 8),
                _ => (2, at - 13),
            };
            assert_eq!((messages.whole, messages.arrived), (whole, arrived), "after {at} bytes");
            messages.observe(&two[at..], 1000);
            assert_eq!(messages.arrived, 5);
        }
    }

    #[test]
    fn a_compressed_message_costs_its_largest_decompressed_size() {
        let cost = |message: &[u8], bytes_max| Messages::default().observe(message, bytes_max);
        assert_eq!(cost(b"\0\0\0\0\x03abc", 1000), 8);
        assert_eq!(cost(b"\x01\0\0\0\x03abc", 1000), 1000);
        assert_eq!(cost(b"\x01\0\0\0\x03abc", 100_000), 8 * 1032);
        assert_eq!(cost(b"\x01\0\0\0\x03abc", 3), 8);
        // The more expensive of two.
        assert_eq!(cost(b"\x01\0\0\0\0\0\0\0\0\x03abc", 1000), 1000);
    }

    /// A call of frames, whose client closes its side or does not.
    fn call(pieces: &[&'static [u8]], ends: bool, is_stream: bool) -> AccountedBody<TestBody> {
        let frame = |piece: &&'static [u8]| Ok(Frame::data(Bytes::from_static(piece)));
        let frames = iter(pieces.iter().map(frame).collect::<Vec<_>>());
        let body: TestBody = match ends {
            true => StreamBody::new(Box::pin(frames)),
            false => StreamBody::new(Box::pin(frames.chain(pending()))),
        };
        let limits = BodyLimits { bytes_max: 1000, pause_ms: 1 };
        AccountedBody::new(body, limits, &MemoryBudget::new(100), Arc::default(), is_stream)
    }

    type TestBody = StreamBody<
        Pin<Box<dyn tokio_stream::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>,
    >;

    /// Data of the next frame, if there is one.
    async fn next(body: &mut AccountedBody<TestBody>) -> Option<Result<Bytes, Status>> {
        let frame = body.frame().await?;
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    #[tokio::test]
    async fn an_only_message_is_complete_when_the_client_has_closed_its_side() {
        let pieces = [&b"\0\0\0"[..], b"\0\x03a", b"bc", b""];
        let mut body = call(&pieces, true, false);
        for piece in &pieces[..3] {
            assert_eq!(next(&mut body).await.unwrap().unwrap(), *piece);
        }
        assert!(next(&mut body).await.is_none());
        // An open side times out.
        let mut body = call(&[b"\0\0\0\0\x03abc"], false, false);
        let status = next(&mut body).await.unwrap().unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert_eq!(body.permit.bytes(), 8);
        // A message of a stream is passed on at once.
        let mut body = call(&[b"\0\0\0\0\x03abc"], false, true);
        assert!(next(&mut body).await.unwrap().is_ok());
        assert_eq!(body.permit.bytes(), 0);
    }

    #[tokio::test]
    async fn a_second_message_of_a_unary_call_is_an_error() {
        for second in [&b"\0\0\0\0\0"[..], b"\0", b"\0\0\0\0\x01a\0\0"] {
            let mut body = call(&[b"\0\0\0\0\x03abc", second], true, false);
            let status = next(&mut body).await.unwrap().unwrap_err();
            assert!(status.message().contains("more than one message"), "{status:?}");
        }
    }

    #[tokio::test]
    async fn a_compressed_message_is_charged_before_it_is_decompressed() {
        for is_stream in [true, false] {
            let mut body = call(&[b"\x01\0\0\0\x03abc"], true, is_stream);
            let status = next(&mut body).await.unwrap().unwrap_err();
            assert!(status.message().contains("100 bytes of bodies"), "{status:?}");
        }
    }
}
