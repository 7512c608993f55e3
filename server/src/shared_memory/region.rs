//! A region: a part of the memory of a key, as an open file.

use super::{RegionStatus, without_slash};
use crate::status::Error;
use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

/// Folder in which the system keeps shared memory.
const FOLDER: &str = "/dev/shm";

/// Bytes of the longest key, without its slash.
const KEY_BYTES_MAX: usize = 255;

/// Bytes of the memory of one key, from `start` to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// Device and inode of the memory, which several keys and regions may share.
    pub(super) memory: (u64, u64),
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A registered region.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) status: RegionStatus,
    file: OwnedFd,
    memory: (u64, u64),
}

impl Region {
    /// Opens the memory of a key.
    ///
    /// # Errors
    /// When there is none, or it is too small.
    pub(super) fn open(status: RegionStatus) -> Result<Self, Error> {
        let RegionStatus { key, offset, byte_size, .. } = &status;
        let shown = key.escape_debug();
        let none = || Error::malformed(format!("there is no shared memory with key '{shown}'"));
        let name = without_slash(key);
        let is_plain = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
        if !is_plain || name.len() > KEY_BYTES_MAX {
            return Err(none());
        }
        // Links are not followed: they could lead to any file that the server may read.
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let path = format!("{FOLDER}/{name}");
        let file = retry_on_intr(|| open(&*path, flags, Mode::empty()));
        let file = file.map_err(|error| match error {
            Errno::ACCESS | Errno::PERM => Error::malformed(format!(
                "the shared memory with key '{shown}' does not allow the server to read and write"
            )),
            Errno::MFILE | Errno::NFILE => Error::Busy { what: "too many open files".into() },
            _ => none(),
        })?;
        let found = fstat(&file).map_err(|_| none())?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(none());
        }
        if *byte_size == 0 {
            return Err(Error::malformed("byte_size must be at least 1"));
        }
        let bytes = u64::try_from(found.st_size).unwrap_or(0);
        if offset.checked_add(*byte_size).is_none_or(|end| end > bytes) {
            return Err(Error::malformed(format!(
                "offset {offset} and byte_size {byte_size} go beyond the shared memory with key \
                 '{shown}', which has {bytes} bytes"
            )));
        }
        Ok(Self { memory: (found.st_dev, found.st_ino), file, status })
    }

    /// The bytes of a part of the region. The part must lie in it.
    pub(super) fn span(&self, offset: u64, byte_size: u64) -> Span {
        let start = self.status.offset + offset;
        Span { memory: self.memory, start, end: start + byte_size }
    }

    /// Copies bytes out of the region.
    ///
    /// # Errors
    /// When its memory was made smaller.
    pub(super) fn read(&self, offset: u64, bytes: usize) -> Result<Vec<u8>, Error> {
        let start = self.status.offset + offset;
        let mut data = Vec::with_capacity(bytes);
        while data.len() < bytes {
            let at = start + data.len() as u64;
            let count = retry_on_intr(|| pread(&self.file, spare_capacity(&mut data), at));
            if count.is_ok_and(|count| count > 0) {
                continue;
            }
            return Err(self.was_made_smaller());
        }
        // A vector may have more room than was asked for.
        data.truncate(bytes);
        Ok(data)
    }

    /// Copies bytes into the region.
    ///
    /// # Errors
    /// When its memory was made smaller, or the system has no room for it.
    pub(super) fn write(&self, offset: u64, mut data: &[u8]) -> Result<(), Error> {
        let mut at = self.status.offset + offset;
        // Writing would make it larger again, in memory that nobody asked for.
        let bytes = fstat(&self.file).map_or(0, |found| u64::try_from(found.st_size).unwrap_or(0));
        if bytes < at + data.len() as u64 {
            return Err(self.was_made_smaller());
        }
        while !data.is_empty() {
            let count = retry_on_intr(|| pwrite(&self.file, data, at));
            let Some(count) = count.ok().filter(|count| *count > 0) else {
                return Err(Error::malformed(format!(
                    "the shared memory region '{}' can not be written: the system has no room \
                     for it",
                    self.status.name.escape_debug()
                )));
            };
            data = &data[count..];
            at += count as u64;
        }
        Ok(())
    }

    fn was_made_smaller(&self) -> Error {
        Error::malformed(format!(
            "the memory of the shared memory region '{}' was made smaller after it was registered",
            self.status.name.escape_debug()
        ))
    }
}
