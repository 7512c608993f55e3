//! Trivial responder of one model: it finds the end of each request and sends the same bytes. It
//! has one thread, so that on two cores the generator has the other.

use anyhow::Result;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

const METADATA: &str = r#"{"name":"trivial","versions":["1"],"platform":"","inputs":[{"name":"input","datatype":"FP32","shape":[-1,16]}],"outputs":[{"name":"output","datatype":"FP32","shape":[-1,1]}]}"#;
const ANSWER: &str = r#"{"model_name":"trivial","outputs":[{"name":"output","shape":[1,1],"datatype":"FP32","data":[0.5]}]}"#;

/// Running responder, ended when dropped.
pub(super) struct Responder {
    _runtime: Runtime,
    /// `HOST:PORT`.
    pub(super) address: String,
}

impl Responder {
    /// Starts it.
    pub(super) fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?.to_string();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that disconnects ends its own connection only.
                tokio::spawn(async move { drop(serve(stream).await) });
            }
        });
        Ok(Self { _runtime: runtime, address })
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let written = |body: &str| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
        format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let (metadata, answer) = (written(METADATA), written(ANSWER));
    let mut bytes = vec![0; 16 << 10];
    let mut end = 0;
    loop {
        let read = stream.read(&mut bytes[end..]).await?;
        if read == 0 {
            return Ok(());
        }
        end += read;
        // Clients wait for each response, so there is at most one request.
        if request_length(&bytes[..end]).is_some_and(|length| length <= end) {
            let reply = if bytes.starts_with(b"GET") { &metadata } else { &answer };
            stream.write_all(reply).await?;
            end = 0;
        }
    }
}

/// Length of the request's head and body; `None` while the head is incomplete.
fn request_length(bytes: &[u8]) -> Option<usize> {
    const LENGTH: &[u8] = b"content-length: ";
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let mut lines = bytes[..head].split(|byte| *byte == b'\n');
    let length = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(LENGTH.len())?;
        name.eq_ignore_ascii_case(LENGTH).then(|| value.trim_ascii())
    });
    let length = length.and_then(|length| str::from_utf8(length).ok()?.parse().ok());
    Some(head + length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_stated_length() {
        assert_eq!(request_length(b"GET / HTTP/1.1\r\n"), None);
        assert_eq!(request_length(b"GET / HTTP/1.1\r\n\r\n"), Some(18));
        assert_eq!(request_length(b"POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\nab"), Some(45));
    }
}
