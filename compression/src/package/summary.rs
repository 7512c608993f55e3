//! Sizes of a package's parts.

use super::header::Kind;
use super::{Package, TensorEntry};

/// Figures of a package.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the manifest in the file.
    pub manifest_bytes: u64,
    /// Bytes of the graph in the file.
    pub graph_bytes: u64,
    /// Bytes of the index in the file.
    pub index_bytes: u64,
    /// Bytes of the tensors in the file.
    pub segment_bytes: u64,
    /// Bytes of the decoded tensors.
    pub dense_bytes: u64,
    /// Initializers of the graph, in its order.
    pub tensors: Vec<TensorEntry>,
    /// SHA-256 of the package.
    pub digest: [u8; 32],
}

impl Summary {
    pub(crate) fn of(package: &Package) -> Self {
        let bytes_of = |kind| {
            let section = package.header.section(kind);
            section.map_or(0, |section| section.range.len() as u64)
        };
        let tensors = package.tensors().to_vec();
        Self {
            bytes: package.bytes(),
            manifest_bytes: bytes_of(Kind::Manifest),
            graph_bytes: bytes_of(Kind::Graph),
            index_bytes: bytes_of(Kind::Index),
            segment_bytes: bytes_of(Kind::Segments),
            dense_bytes: tensors.iter().map(|entry| entry.dense_bytes).sum(),
            tensors,
            digest: package.digest,
        }
    }

    /// Returns the ratio of the decoded values' size to the file's.
    pub fn ratio(&self) -> f64 {
        self.dense_bytes as f64 / self.bytes as f64
    }

    /// Returns the share of the file that a tensor takes, from 0 to 1.
    pub fn share(&self, tensor: &TensorEntry) -> f64 {
        match tensor.codec {
            Some(_) => tensor.bytes as f64 / self.bytes as f64,
            None => 0.0,
        }
    }
}
