//! SHA-256 of contents and of texts, as hexadecimal digits.

use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Bytes of one read.
const CHUNK_BYTES: usize = 1 << 20;

/// Digest of bytes that come one after another.
#[derive(Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds a file's content. A stop ends it with an error.
    pub(crate) fn add_file(&mut self, path: &Path, stopping: &AtomicBool) -> io::Result<()> {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            if stopping.load(Relaxed) {
                return Err(io::Error::other("the server stops"));
            }
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.update(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn finish(self) -> String {
        self.0.finalize().iter().fold(String::new(), |mut text, byte| {
            // Writing to a string can not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Digest of a text.
pub(crate) fn of_text(text: &str) -> String {
    let mut hasher = Hasher::default();
    hasher.update(text.as_bytes());
    hasher.finish()
}

/// Digest of a file's content.
pub(crate) fn of_file(path: &Path, stopping: &AtomicBool) -> io::Result<String> {
    let mut hasher = Hasher::default();
    hasher.add_file(path, stopping)?;
    Ok(hasher.finish())
}
