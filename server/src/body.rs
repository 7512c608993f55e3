//! Reads request bodies within limits of size, time and memory, without copying large chunks.

use crate::accept::ArrivalClock;
use crate::config::Limits;
use crate::memory_budget::{MemoryBudget, MemoryPermit};
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
use std::task::Poll;
use std::time::Duration;

/// Smaller chunks are copied together. Each would keep a whole read buffer alive otherwise.
const CHUNK_BYTES_MIN: usize = 16 << 10;

/// Bytes of decompressed output between two charges to the memory budget.
const INFLATE_BYTES: u64 = 256 << 10;

/// Limits on one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Bytes of the body, compressed or not.
    pub(crate) bytes_max: usize,
    /// Longest pause between two chunks, in milliseconds.
    pub(crate) pause_ms: u64,
}

impl BodyLimits {
    /// Limits for a body without tensors, such as settings.
    pub(crate) fn for_admin(self) -> Self {
        Self { bytes_max: self.bytes_max.min(Limits::ADMIN_BYTES_MAX), ..self }
    }
}

/// Reads a whole body.
///
/// # Errors
/// When the body is too large, too slow or incomplete, or the memory budget is exceeded.
pub(crate) async fn read(
    mut body: Incoming,
    limits: BodyLimits,
    budget: &Arc<MemoryBudget>,
    clock: &ArrivalClock,
) -> Result<(Payload, MemoryPermit), Error> {
    let too_large = Error::BodyTooLarge { limit: limits.bytes_max };
    if body.size_hint().lower() > limits.bytes_max as u64 {
        return Err(too_large);
    }
    let mut permit = budget.permit();
    let mut payload = Payload::default();
    let mut small = BytesMut::new();
    while let Some(frame) = next_frame(&mut body, limits.pause_ms).await? {
        clock.on_frame();
        let Ok(chunk) = frame.into_data() else { continue };
        permit.add(chunk.len())?;
        if permit.bytes() > limits.bytes_max {
            return Err(too_large);
        }
        if body.is_end_stream() && payload.is_empty() && small.is_empty() {
            return Ok((chunk.into(), permit));
        }
        if chunk.len() < CHUNK_BYTES_MIN {
            small.extend_from_slice(&chunk);
        } else {
            payload.push(small.split().freeze());
            payload.push(chunk);
        }
    }
    payload.push(small.freeze());
    Ok((payload, permit))
}

async fn next_frame(body: &mut Incoming, pause_ms: u64) -> Result<Option<Frame<Bytes>>, Error> {
    // Most bodies arrive with their head: no timer for those.
    let ready = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
    let frame = match ready {
        Poll::Ready(frame) => frame,
        Poll::Pending => tokio::time::timeout(Duration::from_millis(pause_ms), body.frame())
            .await
            .map_err(|_| Error::BodyTooSlow { limit_ms: pause_ms })?,
    };
    frame.transpose().map_err(|error| Error::BodyBroken(error.to_string()))
}

/// Compression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// No compression.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, which HTTP calls "deflate".
    Deflate,
}

impl Encoding {
    /// Names of gzip, of which the second is the older one (RFC 9110, section 8.4.1.3).
    const GZIP: &[&str] = &["gzip", "x-gzip"];
    const DEFLATE: &[&str] = &["deflate"];

    /// Parses a `Content-Encoding`.
    pub(crate) fn from_name(name: &str) -> Result<Self, Error> {
        let name = name.trim();
        let is_known = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        match name {
            _ if is_known(&["", "identity"]) => Ok(Self::Identity),
            _ if is_known(Self::GZIP) => Ok(Self::Gzip),
            _ if is_known(Self::DEFLATE) => Ok(Self::Deflate),
            other => Err(Error::UnknownEncoding(other.escape_default().to_string())),
        }
    }

    /// The best known encoding of an `Accept-Encoding`.
    pub(crate) fn accepted(header: &str) -> Self {
        let named = |wanted: &[&str]| {
            header.split(',').any(|part| {
                let mut words = part.split(';').map(str::trim);
                let is_wanted =
                    |name: &str| wanted.iter().any(|one| name.eq_ignore_ascii_case(one));
                words.next().is_some_and(is_wanted)
                    && words.all(|word| !word.eq_ignore_ascii_case("q=0"))
            })
        };
        if named(Self::GZIP) {
            Self::Gzip
        } else if named(Self::DEFLATE) {
            Self::Deflate
        } else {
            Self::Identity
        }
    }

    /// Name in headers; `None` for no compression.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Deflate => Some("deflate"),
        }
    }
}

/// Decompresses a body to at most `bytes_max` bytes, which are charged to the permit.
///
/// # Errors
/// When the body is not of this encoding or too large, or the memory budget is exceeded.
pub(crate) fn decompress(
    payload: Payload,
    encoding: Encoding,
    bytes_max: usize,
    permit: &mut MemoryPermit,
) -> Result<Payload, Error> {
    let compressed = payload.into_bytes().reader();
    match encoding {
        Encoding::Identity => Ok(compressed.into_inner().into()),
        Encoding::Gzip => inflate(GzDecoder::new(compressed), bytes_max, permit),
        Encoding::Deflate => inflate(ZlibDecoder::new(compressed), bytes_max, permit),
    }
}

fn inflate(
    mut decoder: impl Read,
    bytes_max: usize,
    permit: &mut MemoryPermit,
) -> Result<Payload, Error> {
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
        permit.add(read)?;
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

    fn decompressed(body: Payload, bytes_max: usize, budget: usize) -> Result<Payload, Error> {
        decompress(body, Encoding::Gzip, bytes_max, &mut MemoryBudget::new(budget).permit())
    }

    #[test]
    fn a_decompression_bomb_stops_at_the_limits() {
        let bomb = || gzip(&vec![0; 1 << 20]);
        let error = decompressed(bomb(), 1000, 1 << 30).unwrap_err();
        assert!(matches!(error, Error::BodyTooLarge { limit: 1000 }));
        let error = decompressed(bomb(), 1 << 30, 1 << 19).unwrap_err();
        assert!(matches!(error, Error::Busy { .. }));
    }

    #[test]
    fn a_body_that_is_not_gzip_is_an_error() {
        assert!(decompressed(Payload::from(b"not gzip".to_vec()), 1000, 1000).is_err());
        let whole = decompressed(gzip(b"abc"), 3, 3).unwrap();
        assert_eq!(&*whole.contiguous(), b"abc");
    }

    #[test]
    fn accept_encoding_is_parsed_with_its_weights() {
        assert_eq!(Encoding::accepted("deflate, gzip;q=0.5"), Encoding::Gzip);
        assert_eq!(Encoding::accepted("gzip;q=0, deflate"), Encoding::Deflate);
        assert_eq!(Encoding::accepted("br"), Encoding::Identity);
        assert_eq!(Encoding::accepted("X-GZip"), Encoding::Gzip);
        assert_eq!(Encoding::accepted("Deflate, gzip;Q=0"), Encoding::Deflate);
    }

    #[test]
    fn names_of_encodings_have_no_case() {
        for name in ["gzip", "GZIP", " x-gzip ", "X-GZip"] {
            assert_eq!(Encoding::from_name(name).unwrap(), Encoding::Gzip, "{name}");
        }
        assert_eq!(Encoding::from_name("Deflate").unwrap(), Encoding::Deflate);
        assert_eq!(Encoding::from_name("IDENTITY").unwrap(), Encoding::Identity);
        for name in ["br", "gzip, gzip", "gzipped"] {
            assert!(matches!(Encoding::from_name(name), Err(Error::UnknownEncoding(_))), "{name}");
        }
    }
}
