//! Errors of packages, with their place in the file.

use crate::codec::cursor::CodecError;
use skysail_graph::GraphError;
use std::path::{Path, PathBuf};

/// Reason why a package could not be read or written. A retry helps for `Io` alone.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The system refused to read or map a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// Failed action, as a verb.
        action: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },

    /// The file does not begin with the bytes of a package.
    #[error("not a .sky package: it does not begin with a package's first eight bytes")]
    NotAPackage,

    /// The format of the package is newer than this program.
    #[error("the package is of format {major}.{minor}, this version reads 1.x: update it")]
    Version {
        /// Major version of the package.
        major: u8,
        /// Minor version of the package.
        minor: u8,
    },

    /// The package contradicts itself, or ends early.
    #[error("bad package: {problem}, in the {section} at byte {offset}")]
    Malformed {
        /// Description of the error.
        problem: &'static str,
        /// Part of the file.
        section: &'static str,
        /// Offset in the file, in bytes.
        offset: u64,
    },

    /// A tensor's encoded values are invalid.
    #[error("bad package: tensor '{tensor}': {problem}, at byte {offset}")]
    BadTensor {
        /// Name of the tensor.
        tensor: String,
        /// Description of the error.
        problem: &'static str,
        /// Offset in the file, in bytes.
        offset: u64,
    },

    /// Something has more bytes than a limit allows.
    #[error("{what} would take {bytes} bytes, more than the limit of {bytes_max}")]
    TooLarge {
        /// Name of the part that is too large.
        what: String,
        /// Size in bytes.
        bytes: u64,
        /// Limit in bytes.
        bytes_max: u64,
    },

    /// The digest in the file is not that of its bytes.
    #[error("the package was changed or damaged: its digest is not that of its bytes")]
    Digest,

    /// The signature is not that of its key over the digest.
    #[error("the package's signature is wrong: {0}")]
    Signature(&'static str),

    /// There is no tensor of this name.
    #[error("there is no tensor '{0}' in the package")]
    NoTensor(String),

    /// The manifest is no valid JSON of a manifest.
    #[error("bad package: the manifest is wrong: {0}")]
    Manifest(serde_json::Error),

    /// The graph is invalid, or a tensor of a model is.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl PackageError {
    /// Creates an I/O error, for `map_err`.
    pub(crate) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// Converts an error in a section that begins at byte `start` of the file.
    pub(crate) fn in_section(
        section: &'static str,
        start: usize,
    ) -> impl Fn(CodecError) -> Self + Copy {
        move |CodecError { problem, offset }| {
            let offset = (start as u64).saturating_add(offset as u64);
            Self::Malformed { problem, section, offset }
        }
    }
}
