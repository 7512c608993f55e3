//! Safe reading of files: only regular files, and never more than fits in memory.

use super::error::{DataError, Location};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Upper limit of a data file's decompressed size in bytes.
pub const BYTES_MAX: u64 = 8 << 30;
/// First bytes of a gzip file (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Opens a regular file.
pub(super) fn open(path: &Path) -> Result<File, DataError> {
    let io = || DataError::io(path);
    // The check precedes opening, as opening a pipe may block forever.
    let found = std::fs::metadata(path).map_err(io())?;
    if !found.is_file() {
        return Err(DataError::invalid(path, Location::Whole, "it is not a regular file"));
    }
    check_size(path, "the file", found.len())?;
    File::open(path).map_err(io())
}

/// Rejects content that is too large for memory.
pub(super) fn check_size(path: &Path, what: &'static str, bytes: u64) -> Result<(), DataError> {
    if bytes > BYTES_MAX {
        let (path, bytes_max) = (path.to_path_buf(), BYTES_MAX);
        return Err(DataError::TooLarge { path, what, bytes, bytes_max });
    }
    Ok(())
}

/// Reads all bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    open(path)?.take(BYTES_MAX).read_to_end(&mut bytes).map_err(DataError::io(path))?;
    Ok(bytes)
}

/// Content of a file, decompressed if it is gzip.
pub(super) struct Content {
    path: PathBuf,
    reader: Box<dyn Read>,
    offset: u64,
}

impl Content {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        Self::of(path, BufReader::new(open(path)?))
    }

    fn of(path: &Path, mut reader: impl Read + 'static) -> Result<Self, DataError> {
        let mut start = Vec::new();
        (&mut reader).take(2).read_to_end(&mut start).map_err(DataError::io(path))?;
        let is_gzip = start == GZIP;
        let whole = std::io::Cursor::new(start).chain(reader);
        let reader: Box<dyn Read> = match is_gzip {
            true => Box::new(BufReader::new(MultiGzDecoder::new(whole))),
            false => Box::new(whole),
        };
        Ok(Self { path: path.to_path_buf(), reader, offset: 0 })
    }

    /// Reads the next `count` bytes. Memory is proportional to the bytes that exist.
    pub(super) fn take(&mut self, count: u64, what: &str) -> Result<Vec<u8>, DataError> {
        check_size(&self.path, "the content", count)?;
        let mut bytes = Vec::new();
        (&mut self.reader)
            .take(count)
            .read_to_end(&mut bytes)
            .map_err(|error| self.read_error(error))?;
        self.offset += bytes.len() as u64;
        if (bytes.len() as u64) < count {
            let problem = format!("it ends within {what}: {} of {count} bytes", bytes.len());
            return Err(DataError::invalid(&self.path, Location::Offset(self.offset), problem));
        }
        Ok(bytes)
    }

    /// Rejects bytes after the end of the content.
    pub(super) fn end(mut self) -> Result<(), DataError> {
        let mut more = [0];
        match self.reader.read(&mut more).map_err(|error| self.read_error(error))? {
            0 => Ok(()),
            _ => {
                let problem = "there is more than its header declares";
                Err(DataError::invalid(&self.path, Location::Offset(self.offset), problem))
            }
        }
    }

    /// Classifies a read error as a damaged file, or an error of the operating system.
    fn read_error(&self, error: std::io::Error) -> DataError {
        match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                let problem = format!("it is damaged: {error}");
                DataError::invalid(&self.path, Location::Offset(self.offset), problem)
            }
            _ => DataError::io(&self.path)(error),
        }
    }
}
