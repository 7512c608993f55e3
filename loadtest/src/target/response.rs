//! Reads responses of HTTP/1.1 (RFC 9112). Bodies are skipped; their start is kept, and the body of
//! an error up to a limit.

use super::Failure;
use super::http::{START_BYTES, TEXT_BYTES_MAX};
use http::StatusCode;
use httparse::{EMPTY_HEADER, Header, Response, Status, parse_chunk_size};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Sizes of the read buffer, at first and for large bodies.
const READ_BYTES: usize = 4 << 10;
const LARGE_READ_BYTES: usize = 64 << 10;
/// Longest head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most headers.
const HEADERS_MAX: usize = 100;

/// Head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    /// True if the connection may be reused.
    pub(super) keep_alive: bool,
}

/// Length of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyLength {
    Exactly(u64),
    Chunked,
    /// The body ends with the connection.
    UntilClosed,
}

/// Buffers of a connection, used for all of its responses.
#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    /// Bounds of the bytes that have come and are not yet read.
    start: usize,
    end: usize,
    text: Vec<u8>,
}

impl Reader {
    /// Clears the buffers.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        self.text.clear();
    }

    /// True if no bytes are left unread.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Body of the last response if it was an error, else its start.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Reads a whole response.
    pub(super) async fn answer(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Result<ResponseHead, Failure> {
        let (mut answer, length) = loop {
            match head(&self.bytes[self.start..self.end]).map_err(Failure::Broken)? {
                Some((bytes, answer, length)) => {
                    self.start += bytes;
                    // An informational response precedes the real one.
                    if !answer.status.is_informational() {
                        break (answer, length);
                    }
                }
                None if self.end - self.start >= HEAD_BYTES_MAX => {
                    return Err(broken("the answer's head is too long"));
                }
                None => self.read_more(from).await?,
            }
        };
        let keep = if answer.status == StatusCode::OK { START_BYTES } else { TEXT_BYTES_MAX };
        match length {
            BodyLength::Exactly(bytes) => self.body(from, bytes, keep).await?,
            BodyLength::Chunked => self.chunks(from, keep).await?,
            BodyLength::UntilClosed => {
                answer.keep_alive = false;
                self.rest(from, keep).await?;
            }
        }
        Ok(answer)
    }

    async fn body(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        mut left: u64,
        keep: usize,
    ) -> Result<(), Failure> {
        loop {
            let here = (self.end - self.start).min(usize::try_from(left).unwrap_or(usize::MAX));
            self.take(here, keep);
            left -= here as u64;
            if left == 0 {
                return Ok(());
            }
            if left > self.bytes.len() as u64 && self.bytes.len() < LARGE_READ_BYTES {
                self.bytes.resize(LARGE_READ_BYTES, 0);
            }
            self.read_more(from).await?;
        }
    }

    async fn chunks(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        keep: usize,
    ) -> Result<(), Failure> {
        loop {
            let size = match parse_chunk_size(&self.bytes[self.start..self.end]) {
                Ok(Status::Complete((bytes, size))) => {
                    self.start += bytes;
                    size
                }
                Ok(Status::Partial) => {
                    self.read_more(from).await?;
                    continue;
                }
                Err(_) => return Err(broken("a chunk's size is not a number")),
            };
            if size == 0 {
                return self.trailers(from).await;
            }
            self.body(from, size, keep).await?;
            if !self.line(from).await?.is_empty() {
                return Err(broken("a chunk is longer than its size"));
            }
        }
    }

    async fn trailers(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<(), Failure> {
        while !self.line(from).await?.is_empty() {}
        Ok(())
    }

    /// Next line without its end.
    async fn line(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<&[u8], Failure> {
        loop {
            let here = &self.bytes[self.start..self.end];
            if let Some(length) = here.iter().position(|byte| *byte == b'\n') {
                let start = self.start;
                self.start += length + 1;
                return Ok(self.bytes[start..start + length].trim_ascii_end());
            }
            if here.len() >= HEAD_BYTES_MAX {
                return Err(broken("a line of the answer is too long"));
            }
            self.read_more(from).await?;
        }
    }

    async fn rest(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        keep: usize,
    ) -> Result<(), Failure> {
        loop {
            self.take(self.end - self.start, keep);
            self.make_room();
            if self.read(from).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Consumes bytes of the body.
    fn take(&mut self, count: usize, keep: usize) {
        let more = count.min(keep.saturating_sub(self.text.len()));
        self.text.extend_from_slice(&self.bytes[self.start..self.start + more]);
        self.start += count;
    }

    /// Reads more bytes, at least one.
    async fn read_more(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<(), Failure> {
        self.make_room();
        match self.read(from).await? {
            0 => Err(broken("the server closed it before the answer was complete")),
            _ => Ok(()),
        }
    }

    async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<usize, Failure> {
        let read = from.read(&mut self.bytes[self.end..]).await;
        let count = read.map_err(|error| Failure::Broken(error.to_string()))?;
        self.end += count;
        Ok(count)
    }

    /// Makes room after the unread bytes.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end < self.bytes.len() {
            return;
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        } else {
            let larger = (self.bytes.len() * 2).max(READ_BYTES);
            self.bytes.resize(larger, 0);
        }
    }
}

fn broken(what: &str) -> Failure {
    Failure::Broken(what.to_owned())
}

/// Parses a head: its length and content; `None` while it is incomplete.
fn head(bytes: &[u8]) -> Result<Option<(usize, ResponseHead, BodyLength)>, String> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|error| format!("not an HTTP response: {error}"))?;
    let Status::Complete(length) = parsed else { return Ok(None) };
    let code = response.code.unwrap_or_default();
    let status = StatusCode::from_u16(code).map_err(|_| format!("{code} is not a status"))?;
    // HTTP/1.0 connections carry one request.
    let mut answer = ResponseHead { status, keep_alive: response.version == Some(1) };
    let body = body_length(response.headers, &mut answer)?;
    let has_none = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    Ok(Some((length, answer, if has_none { BodyLength::Exactly(0) } else { body })))
}

fn body_length(headers: &[Header<'_>], answer: &mut ResponseHead) -> Result<BodyLength, String> {
    let mut length = BodyLength::UntilClosed;
    for Header { name, value } in headers {
        if name.eq_ignore_ascii_case("content-length") {
            let number = str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
            let number = number.ok_or("the answer's content-length is not a number")?;
            if length != BodyLength::Chunked {
                length = BodyLength::Exactly(number);
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            if last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                length = BodyLength::Chunked;
            }
        } else if name.eq_ignore_ascii_case("connection") {
            let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            if options.any(|option| option.eq_ignore_ascii_case(b"close")) {
                answer.keep_alive = false;
            }
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::ReadBuf;

    /// Source that gives a fixed number of bytes at once, then the end.
    struct ChunkedSource<'a>(&'a [u8], usize);

    impl AsyncRead for ChunkedSource<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            to: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = self.1.min(self.0.len()).min(to.remaining());
            let (now, later) = self.0.split_at(count);
            to.put_slice(now);
            self.0 = later;
            Poll::Ready(Ok(()))
        }
    }

    async fn read(bytes: &[u8]) -> Result<(ResponseHead, String, usize), Failure> {
        let mut found = Vec::new();
        for drop in [1, 7, 100_000] {
            let mut from = ChunkedSource(bytes, drop);
            let mut reader = Reader::default();
            let answer = reader.answer(&mut from).await?;
            let left = from.0.len() + reader.end - reader.start;
            found.push((answer, String::from_utf8_lossy(reader.text()).into_owned(), left));
        }
        assert!(found.windows(2).all(|two| two[0] == two[1]), "{found:?}");
        Ok(found.remove(0))
    }

    #[tokio::test]
    async fn a_body_ends_where_it_says() {
        let (answer, text, left) =
            read(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP").await.unwrap();
        assert_eq!((answer.status, answer.keep_alive), (StatusCode::OK, true));
        assert_eq!((&*text, left), ("hello", 4));
        let (answer, text, _) =
            read(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: x, Close\r\n\r\nfull")
                .await
                .unwrap();
        assert_eq!((answer.keep_alive, &*text), (false, "full"));
    }

    #[tokio::test]
    async fn chunks_are_put_together() {
        let bytes = b"HTTP/1.1 404 No\r\ntransfer-encoding: gzip, Chunked\r\n\r\n\
            3\r\nabc\r\n00a;x=1\r\n0123456789\r\n0\r\ntrailer: 1\r\n\r\nrest";
        let (answer, text, left) = read(bytes).await.unwrap();
        assert_eq!((answer.keep_alive, &*text, left), (true, "abc0123456789", 4));
    }

    #[tokio::test]
    async fn a_body_without_a_length_ends_with_the_connection() {
        let (answer, text, left) = read(b"HTTP/1.1 500 No\r\n\r\nall of it").await.unwrap();
        assert_eq!((answer.keep_alive, &*text, left), (false, "all of it", 0));
        let (answer, ..) = read(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        assert!(!answer.keep_alive);
    }

    #[tokio::test]
    async fn informational_responses_are_skipped() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
        let (answer, _, left) = read(bytes).await.unwrap();
        assert_eq!((answer.status, left), (StatusCode::OK, 0));
    }

    #[tokio::test]
    async fn a_large_body_needs_a_small_buffer() {
        let mut bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n".to_vec();
        bytes.resize(bytes.len() + 3_000_000, b'x');
        let mut reader = Reader::default();
        reader.answer(&mut ChunkedSource(&bytes, 1_000_000)).await.unwrap();
        assert!(reader.is_empty() && reader.bytes.len() <= LARGE_READ_BYTES);
        assert_eq!(reader.text().len(), START_BYTES);
    }

    #[tokio::test]
    async fn errors_are_described() {
        let endless = [&b"HTTP/1.1 200 OK\r\nx: "[..], &[b'x'; 70_000]].concat();
        for (bytes, expected) in [
            (&b""[..], "closed it before the answer was complete"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nx", "closed it before"),
            (b"SSH-2.0\r\n\r\n", "not an HTTP response"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n", "content-length is not a number"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "not a number"),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
                "longer than its",
            ),
            (&endless, "head is too long"),
        ] {
            let message = read(bytes).await.unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
