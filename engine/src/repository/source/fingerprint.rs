//! Fingerprint of a version: the state of each of its files, which differs after each change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Files of a fingerprint, at most. Further files of a version are not watched.
pub(crate) const FILES_MAX: usize = 4096;

/// Depth of folders below a version's folder, at most.
const DEPTH_MAX: usize = 8;

/// Start of the names that Kubernetes gives to the folders behind a volume's links.
const BEHIND_LINKS: &str = "..";

/// State of a file. A file that is rewritten, replaced or behind a link that leads elsewhere now
/// differs in one of the fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileState {
    /// Path below the version's folder.
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
    modified: Option<SystemTime>,
    inode: u64,
    device: u64,
}

/// States of the files below a folder that are wanted by their name; all links are followed.
pub(super) fn fingerprint(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<FileState> {
    let mut files = Vec::new();
    collect(folder, Path::new(""), DEPTH_MAX, &wanted, &mut files);
    files.sort();
    files
}

/// States of these files below a folder, as far as they are there.
pub(super) fn states(folder: &Path, files: impl Iterator<Item = PathBuf>) -> Vec<FileState> {
    let found = |file: PathBuf| {
        let metadata = fs::metadata(folder.join(&file)).ok()?;
        Some(state(file, &metadata))
    };
    files.filter_map(found).collect()
}

fn state(path: PathBuf, metadata: &fs::Metadata) -> FileState {
    FileState {
        path,
        length: metadata.len(),
        modified: metadata.modified().ok(),
        inode: metadata.ino(),
        device: metadata.dev(),
    }
}

fn collect(
    folder: &Path,
    below: &Path,
    depth: usize,
    wanted: &dyn Fn(&str) -> bool,
    files: &mut Vec<FileState>,
) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let is_watched =
            name.to_str().is_none_or(|name| !name.starts_with(BEHIND_LINKS) && wanted(name));
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if !is_watched || files.len() >= FILES_MAX {
            continue;
        }
        let below = below.join(&name);
        if metadata.is_dir() {
            if depth > 0 {
                collect(&path, &below, depth - 1, &|_| true, files);
            }
            continue;
        }
        files.push(state(below, &metadata));
    }
}
