//! Finds ONNX Runtime's shared library, without settings.

use std::path::{Path, PathBuf};

/// The environment variable that names the library's file or folder.
pub const VARIABLE: &str = "SKYSAIL_ONNXRUNTIME";

/// The library's file name.
const LIBRARY: &str = "libonnxruntime.so";

/// Why there is no ONNX Runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nowhere.
    #[error(
        "ONNX Runtime is missing: {LIBRARY} is in none of {looked}. Run `cargo xtask setup`, or \
         let {VARIABLE} name the file (it comes with the Python package onnxruntime 1.31, in \
         onnxruntime/capi)"
    )]
    Missing {
        /// Where it was looked for.
        looked: String,
    },
    /// There, and not usable.
    #[error("{path} can not be used as ONNX Runtime: {message}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        message: String,
    },
}

/// The library's path: from the environment variable, next to the executable, in the workspace's
/// `target/`, or in the system's library folders.
///
/// # Errors
/// When it is in none of them.
pub fn find() -> Result<PathBuf, RuntimeError> {
    let candidates = candidates();
    candidates.iter().find_map(|folder| library_in(folder)).ok_or_else(|| {
        let looked: Vec<String> = candidates.iter().map(|p| p.display().to_string()).collect();
        RuntimeError::Missing { looked: looked.join(", ") }
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
            folders.push(folder.join("onnxruntime/lib"));
        }
    }
    folders.push("target/onnxruntime/lib".into());
    folders.extend(["/usr/local/lib", "/usr/lib", "/usr/lib/x86_64-linux-gnu"].map(PathBuf::from));
    folders
}

/// The library itself, or the one in this folder, whatever version its name carries.
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
    fn finds_a_versioned_library_in_a_folder_and_a_file_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(library_in(folder.path()), None);
        let file = folder.path().join("libonnxruntime.so.1.31.1");
        std::fs::write(&file, b"").unwrap();
        assert_eq!(library_in(folder.path()), Some(file.clone()));
        assert_eq!(library_in(&file), Some(file));
    }
}
