//! The messages of a call while they arrive. What has come of one counts as held, and a client
//! that stops sending where it should not comes to an end.

use crate::body::{BodyLimits, Budget, Held};
use crate::status::Error;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A body that is watched.
pub(super) struct Metered<B> {
    body: B,
    message: Message,
    held: Held,
    pause_max: Duration,
    /// Whether the client may take its time between two messages.
    may_rest: bool,
    /// Runs while nothing comes.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<B> Metered<B> {
    pub(super) fn new(body: B, limits: BodyLimits, budget: &Arc<Budget>, may_rest: bool) -> Self {
        Self {
            body,
            message: Message::default(),
            held: budget.start(),
            pause_max: Duration::from_millis(limits.pause_ms),
            may_rest,
            pause: None,
        }
    }

    fn see(&mut self, frame: &Frame<Bytes>) -> Result<(), Error> {
        self.pause = None;
        if let Some(data) = frame.data_ref() {
            self.message.see(data);
        }
        self.held.set(self.message.arrived)
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if self.may_rest && self.message.arrived == 0 {
            return Poll::Pending;
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(self.pause_max)));
        ready!(pause.as_mut().poll(cx));
        let limit_ms = u64::try_from(self.pause_max.as_millis()).unwrap_or(u64::MAX);
        Poll::Ready(Error::BodyTooSlow { limit_ms })
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
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                return self.poll_pause(cx).map(|error| Some(Err(error.into())));
            }
        };
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(|error| Status::from_error(Box::new(error)))?;
            self.see(&frame)?;
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The message that is arriving.
#[derive(Default)]
struct Message {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes that came of it, with its prefix; 0 between two messages.
    arrived: usize,
}

impl Message {
    /// Takes in what came, which may be of several messages.
    fn see(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.arrived < PREFIX_BYTES {
                let rest = &mut self.prefix[self.arrived..];
                let count = rest.len().min(data.len());
                rest[..count].copy_from_slice(&data[..count]);
                self.arrived += count;
                data = &data[count..];
            }
            if self.arrived < PREFIX_BYTES {
                return;
            }
            let [_, length @ ..] = self.prefix;
            let whole = PREFIX_BYTES + u32::from_be_bytes(length) as usize;
            let count = data.len().min(whole - self.arrived);
            data = &data[count..];
            self.arrived = (self.arrived + count) % whole;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_arrived_is_known_however_messages_are_cut() {
        let two = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\x01\0";
        for at in 0..=two.len() {
            let mut message = Message::default();
            message.see(&two[..at]);
            let arrived = match at {
                0..=7 => at,
                8..=12 => at - 8,
                _ => at - 13,
            };
            assert_eq!(message.arrived, arrived, "after {at} bytes");
            message.see(&two[at..]);
            assert_eq!(message.arrived, 5);
        }
    }
}
