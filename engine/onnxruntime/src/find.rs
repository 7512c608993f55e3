//! Finds the library: in the environment, beside the executable, in `target/` or in the system.

use crate::{FOLDER, LIBRARY, LoadError};
use std::path::{Path, PathBuf};

/// Environment variable that names the library's file or folder.
pub const VARIABLE: &str = "SKYSAIL_ONNXRUNTIME";

/// Finds the library's file.
///
/// The environment variable alone decides where it is set. Otherwise come the executable's folder
/// and those above it, the workspace's `target/`, and the system's library folders.
///
/// # Errors
/// When the library is in none of them.
pub fn find() -> Result<PathBuf, LoadError> {
    let candidates = candidates();
    candidates.iter().find_map(|folder| library_in(folder)).ok_or_else(|| {
        let looked: Vec<String> = candidates.iter().map(|p| p.display().to_string()).collect();
        LoadError::Missing { looked: looked.join(", ") }
    })
}

fn candidates() -> Vec<PathBuf> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let mut folders = Vec::new();
    if let Ok(executable) = std::env::current_exe() {
        for folder in executable.ancestors().skip(1).take(4) {
            folders.push(folder.to_owned());
            folders.push(folder.join(FOLDER));
        }
    }
    folders.push(Path::new("target").join(FOLDER));
    folders.extend(["/usr/local/lib", "/usr/lib", "/usr/lib/x86_64-linux-gnu"].map(PathBuf::from));
    folders
}

/// Returns the path if it is a file, or the library in this folder, of any version.
fn library_in(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_owned());
    }
    let plain = path.join(LIBRARY);
    if plain.is_file() {
        return Some(plain);
    }
    let mut versioned: Vec<PathBuf> = std::fs::read_dir(path)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| {
            let name = file.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(&format!("{LIBRARY}.")))
        })
        .collect();
    versioned.sort();
    versioned.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_versioned_library_in_a_folder_and_a_named_file_are_found() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(library_in(folder.path()), None);
        let file = folder.path().join("libonnxruntime.so.1.31.1");
        std::fs::write(&file, b"").unwrap();
        assert_eq!(library_in(folder.path()), Some(file.clone()));
        assert_eq!(library_in(&file), Some(file));
    }
}
