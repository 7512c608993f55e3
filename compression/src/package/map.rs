//! A package's bytes, mapped from a file or in memory.
//!
//! A mapped file must not change while it is in use. A change would show in bytes that were checked
//! before, and reading past the end of a truncated file ends the process. So a package is never
//! overwritten: the writer renames a new file over it.

use super::PackageError;
use memmap2::Mmap;
use std::fs::File;
use std::ops::Deref;
use std::path::Path;

/// The bytes of a package.
#[derive(Debug)]
pub(crate) enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps a file.
    pub(crate) fn map(path: &Path) -> Result<Self, PackageError> {
        let open = PackageError::io("open", path);
        // The check precedes opening: opening a pipe would wait for its writer.
        match path.metadata() {
            Ok(metadata) if !metadata.is_file() => {
                return Err(open(std::io::Error::other("it is not a file")));
            }
            Ok(_) => {}
            Err(error) => return Err(open(error)),
        }
        let file = File::open(path).map_err(open)?;
        // SAFETY: the map is read only, and packages are replaced by rename, never changed in
        // place, as FORMAT.md and `Package::open` require. Any byte is a valid value, so a change
        // would cause a detected error or wrong numbers, not undefined control flow.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) };
        Ok(Self::Mapped(map.map_err(PackageError::io("map", path))?))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}
