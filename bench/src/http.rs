//! Smallest client of HTTP/1.1, for requests that are not measured and for connections at rest.

use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Sends a request without a body, and returns the body of the response.
pub(crate) fn get(address: &str, path: &str) -> Result<String> {
    Connection::open(address)?.ask(&head(&format!("GET {path}"), address, 0))
}

/// Posts a body, and returns that of the response.
pub(crate) fn post(address: &str, path: &str, body: &str) -> Result<String> {
    let head = head(&format!("POST {path}"), address, body.len());
    Connection::open(address)?.ask(&[&head, body.as_bytes()].concat())
}

/// Head of a request, without further headers.
fn head(begin: &str, address: &str, length: usize) -> Vec<u8> {
    format!("{begin} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// Connection that stays open until it is dropped.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to `HOST:PORT`.
    pub(crate) fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        // A connection at rest has no buffer worth mentioning.
        Ok(Self { stream: BufReader::with_capacity(1 << 10, stream) })
    }

    /// Sends the bytes of a request, and returns the body of the response.
    ///
    /// # Errors
    /// Fails if the response is not a 200 with a stated length.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<String> {
        self.stream.get_mut().write_all(request)?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(self.stream.read_line(&mut head)? > 0, "the server closed the connection");
        }
        let length = head.lines().find_map(content_length).context("a response has no length")?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        ensure!(head.starts_with("HTTP/1.1 200"), "the server says: {head}{body}");
        Ok(body)
    }
}

fn content_length(line: &str) -> Option<usize> {
    let (name, value) = line.split_once(':')?;
    name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_found_in_any_case() {
        assert_eq!(content_length("Content-Length: 12"), Some(12));
        assert_eq!(content_length("content-length:7\r"), Some(7));
        assert_eq!(content_length("content-type: text"), None);
        assert_eq!(content_length("HTTP/1.1 200 OK"), None);
    }
}
