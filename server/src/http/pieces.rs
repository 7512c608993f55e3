//! A response's body: a few pieces, sent without being copied together.

use crate::body::Held;
use crate::journeys::{Answer, Ending};
use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The system takes smaller responses at once, whether they are read or not.
pub(crate) const SLOW_BYTES_MIN: u64 = 64 << 10;

/// Pieces that are sent one after the other, and whose length is known at the start.
#[derive(Debug)]
pub(crate) struct Pieces {
    pieces: smallvec::IntoIter<[Bytes; 2]>,
    left: u64,
    /// Counts until the client has taken the last piece.
    held: Option<Held>,
}

impl Pieces {
    pub(crate) fn new(pieces: SmallVec<[Bytes; 2]>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces: pieces.into_iter(), left, held: None }
    }
}

impl Pieces {
    /// The same, counted among the bytes that the server holds in place of the request's.
    pub(crate) fn held(mut self, held: Held) -> Self {
        self.held = Some(held.replaced_by(usize::try_from(self.left).unwrap_or(usize::MAX)));
        self
    }
}

impl Answer for Response<Pieces> {
    fn sees_its_end(&self) -> bool {
        self.body().left >= SLOW_BYTES_MIN
    }

    /// Whoever writes the last piece drops it when the system has taken it.
    fn take_along(&mut self, ending: Arc<Ending>) {
        let pieces = self.body_mut().pieces.as_mut_slice();
        if let Some(last) = pieces.last_mut() {
            let bytes = std::mem::take(last);
            *last = Bytes::from_owner(Last { bytes, _ending: ending });
        }
    }
}

/// The last piece of a response.
struct Last {
    bytes: Bytes,
    _ending: Arc<Ending>,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.pieces.next();
        Poll::Ready(next.map(|piece| {
            self.left -= piece.len() as u64;
            Ok(Frame::data(piece))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
