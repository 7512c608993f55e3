//! Atomic writes: a reader sees the old file or the new one, never a part.

use crate::GraphError;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most names tried for the temporary file. One is in use only if a process of the same id died
/// while writing.
const ATTEMPTS_MAX: u32 = 64;

/// Replaces the file at `path` by `bytes` atomically and durably.
///
/// A temporary file beside it is written, synced and renamed over it. A link at `path` is replaced,
/// not followed.
///
/// # Errors
/// `Io` when the folder is missing, full or not writable; the old file is then unchanged.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), GraphError> {
    let (temporary, mut file) = create_beside(path)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path));
    if let Err(source) = written {
        // The error of the write counts; a left-over file is the lesser harm.
        let _ = std::fs::remove_file(&temporary);
        return Err(GraphError::io("write", path)(source));
    }
    sync_folder(path)
}

/// Creates an empty file beside `path`, under an unused name.
fn create_beside(path: &Path) -> Result<(PathBuf, File), GraphError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let fail = GraphError::io("write", path);
    let Some(name) = path.file_name() else {
        return Err(fail(ErrorKind::InvalidInput.into()));
    };
    let mut last = ErrorKind::AlreadyExists.into();
    for _ in 0..ATTEMPTS_MAX {
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        temporary.push(format!(".{}-{number}.tmp", process::id()));
        let temporary = path.with_file_name(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(fail(error)),
        }
    }
    Err(fail(last))
}

/// Makes the rename durable: on Unix it is an entry of the folder, which is synced on its own.
fn sync_folder(path: &Path) -> Result<(), GraphError> {
    if cfg!(unix) {
        let folder = folder_of(path);
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(GraphError::io("sync", folder))?;
    }
    Ok(())
}

/// Folder of `path`: `.` for a bare file name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, b"old, and longer").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_cleans_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        // A folder is in the way, so the rename fails.
        std::fs::create_dir(&path).unwrap();
        let error = write_atomically(&path, b"new").unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomically(&folder.path().join("no/such"), b"").is_err());
        assert!(write_atomically(Path::new("/"), b"").is_err());
    }
}
