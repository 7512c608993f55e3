//! What can be wrong with a package, in words that name the place.

use crate::codec::cursor::CodecError;
use skysail_graph::GraphError;
use std::path::{Path, PathBuf};

/// Why a package could not be read or written. Trying again helps for `Io` alone.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The system refused to read or map a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// The file does not begin as packages do.
    #[error("not a .sky package: it does not begin with a package's first eight bytes")]
    NotAPackage,

    /// The package is of a format that came after this program.
    #[error("the package is of format {major}.{minor}, this version reads 1.x: update it")]
    Version {
        /// The package's major version.
        major: u8,
        /// Its minor version.
        minor: u8,
    },

    /// The package contradicts itself, or ends early.
    #[error("bad package: {problem}, in the {section} at byte {offset}")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
        /// The part of the file.
        section: &'static str,
        /// Where in the file.
        offset: u64,
    },

    /// A tensor's coded values are not what they should be.
    #[error("bad package: tensor '{tensor}': {problem}, at byte {offset}")]
    BadTensor {
        /// The tensor's name.
        tensor: String,
        /// What is wrong.
        problem: &'static str,
        /// Where in the file.
        offset: u64,
    },

    /// More bytes than a limit allows.
    #[error("{what} would take {bytes} bytes, more than the limit of {bytes_max}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },

    /// The digest over all is not that of the bytes.
    #[error("the package was changed or damaged: its digest is not that of its bytes")]
    Digest,

    /// The signature is not one of the key over the digest.
    #[error("the package's signature is wrong: {0}")]
    Signature(&'static str),

    /// There is no tensor of this name.
    #[error("there is no tensor '{0}' in the package")]
    NoTensor(String),

    /// The manifest is not the JSON that it should be.
    #[error("bad package: the manifest is wrong: {0}")]
    Manifest(serde_json::Error),

    /// The graph is wrong, or a model's tensor is.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl PackageError {
    /// An I/O error, for `map_err`.
    pub(crate) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// What is wrong in a section that begins at byte `start` of the file.
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
