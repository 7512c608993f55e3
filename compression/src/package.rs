//! The `.sky` package: a model in one file.
//!
//! It holds the model's graph and its encoded tensors, a manifest, checksums, a digest and
//! optionally a signature. `FORMAT.md` beside this crate's `Cargo.toml` describes the format in
//! enough detail to write another reader.
//!
//! A package may be hostile. Whatever its bytes are, the result is its content or a
//! [`PackageError`], and memory stays below [`decoded_max`].

use crate::Sparse;
use flate2::read::DeflateDecoder;
use header::{Header, Kind, Section, Storage, checksum_fits};
use index::{Index, Segment};
use map::Bytes;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use skysail_graph::{ElementType, MODEL_BYTES_MAX, Model, Tensor};
use splice::{Change, splice};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

mod header;
mod manifest;
mod splice;
mod index;
mod map;
mod sign;
mod write;
mod summary;
mod error;

pub use error::PackageError;
pub use index::{Bits, TensorEntry};
pub use manifest::{Accuracy, Manifest, Parent, Statistics, Step};
pub use sign::{PublicKey, Signer};
pub use summary::Summary;
pub use write::PackageWriter;

/// Limit of a manifest in bytes.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
/// Bytes that any package may decode to.
const DECODED_ALWAYS: u64 = 64 << 20;
/// Bytes that a package may decode to for each byte of the file. Pruned and clustered models need
/// some 100.
const DECODED_PER_BYTE: u64 = 1024;
/// File name of the weights in the model of [`Package::graph_without_weights`]. The file does not
/// exist.
pub const WEIGHTS_ELSEWHERE: &str = "sky";

/// Returns the limit of the tensors' bytes, all together, in a package of `file_bytes`.
pub fn decoded_max(file_bytes: u64) -> u64 {
    file_bytes.saturating_mul(DECODED_PER_BYTE).saturating_add(DECODED_ALWAYS)
}

/// An open package. Tensors stay encoded until they are read.
#[derive(Debug)]
pub struct Package {
    file: Bytes,
    header: Header,
    manifest: Manifest,
    /// ONNX file of the model, without the values in segments.
    graph_bytes: Vec<u8>,
    /// Model of those bytes.
    graph: Model,
    index: Index,
    /// Number of each tensor by its name; of several with one name, the last.
    numbers: HashMap<String, usize>,
    digest: [u8; 32],
}

/// Result of [`Package::verify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seal {
    /// SHA-256 of all bytes before it in the file.
    pub digest: [u8; 32],
    /// Key of the signature over the digest, if there is one. The signature is right, but anyone
    /// can sign: the caller decides whether to trust the key.
    pub signed_by: Option<PublicKey>,
}

impl Package {
    /// Opens a package, and maps its file into memory. The file must not be changed while it is in
    /// use. It may only be replaced by renaming another over it, as [`PackageWriter::write`] does.
    ///
    /// # Errors
    /// `Io` when it cannot be mapped, else the errors of [`from_bytes`](Self::from_bytes).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PackageError> {
        Self::of(Bytes::map(path.as_ref())?)
    }

    /// Opens a package in memory.
    ///
    /// Checks the header, the sizes, and all sections but the tensors' segments. Segments are
    /// checked as they are decoded, and the digest by [`verify`](Self::verify).
    ///
    /// # Errors
    /// `NotAPackage`, `Version`, `Malformed`, `BadTensor`, `Manifest` and `Graph` when the bytes
    /// are no package, or of a later major version; `TooLarge` past a limit.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, PackageError> {
        Self::of(Bytes::Owned(bytes))
    }

    fn of(file: Bytes) -> Result<Self, PackageError> {
        let header = Header::read(&file)?;
        let manifest = content(&file, &header, Kind::Manifest, MANIFEST_BYTES_MAX)?;
        let manifest = serde_json::from_slice(&manifest).map_err(PackageError::Manifest)?;
        let graph_bytes = content(&file, &header, Kind::Graph, MODEL_BYTES_MAX)?;
        let graph = Model::from_bytes(&graph_bytes)?;
        reject_external_data(&graph)?;
        let (rows, index_start) = stored(&file, &header, Kind::Index)?;
        let segments = section(&header, Kind::Segments)?.range.clone();
        let index = Index::read(rows, index_start, graph.graph(), segments)?;
        let (bytes, bytes_max) = (index.dense_bytes(), decoded_max(file.len() as u64));
        if bytes > bytes_max {
            let what = "the package's tensors".to_owned();
            return Err(PackageError::TooLarge { what, bytes, bytes_max });
        }
        let digest = digest_of(&file, &header)?;
        let names = index.tensors.iter().map(|entry| entry.name.clone());
        let numbers = names.zip(0..).collect();
        Ok(Self { file, header, manifest, graph_bytes, graph, index, numbers, digest })
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the minor version of the format: the major one is 1.
    pub fn format_minor(&self) -> u8 {
        self.header.minor
    }

    /// Returns the size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.file.len() as u64
    }

    /// Returns the digest at the end of the file, which identifies the package. It is not checked;
    /// [`verify`](Self::verify) does that.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Returns the initializers of the graph, in its order.
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.index.tensors
    }

    /// Returns the sizes of the package's parts.
    pub fn summary(&self) -> Summary {
        Summary::of(self)
    }

    /// Decodes an initializer. Of several with one name it is the last, as in ONNX Runtime.
    ///
    /// # Errors
    /// `NoTensor` when there is none of this name, `BadTensor` when its segment is damaged, `Graph`
    /// when it holds strings, which only the model has.
    pub fn tensor(&self, name: &str) -> Result<Tensor, PackageError> {
        match self.find(name)? {
            Location::Segment(segment) => {
                let entry = &self.index.tensors[segment.tensor];
                Ok(Tensor::from_bytes(entry.element, &entry.shape, self.decode(segment)?)?)
            }
            Location::InGraph(number) => {
                let view = self.graph.graph().initializers().nth(number);
                let view = view.ok_or_else(|| PackageError::NoTensor(name.to_owned()))?;
                Ok(view.to_tensor()?)
            }
        }
    }

    /// Decodes a `float32` initializer without its zeros, which are never created.
    ///
    /// `None` when it is not of `float32`, or is stored neither with a codebook nor without zeros.
    ///
    /// # Errors
    /// The same as [`tensor`](Self::tensor).
    pub fn sparse(&self, name: &str) -> Result<Option<Sparse>, PackageError> {
        let Location::Segment(segment) = self.find(name)? else { return Ok(None) };
        let entry = &self.index.tensors[segment.tensor];
        if entry.element != ElementType::Float32 {
            return Ok(None);
        }
        let decode = |bytes| segment.plan.decode_sparse(bytes, &entry.shape);
        segment.bytes(&self.file).and_then(decode).map_err(|error| self.bad(segment, &error))
    }

    /// Decodes the whole model, its tensors in parallel.
    ///
    /// # Errors
    /// `BadTensor` when a segment is damaged; `Graph` when the model is larger than one ONNX file
    /// can be.
    pub fn model(&self) -> Result<Model, PackageError> {
        Ok(Model::from_bytes(&self.model_bytes()?)?)
    }

    /// Decodes the whole model as an ONNX file.
    ///
    /// # Errors
    /// The same as [`model`](Self::model).
    pub fn model_bytes(&self) -> Result<Vec<u8>, PackageError> {
        let bytes = self.index.dense_bytes().saturating_add(self.graph_bytes.len() as u64);
        if bytes > MODEL_BYTES_MAX {
            let what = "the model in one piece".to_owned();
            return Err(PackageError::TooLarge { what, bytes, bytes_max: MODEL_BYTES_MAX });
        }
        let decoded = self.index.segments.par_iter().map(|segment| self.decode(segment));
        let decoded = decoded.collect::<Result<Vec<_>, _>>()?;
        let mut values = vec![None; self.index.tensors.len()];
        for (segment, bytes) in self.index.segments.iter().zip(&decoded) {
            values[segment.tensor] = Some(bytes.as_slice());
        }
        self.spliced(|number| values[number].map_or(Change::Keep, Change::Fill))
    }

    /// Returns the model without the values in segments. Its initializers refer to the file
    /// [`WEIGHTS_ELSEWHERE`]; the caller passes them to a runtime tensor by tensor.
    ///
    /// # Errors
    /// An open package has none; `Graph` is in the signature of the function alone.
    pub fn graph_without_weights(&self) -> Result<Model, PackageError> {
        let elsewhere = |number: usize| match self.index.tensors[number].codec {
            Some(_) => Change::Refer(WEIGHTS_ELSEWHERE),
            None => Change::Keep,
        };
        Ok(Model::from_bytes(&self.spliced(elsewhere)?)?)
    }

    /// Checks the digest, which is over every byte, and the signature if there is one.
    ///
    /// # Errors
    /// `Digest` or `Signature` when it is wrong.
    pub fn verify(&self) -> Result<Seal, PackageError> {
        let end = section(&self.header, Kind::Digest)?.range.start;
        if <[u8; 32]>::from(Sha256::digest(&self.file[..end])) != self.digest {
            return Err(PackageError::Digest);
        }
        let signature = self.header.section(Kind::Signature);
        let check =
            |section: &Section| sign::verify(&self.file[section.range.clone()], &self.digest);
        Ok(Seal { digest: self.digest, signed_by: signature.map(check).transpose()? })
    }

    fn find(&self, name: &str) -> Result<Location<'_>, PackageError> {
        let number = self.numbers.get(name).copied();
        let number = number.ok_or_else(|| PackageError::NoTensor(name.to_owned()))?;
        let segments = &self.index.segments;
        Ok(match segments.binary_search_by_key(&number, |segment| segment.tensor) {
            Ok(position) => Location::Segment(&segments[position]),
            Err(_) => Location::InGraph(number),
        })
    }

    /// Decodes the values of a tensor.
    fn decode(&self, segment: &Segment) -> Result<Vec<u8>, PackageError> {
        let decoded = segment.bytes(&self.file).and_then(|bytes| segment.plan.decode(bytes));
        decoded.map_err(|error| self.bad(segment, &error))
    }

    fn bad(&self, segment: &Segment, error: &crate::CodecError) -> PackageError {
        let tensor = self.index.tensors[segment.tensor].name.clone();
        let offset = (segment.range.start + error.offset.min(segment.range.len())) as u64;
        PackageError::BadTensor { tensor, problem: error.problem, offset }
    }

    fn spliced<'a>(
        &'a self,
        change: impl FnMut(usize) -> Change<'a>,
    ) -> Result<Vec<u8>, PackageError> {
        let in_graph = PackageError::in_section("graph", 0);
        splice(&self.graph_bytes, change).map_err(in_graph)
    }
}

/// Location of an initializer's values.
enum Location<'a> {
    Segment(&'a Segment),
    /// In the graph's initializer of this number.
    InGraph(usize),
}

fn section(header: &Header, kind: Kind) -> Result<&Section, PackageError> {
    header.section(kind).ok_or_else(|| PackageError::Malformed {
        problem: "there is none",
        section: kind.name(),
        offset: 0,
    })
}

/// Returns a section's stored bytes, checked, and their offset in the file.
fn stored<'a>(
    file: &'a [u8],
    header: &Header,
    kind: Kind,
) -> Result<(&'a [u8], usize), PackageError> {
    let section = section(header, kind)?;
    let bytes = &file[section.range.clone()];
    if !checksum_fits(section.checksum, bytes) {
        return Err(bad_section(section, kind, "the checksum is not that of its bytes"));
    }
    Ok((bytes, section.range.start))
}

/// Returns the decoded content of a section of `bytes_max` bytes at most.
fn content(
    file: &[u8],
    header: &Header,
    kind: Kind,
    bytes_max: u64,
) -> Result<Vec<u8>, PackageError> {
    let (stored, _) = stored(file, header, kind)?;
    let section = section(header, kind)?;
    if section.decoded > bytes_max {
        let (what, bytes) = (format!("the {}", kind.name()), section.decoded);
        return Err(PackageError::TooLarge { what, bytes, bytes_max });
    }
    let bytes = match section.storage {
        Storage::Plain => stored.to_vec(),
        Storage::Deflate => {
            // Memory grows with the bytes read, at most 1,032 times the stored ones.
            let mut bytes = Vec::new();
            let read =
                DeflateDecoder::new(stored).take(section.decoded + 1).read_to_end(&mut bytes);
            read.map_err(|_| bad_section(section, kind, "it does not decompress"))?;
            bytes
        }
    };
    if bytes.len() as u64 != section.decoded {
        return Err(bad_section(section, kind, "it does not have the size that the header says"));
    }
    Ok(bytes)
}

fn bad_section(section: &Section, kind: Kind, problem: &'static str) -> PackageError {
    let offset = section.range.start as u64;
    PackageError::Malformed { problem, section: kind.name(), offset }
}

/// Returns the digest in the file. Nothing but a signature may follow it.
fn digest_of(file: &[u8], header: &Header) -> Result<[u8; 32], PackageError> {
    let digest = section(header, Kind::Digest)?;
    let range = digest.range.clone();
    let signature = header.section(Kind::Signature);
    let sealed = signature.map_or(range.end, |section| section.range.end);
    let follows = signature.is_none_or(|section| section.range.start == range.end);
    match <[u8; 32]>::try_from(&file[range]) {
        Ok(digest) if follows && sealed == file.len() => Ok(digest),
        _ => {
            let problem = "it is not 32 bytes at the end, before a signature at most";
            Err(bad_section(digest, Kind::Digest, problem))
        }
    }
}

/// Rejects a graph with values in files: loading it would read those files.
fn reject_external_data(graph: &Model) -> Result<(), PackageError> {
    // The model has no folder, so this fails at the first file, and copies nothing.
    Ok(graph.clone().inline_external_data()?)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod entropy_coders;
