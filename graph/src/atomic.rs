//! Writing a file so that a reader sees the old one or the new one, never a part.

use crate::GraphError;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many names to try for the temporary file: one is taken only if a process of the same
/// id died while writing.
const ATTEMPTS_MAX: u32 = 64;

/// Replaces the file at `path` by `bytes`, in one step and safely on disk: a temporary file
/// beside it is written, synced and renamed over it. A link at `path` is replaced, not
/// followed.
///
/// # Errors
/// `Io` when the folder is missing, full or not writable; the old file is then as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), GraphError> {
    let (temporary, mut file) = create_beside(path)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path));
    if let Err(source) = written {
        // The write's own error is the one to tell; a file left behind is the lesser harm.
        let _ = std::fs::remove_file(&temporary);
        return Err(GraphError::io("write", path)(source));
    }
    sync_folder(path)
}

/// A new, empty file beside `path`, under a name that nothing else uses.
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

/// Makes the rename itself last: on Unix it is an entry of the folder, synced on its own.
fn sync_folder(path: &Path) -> Result<(), GraphError> {
    if cfg!(unix) {
        let folder = folder_of(path);
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(GraphError::io("sync", folder))?;
    }
    Ok(())
}

/// The folder that holds `path`: `.` for a bare file name.
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
    fn replaces_a_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, b"old, and longer").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_keeps_the_old_and_cleans_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        // A folder in the way: the rename is what fails.
        std::fs::create_dir(&path).unwrap();
        let error = write_atomically(&path, b"new").unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomically(&folder.path().join("no/such"), b"").is_err());
        assert!(write_atomically(Path::new("/"), b"").is_err());
    }
}
