//! Files of a model that came with the request to load it, in a private temporary folder.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use tempfile::TempDir;

/// Files of one model, at most.
const FILES_MAX: usize = 1024;

/// Bytes of a path, at most.
const PATH_BYTES_MAX: usize = 1024;

/// Bytes of the longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;

/// Folders and file in a path, at most.
const DEPTH_MAX: usize = 8;

/// Start of the name of each folder of sent files.
const PREFIX: &str = "skysail-sent-";

/// Files that were sent. They are removed when this is dropped.
#[derive(Debug)]
pub struct SentFiles(TempDir);

/// Reason why files are not taken.
#[derive(Debug, thiserror::Error)]
pub enum SentFilesError {
    /// The path is none that a file of a model can have.
    #[error("'{path}' is no path of a model's file, such as 1/model.onnx: {problem}")]
    Path {
        /// The path as it was sent, escaped.
        path: String,
        /// Problem of the path.
        problem: &'static str,
    },
    /// The request has more files than are allowed.
    #[error("there are more than {FILES_MAX} files")]
    TooMany,
    /// The system can not store them.
    #[error(
        "the server can not store the files in its folder for temporary files: {}; make room there",
        .0.kind()
    )]
    Io(#[from] io::Error),
}

impl SentFiles {
    /// Stores files by their path below the model's folder, such as `1/model.onnx`.
    ///
    /// # Errors
    /// A path leads elsewhere, or the system can not store the files.
    pub fn store<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, SentFilesError> {
        // The folder's owner alone may enter it.
        let owner_only = fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix(PREFIX).permissions(owner_only).tempdir()?;
        for (count, (path, bytes)) in files.into_iter().enumerate() {
            if count >= FILES_MAX {
                return Err(SentFilesError::TooMany);
            }
            let file = folder.path().join(confined(path)?);
            let made = file.parent().map_or(Ok(()), fs::create_dir_all);
            let written = made
                .and_then(|()| fs::File::create_new(&file))
                .and_then(|mut file| file.write_all(bytes));
            written.map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                    refused(path, "another file is where it or its folder would be")
                }
                _ => error.into(),
            })?;
        }
        Ok(Self(folder))
    }

    /// Start of the paths of all sent files.
    pub(crate) fn path_start() -> String {
        std::env::temp_dir().join(PREFIX).display().to_string()
    }

    /// Folder of the model.
    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }
}

fn refused(path: &str, problem: &'static str) -> SentFilesError {
    let path = path.chars().take(100).collect::<String>().escape_debug().to_string();
    SentFilesError::Path { path, problem }
}

/// Checks that a path leads to a file below its folder and is written in the plain form.
fn confined(path: &str) -> Result<PathBuf, SentFilesError> {
    let fail = |problem| Err(refused(path, problem));
    if path.len() > PATH_BYTES_MAX {
        return fail("it is too long");
    }
    if path.contains(['\\', '\0', ':']) || path.chars().any(char::is_control) {
        return fail("it has a character that no such path has");
    }
    let parts: Vec<&str> = path.split('/').collect();
    let is_plain = |part: &&str| {
        let mut components = Path::new(part).components();
        matches!(components.next(), Some(Component::Normal(_))) && !part.starts_with('.')
    };
    if !parts.iter().all(is_plain) {
        return fail("each part must be a plain name");
    }
    if parts.iter().any(|part| part.len() > NAME_BYTES_MAX) {
        return fail("a part is longer than the name of a file can be");
    }
    if parts.len() > DEPTH_MAX {
        return fail("it has too many parts");
    }
    Ok(parts.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_alone_are_taken() {
        for path in ["1/model.onnx", "labels.txt", "1/model.onnx/weights.bin", "warmup/x"] {
            assert_eq!(confined(path).unwrap(), Path::new(path));
        }
        let long = format!("1/{}", "a".repeat(2000));
        let deep = "1/".repeat(9) + "x";
        let long_name = format!("1/{}", "a".repeat(256));
        for path in [
            "",
            "/",
            "/etc/passwd",
            "../x",
            "1/../../x",
            "1//x",
            "./x",
            "1/.",
            "1/",
            "1\\..\\x",
            "1/.hidden",
            "c:x",
            "1/a\0b",
            "1/a\nb",
            &long,
            &long_name,
            &deep,
        ] {
            assert!(matches!(confined(path), Err(SentFilesError::Path { .. })), "{path:?}");
        }
    }

    #[test]
    fn files_are_private_and_go_with_their_owner() {
        let sent = SentFiles::store([("1/model.onnx", &b"x"[..]), ("labels.txt", b"y")]).unwrap();
        let folder = sent.folder().to_owned();
        assert_eq!(fs::read(folder.join("1/model.onnx")).unwrap(), b"x");
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o077, 0);
        drop(sent);
        assert!(!folder.exists());
    }

    #[test]
    fn two_files_of_one_path_are_an_error() {
        let twice = SentFiles::store([("1/a", &b"x"[..]), ("1/a", b"y")]);
        assert!(matches!(twice, Err(SentFilesError::Path { .. })));
        let below_a_file = SentFiles::store([("1/a", &b"x"[..]), ("1/a/b", b"y")]);
        assert!(matches!(below_a_file, Err(SentFilesError::Path { .. })));
        let above = SentFiles::store([("1/a/b", &b"x"[..]), ("1/a", b"y")]);
        assert!(matches!(above, Err(SentFilesError::Path { .. })));
    }
}
