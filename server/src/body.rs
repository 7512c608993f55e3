//! Reads a request's body within limits of size, time and memory, without copying large pieces.

use crate::lag;
use crate::status::Error;
use bytes::{Buf, Bytes, BytesMut};
use flate2::bufread::{GzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use skysail_engine::payload::Payload;
use std::future::poll_fn;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

/// A piece smaller than this is copied to its neighbours: kept as it is, a body that drips in
/// would hold a whole read buffer for each drop.
const PIECE_BYTES_MIN: usize = 16 << 10;

/// Bytes that a body is decompressed to before they are counted.
const INFLATE_BYTES: u64 = 256 << 10;

/// Bytes of a body that brings no tensors: settings and names.
pub(crate) const ADMIN_BYTES_MAX: usize = 1 << 20;

/// Limits on one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Bytes, compressed or not.
    pub(crate) bytes_max: usize,
    /// Longest pause between two pieces, in milliseconds.
    pub(crate) pause_ms: u64,
}

impl BodyLimits {
    /// Those of a body that brings no tensors.
    pub(crate) fn of_admin(self) -> Self {
        Self { bytes_max: self.bytes_max.min(ADMIN_BYTES_MAX), ..self }
    }
}

/// Bytes of bodies that the server holds, against the most it may.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    bytes_max: usize,
}

/// Bytes taken from the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), bytes_max })
    }

    /// Nothing of it yet.
    pub(crate) fn start(self: &Arc<Self>) -> Held {
        Held { budget: Arc::clone(self), bytes: 0 }
    }
}

impl Held {
    /// Takes more.
    ///
    /// # Errors
    /// When all together hold more than they may.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes += bytes;
        let held = self.budget.held.fetch_add(bytes, Relaxed) + bytes;
        if held > self.budget.bytes_max {
            let what = format!("{} bytes of bodies", self.budget.bytes_max);
            return Err(Error::Busy { what });
        }
        Ok(())
    }

    /// Takes or gives back until it is so much.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub(crate) fn set(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > self.bytes {
            return self.add(bytes - self.bytes);
        }
        self.budget.held.fetch_sub(self.bytes - bytes, Relaxed);
        self.bytes = bytes;
        Ok(())
    }

    /// Takes more until it is so much; it gives nothing back.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub(crate) fn at_least(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > self.bytes { self.add(bytes - self.bytes) } else { Ok(()) }
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Held {
    /// Counts so many bytes instead. They are never too many: what an answer costs is spent, and
    /// the next request is refused instead.
    pub(crate) fn replaced_by(mut self, bytes: usize) -> Self {
        self.budget.held.fetch_add(bytes, Relaxed);
        self.budget.held.fetch_sub(self.bytes, Relaxed);
        self.bytes = bytes;
        self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

/// Reads a whole body.
///
/// # Errors
/// When it is too large, too slow, broken off, or the server holds too many already.
pub(crate) async fn read(
    mut body: Incoming,
    limits: BodyLimits,
    budget: &Arc<Budget>,
) -> Result<(Payload, Held), Error> {
    let too_large = Error::BodyTooLarge { limit: limits.bytes_max };
    if body.size_hint().lower() > limits.bytes_max as u64 {
        return Err(too_large);
    }
    let mut held = budget.start();
    let mut payload = Payload::default();
    let mut small = BytesMut::new();
    while let Some(frame) = next_frame(&mut body, limits.pause_ms).await? {
        lag::came();
        let Ok(piece) = frame.into_data() else { continue };
        held.add(piece.len())?;
        if held.bytes > limits.bytes_max {
            return Err(too_large);
        }
        if body.is_end_stream() && payload.is_empty() && small.is_empty() {
            return Ok((piece.into(), held));
        }
        if piece.len() < PIECE_BYTES_MIN {
            small.extend_from_slice(&piece);
        } else {
            payload.push(small.split().freeze());
            payload.push(piece);
        }
    }
    payload.push(small.freeze());
    Ok((payload, held))
}

async fn next_frame(body: &mut Incoming, pause_ms: u64) -> Result<Option<Frame<Bytes>>, Error> {
    // Most bodies are there with their head: no timer for those.
    let ready = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
    let frame = match ready {
        Poll::Ready(frame) => frame,
        Poll::Pending => tokio::time::timeout(Duration::from_millis(pause_ms), body.frame())
            .await
            .map_err(|_| Error::BodyTooSlow { limit_ms: pause_ms })?,
    };
    frame.transpose().map_err(|error| Error::BodyBroken(error.to_string()))
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, which HTTP calls "deflate".
    Deflate,
}

impl Encoding {
    /// The encoding of that name in `Content-Encoding`.
    pub(crate) fn from_name(name: &str) -> Result<Self, Error> {
        match name.trim() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            other => Err(Error::UnknownEncoding(other.escape_default().to_string())),
        }
    }

    /// The best encoding of an `Accept-Encoding`.
    pub(crate) fn accepted(header: &str) -> Self {
        let named = |wanted: &str| {
            header.split(',').any(|part| {
                let mut words = part.split(';').map(str::trim);
                words.next() == Some(wanted) && words.all(|word| word != "q=0")
            })
        };
        if named("gzip") {
            Self::Gzip
        } else if named("deflate") {
            Self::Deflate
        } else {
            Self::Identity
        }
    }

    /// Its name in headers; `None` when there is none to name.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Deflate => Some("deflate"),
        }
    }
}

/// Decompresses a body, to at most `bytes_max`; what it becomes counts as held too.
///
/// # Errors
/// When it is not what its header says, too large, or the server holds too much already.
pub(crate) fn decompress(
    payload: Payload,
    encoding: Encoding,
    bytes_max: usize,
    held: &mut Held,
) -> Result<Payload, Error> {
    let compressed = payload.into_bytes().reader();
    match encoding {
        Encoding::Identity => Ok(compressed.into_inner().into()),
        Encoding::Gzip => inflate(GzDecoder::new(compressed), bytes_max, held),
        Encoding::Deflate => inflate(ZlibDecoder::new(compressed), bytes_max, held),
    }
}

fn inflate(mut decoder: impl Read, bytes_max: usize, held: &mut Held) -> Result<Payload, Error> {
    let mut bytes = Vec::new();
    loop {
        let read =
            decoder.by_ref().take(INFLATE_BYTES).read_to_end(&mut bytes).map_err(|error| {
                Error::malformed(format!("the body can not be decompressed: {error}"))
            })?;
        if bytes.len() > bytes_max {
            return Err(Error::BodyTooLarge { limit: bytes_max });
        }
        if read == 0 {
            return Ok(bytes.into());
        }
        held.add(read)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Payload {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    fn decompressed(body: Payload, bytes_max: usize, held_max: usize) -> Result<Payload, Error> {
        decompress(body, Encoding::Gzip, bytes_max, &mut Budget::new(held_max).start())
    }

    #[test]
    fn a_bomb_stops_at_the_limits() {
        let bomb = || gzip(&vec![0; 1 << 20]);
        let error = decompressed(bomb(), 1000, 1 << 30).unwrap_err();
        assert!(matches!(error, Error::BodyTooLarge { limit: 1000 }));
        let error = decompressed(bomb(), 1 << 30, 1 << 19).unwrap_err();
        assert!(matches!(error, Error::Busy { .. }));
    }

    #[test]
    fn garbage_is_told() {
        assert!(decompressed(Payload::from(b"not gzip".to_vec()), 1000, 1000).is_err());
        let whole = decompressed(gzip(b"abc"), 3, 3).unwrap();
        assert_eq!(&*whole.contiguous(), b"abc");
    }

    #[test]
    fn accept_encoding_is_read_with_its_weights() {
        assert_eq!(Encoding::accepted("deflate, gzip;q=0.5"), Encoding::Gzip);
        assert_eq!(Encoding::accepted("gzip;q=0, deflate"), Encoding::Deflate);
        assert_eq!(Encoding::accepted("br"), Encoding::Identity);
    }

    #[test]
    fn the_budget_is_given_back() {
        let budget = Budget::new(10);
        let mut held = budget.start();
        held.add(8).unwrap();
        assert!(budget.start().add(3).is_err());
        held.set(7).unwrap();
        assert!(budget.start().add(3).is_ok());
        drop(held);
        assert!(budget.start().add(10).is_ok());
    }
}
