//! The messages of a call while they arrive. What has come of one counts as held, with what it may
//! be decompressed to, and a client that stops sending where it should not comes to an end.
//!
//! A call of one message is decoded when all of it has come: nothing that is decoded waits for its
//! client to say that this was all.

use crate::body::{BodyLimits, Budget, Held};
use crate::lag;
use crate::status::Error;
use bytes::Bytes;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Bytes that one byte can become at most, by deflate and so by gzip: 258 for two bits of a code.
const DEFLATE_RATIO_MAX: usize = 1032;

/// A body that is watched.
pub(super) struct Metered<B> {
    body: B,
    messages: Messages,
    held: Held,
    limits: BodyLimits,
    /// Whether message may follow message, in the client's own time.
    is_stream: bool,
    /// The last piece of an only message, until the call has no more.
    last: Option<Frame<Bytes>>,
    /// Runs while nothing comes.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<B> Metered<B> {
    pub(super) fn new(body: B, limits: BodyLimits, budget: &Arc<Budget>, is_stream: bool) -> Self {
        Self {
            body,
            messages: Messages::default(),
            held: budget.start(),
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

impl<B: Body<Data = Bytes>> Metered<B> {
    /// Takes in a piece.
    fn see(&mut self, frame: &Frame<Bytes>) -> Result<(), Error> {
        self.pause = None;
        lag::came();
        let Some(data) = frame.data_ref() else { return Ok(()) };
        let most = self.messages.see(data, self.limits.bytes_max);
        if self.is_stream {
            self.held.set(most)?;
            return self.held.set(self.messages.cost(self.limits.bytes_max));
        }
        if self.messages.whole > 1 || (self.messages.whole == 1 && self.messages.arrived > 0) {
            return Err(Error::malformed("the call has more than one message"));
        }
        // Decoded at once, it is counted then, for its model.
        let is_next = self.is_whole() && self.body.is_end_stream();
        if is_next && !self.messages.is_compressed() {
            return Ok(());
        }
        self.held.at_least(most)
    }

    /// Whether its only message is there.
    fn is_whole(&self) -> bool {
        !self.is_stream && self.messages.whole == 1
    }
}

impl<B> Body for Metered<B>
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
            self.see(&frame)?;
            if !self.is_whole() {
                return Poll::Ready(Some(Ok(frame)));
            }
            // After the last piece there is nothing in any.
            self.last.get_or_insert(frame);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.body.is_end_stream()
    }
}

/// The messages of a call, as far as they have arrived.
#[derive(Default)]
struct Messages {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes that came of the last one, with its prefix; 0 between two messages.
    arrived: usize,
    /// Those of which all has come.
    whole: usize,
}

impl Messages {
    /// Takes in what came, which may be of several messages, and says the most that one of them
    /// cost.
    fn see(&mut self, mut data: &[u8], bytes_max: usize) -> usize {
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

    /// Bytes of the last one: those that came, or what they are decompressed to at most.
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
    fn what_has_arrived_is_known_however_messages_are_cut() {
        let two = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\x01\0";
        for at in 0..=two.len() {
            let mut messages = Messages::default();
            messages.see(&two[..at], 1000);
            let (whole, arrived) = match at {
                0..=7 => (0, at),
                8..=12 => (1, at - 8),
                _ => (2, at - 13),
            };
            assert_eq!((messages.whole, messages.arrived), (whole, arrived), "after {at} bytes");
            messages.see(&two[at..], 1000);
            assert_eq!(messages.arrived, 5);
        }
    }

    #[test]
    fn a_compressed_message_costs_what_it_may_become() {
        let cost = |message: &[u8], bytes_max| Messages::default().see(message, bytes_max);
        assert_eq!(cost(b"\0\0\0\0\x03abc", 1000), 8);
        assert_eq!(cost(b"\x01\0\0\0\x03abc", 1000), 1000);
        assert_eq!(cost(b"\x01\0\0\0\x03abc", 100_000), 8 * 1032);
        assert_eq!(cost(b"\x01\0\0\0\x03abc", 3), 8);
        // The dearer of two.
        assert_eq!(cost(b"\x01\0\0\0\0\0\0\0\0\x03abc", 1000), 1000);
    }

    /// A call of pieces, whose client says or does not say that this was all.
    fn call(pieces: &[&'static [u8]], ends: bool, is_stream: bool) -> Metered<TestBody> {
        let frame = |piece: &&'static [u8]| Ok(Frame::data(Bytes::from_static(piece)));
        let frames = iter(pieces.iter().map(frame).collect::<Vec<_>>());
        let body: TestBody = match ends {
            true => StreamBody::new(Box::pin(frames)),
            false => StreamBody::new(Box::pin(frames.chain(pending()))),
        };
        let limits = BodyLimits { bytes_max: 1000, pause_ms: 1 };
        Metered::new(body, limits, &Budget::new(100), is_stream)
    }

    type TestBody = StreamBody<
        Pin<Box<dyn tokio_stream::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>,
    >;

    /// The data of the next piece, if there is one.
    async fn next(body: &mut Metered<TestBody>) -> Option<Result<Bytes, Status>> {
        let frame = body.frame().await?;
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    #[tokio::test]
    async fn an_only_message_is_given_whole_when_its_call_has_no_more() {
        let pieces = [&b"\0\0\0"[..], b"\0\x03a", b"bc", b""];
        let mut body = call(&pieces, true, false);
        for piece in &pieces[..3] {
            assert_eq!(next(&mut body).await.unwrap().unwrap(), *piece);
        }
        assert!(next(&mut body).await.is_none());
        // Held until its client says so, for as long as a pause may be.
        let mut body = call(&[b"\0\0\0\0\x03abc"], false, false);
        let status = next(&mut body).await.unwrap().unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert_eq!(body.held.bytes(), 8);
        // A stream's is given at once.
        let mut body = call(&[b"\0\0\0\0\x03abc"], false, true);
        assert!(next(&mut body).await.unwrap().is_ok());
        assert_eq!(body.held.bytes(), 0);
    }

    #[tokio::test]
    async fn a_call_of_one_message_has_no_second() {
        for second in [&b"\0\0\0\0\0"[..], b"\0", b"\0\0\0\0\x01a\0\0"] {
            let mut body = call(&[b"\0\0\0\0\x03abc", second], true, false);
            let status = next(&mut body).await.unwrap().unwrap_err();
            assert!(status.message().contains("more than one message"), "{status:?}");
        }
    }

    #[tokio::test]
    async fn there_is_room_for_what_a_compressed_message_becomes_before_it_does() {
        for is_stream in [true, false] {
            let mut body = call(&[b"\x01\0\0\0\x03abc"], true, is_stream);
            let status = next(&mut body).await.unwrap().unwrap_err();
            assert!(status.message().contains("100 bytes of bodies"), "{status:?}");
        }
    }
}
