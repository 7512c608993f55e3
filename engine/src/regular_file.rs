//! Reads small files that belong to a model: settings, labels, warm-up data.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Reads a regular file of at most `bytes_max` bytes. Others, such as pipes and devices, could have no
/// end.
///
/// # Errors
/// Says what is wrong with the file, without its path.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let in_words = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "is not there".to_owned(),
        ErrorKind::PermissionDenied => "may not be read by the server".to_owned(),
        _ => "can not be read".to_owned(),
    };
    check(path).map_err(|error| error.unwrap_or_else(|| "is not there".into()))?;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(in_words)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(in_words)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(format!("is larger than {bytes_max} bytes")),
        false => Ok(bytes),
    }
}

/// Checks that a path is a regular file, or leads to one.
///
/// # Errors
/// Says what it is instead; `None` if it is not there.
pub(crate) fn check(path: &Path) -> Result<(), Option<String>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(Some("is not a regular file".into())),
        Err(_) => Err(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "abc").unwrap();
        assert_eq!(read(&file, 3).unwrap(), b"abc");
        assert!(read(&file, 2).unwrap_err().contains("larger than 2 bytes"));
        assert!(read(folder.path(), 2).unwrap_err().contains("not a regular file"));
        assert!(read(Path::new("/dev/zero"), 2).unwrap_err().contains("not a regular file"));
        assert!(read(&folder.path().join("none"), 2).unwrap_err().contains("not there"));
    }
}
