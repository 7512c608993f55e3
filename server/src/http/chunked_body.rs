//! A response body of a few chunks, which are sent without being copied together.

use crate::memory_budget::MemoryPermit;
use crate::observe::tracker::{TrackedResponse, WriteCompletion};
use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Smaller responses fit the socket's buffer at once, however fast their clients read.
pub(crate) const SLOW_BYTES_MIN: u64 = 64 << 10;

/// Chunks that are sent in order. Their total length is known from the start.
#[derive(Debug)]
pub(crate) struct ChunkedBody {
    chunks: smallvec::IntoIter<[Bytes; 2]>,
    bytes_left: u64,
    /// Memory of the response, until the last chunk is sent.
    permit: Option<MemoryPermit>,
}

impl ChunkedBody {
    pub(crate) fn new(chunks: SmallVec<[Bytes; 2]>) -> Self {
        let bytes_left = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks: chunks.into_iter(), bytes_left, permit: None }
    }

    /// Charges the response to the memory budget, in place of its request.
    pub(crate) fn charged_to(mut self, permit: MemoryPermit) -> Self {
        let bytes = usize::try_from(self.bytes_left).unwrap_or(usize::MAX);
        self.permit = Some(permit.replaced_by(bytes));
        self
    }
}

impl TrackedResponse for Response<ChunkedBody> {
    fn reports_write_completion(&self) -> bool {
        self.body().bytes_left >= SLOW_BYTES_MIN
    }

    /// Attaches the completion to the last chunk, which is dropped once the system has taken it.
    fn attach(&mut self, completion: Arc<WriteCompletion>) {
        let chunks = self.body_mut().chunks.as_mut_slice();
        if let Some(last) = chunks.last_mut() {
            let bytes = std::mem::take(last);
            *last = Bytes::from_owner(LastChunk { bytes, _completion: completion });
        }
    }
}

/// The last chunk of a response.
struct LastChunk {
    bytes: Bytes,
    _completion: Arc<WriteCompletion>,
}

impl AsRef<[u8]> for LastChunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body for ChunkedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.chunks.next();
        Poll::Ready(next.map(|chunk| {
            self.bytes_left -= chunk.len() as u64;
            Ok(Frame::data(chunk))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes_left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes_left)
    }
}
