//! Files, opened with care: only real files, and never more of them than fits.

use super::error::{DataError, Place};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The most bytes that one data file may take, decompressed.
pub const BYTES_MAX: u64 = 8 << 30;
/// How a gzip file begins (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Opens a file, no folder and no device.
pub(super) fn open(path: &Path) -> Result<File, DataError> {
    let io = || DataError::io(path);
    // Asked before it is opened: to open a pipe may wait for ever.
    let found = std::fs::metadata(path).map_err(io())?;
    if !found.is_file() {
        return Err(DataError::bad(path, Place::Whole, "it is no file"));
    }
    check_size(path, "the file", found.len())?;
    File::open(path).map_err(io())
}

/// Refuses what is too large to be taken into memory.
pub(super) fn check_size(path: &Path, what: &'static str, bytes: u64) -> Result<(), DataError> {
    if bytes > BYTES_MAX {
        let (path, bytes_max) = (path.to_path_buf(), BYTES_MAX);
        return Err(DataError::TooLarge { path, what, bytes, bytes_max });
    }
    Ok(())
}

/// All bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    open(path)?.take(BYTES_MAX).read_to_end(&mut bytes).map_err(DataError::io(path))?;
    Ok(bytes)
}

/// What is in a file, decompressed when it is gzip.
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

    /// The next `count` bytes. Memory grows with what there is, whatever the count.
    pub(super) fn take(&mut self, count: u64, what: &str) -> Result<Vec<u8>, DataError> {
        check_size(&self.path, "the content", count)?;
        let mut bytes = Vec::new();
        (&mut self.reader).take(count).read_to_end(&mut bytes).map_err(|error| self.told(error))?;
        self.offset += bytes.len() as u64;
        if (bytes.len() as u64) < count {
            let problem = format!("it ends within {what}: {} of {count} bytes", bytes.len());
            return Err(DataError::bad(&self.path, Place::Offset(self.offset), problem));
        }
        Ok(bytes)
    }

    /// Refuses bytes that nothing speaks of.
    pub(super) fn end(mut self) -> Result<(), DataError> {
        let mut more = [0];
        match self.reader.read(&mut more).map_err(|error| self.told(error))? {
            0 => Ok(()),
            _ => {
                let problem = "there is more than its header says";
                Err(DataError::bad(&self.path, Place::Offset(self.offset), problem))
            }
        }
    }

    /// A damaged file rather than a refusal of the system.
    fn told(&self, error: std::io::Error) -> DataError {
        match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                let problem = format!("it is damaged: {error}");
                DataError::bad(&self.path, Place::Offset(self.offset), problem)
            }
            _ => DataError::io(&self.path)(error),
        }
    }
}
