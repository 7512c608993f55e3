//! Writes packages.

use super::header::{Header, Kind, NewSection, Storage, checksum_of};
use super::index::{form_of, put_row};
use super::splice::{Change, splice};
use super::{
    DECODED_PER_BYTE, Manifest, Package, PackageError, Signer, Summary, decoded_max,
    reject_external_data,
};
use crate::codec::words::Form;
use crate::codec::{Analysis, CODECS, Codec, Coded, encode};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use skysail_graph::{Model, TensorView, write_atomically};
use std::borrow::Cow;
use std::io::Write as _;
use std::path::Path;

/// Limit of values that stay in the graph, in bytes: a segment would cost more.
const IN_GRAPH_BYTES_MAX: usize = 32;
/// Bytes of the digest, and of a signature with its key.
const DIGEST_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 96;

/// A writer of packages. Nothing is lost: every initializer comes back bit for bit.
///
/// ```
/// use skysail_compression::{Manifest, Package, PackageWriter};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("mlp.sky");
/// let model = skysail_graph::mlp(&[16, 8, 4], 7)?;
/// let manifest = Manifest { name: "mlp".into(), ..Manifest::default() };
/// let summary = PackageWriter::new(&model).manifest(manifest).write(&path)?;
/// let package = Package::open(&path)?;
/// assert_eq!(package.bytes(), summary.bytes);
/// assert_eq!(package.model()?.to_bytes()?, model.to_bytes()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PackageWriter<'a> {
    model: &'a Model,
    manifest: Manifest,
    codecs: Vec<Codec>,
    signer: Option<Signer>,
}

impl<'a> PackageWriter<'a> {
    /// Creates a writer of `model`, with an empty manifest and every codec.
    pub fn new(model: &'a Model) -> Self {
        let manifest = Manifest::default();
        Self { model, manifest, codecs: CODECS.to_vec(), signer: None }
    }

    /// Sets the manifest.
    #[must_use]
    pub fn manifest(mut self, manifest: Manifest) -> Self {
        self.manifest = manifest;
        self
    }

    /// Limits the codecs, for comparisons; tensors that none of them can store are stored raw. By
    /// default the smallest of all is chosen.
    #[must_use]
    pub fn codecs(mut self, codecs: &[Codec]) -> Self {
        self.codecs = codecs.to_vec();
        self
    }

    /// Signs the package.
    #[must_use]
    pub fn sign(mut self, signer: Signer) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Writes the package to a file, whole or not at all, after decoding and comparing it with the
    /// model.
    ///
    /// # Errors
    /// The errors of [`to_bytes`](Self::to_bytes), and `Graph` with `Io` when the file cannot be
    /// written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<Summary, PackageError> {
        let package = self.checked()?;
        write_atomically(path.as_ref(), &package.file)?;
        Ok(package.summary())
    }

    /// Returns the package as bytes.
    ///
    /// # Errors
    /// `Graph` when the model's tensors are invalid, or their external data cannot be read;
    /// `TooLarge` past a limit of the format.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackageError> {
        Ok(self.checked()?.file.to_vec())
    }

    /// Returns the package, decoded and compared with the model.
    fn checked(&self) -> Result<Package, PackageError> {
        let (model, stripped) = strip(self.model)?;
        let tensors: Vec<Initializer<'_>> =
            model.graph().initializers().map(Initializer::of).collect();
        let coded = tensors.par_iter().map(|tensor| tensor.code(&self.codecs));
        let mut coded = coded.collect::<Result<Vec<_>, _>>()?;
        limit_ratio(&tensors, &mut coded)?;
        let package = Package::from_bytes(self.file(stripped, &coded)?)?;
        compare(&package, &tensors)?;
        Ok(package)
    }

    /// Returns the file's bytes: the sections, then the digest and the signature.
    fn file(&self, graph: Vec<u8>, coded: &[Option<Coded>]) -> Result<Vec<u8>, PackageError> {
        let manifest = serde_json::to_vec(&self.manifest).map_err(PackageError::Manifest)?;
        let (mut index, mut segments, mut skipped) = (Vec::new(), Vec::new(), 0);
        for coded in coded {
            let Some(coded) = coded else {
                skipped += 1;
                continue;
            };
            put_row(&mut index, skipped, coded);
            coded.parts.iter().for_each(|part| segments.extend(part));
            skipped = 0;
        }
        let (manifest_section, manifest) = packed(Kind::Manifest, manifest)?;
        let (graph_section, graph) = packed(Kind::Graph, graph)?;
        // Segments have their own checksums, and the digest is a checksum.
        let mut sections = vec![
            manifest_section,
            graph_section,
            plain(Kind::Index, index.len(), checksum_of(&[&index])),
            plain(Kind::Segments, segments.len(), 0),
            plain(Kind::Digest, DIGEST_BYTES, 0),
        ];
        if self.signer.is_some() {
            sections.push(plain(Kind::Signature, SIGNATURE_BYTES, 0));
        }
        let mut file = [Header::write(&sections), manifest, graph, index, segments].concat();
        let digest: [u8; 32] = Sha256::digest(&file).into();
        file.extend(digest);
        file.extend(self.signer.iter().flat_map(|signer| signer.sign(&digest)));
        Ok(file)
    }
}

/// Returns the model, and its ONNX file without the values that get segments.
///
/// External values that get segments stay in their files, to be read one by one; others are loaded
/// first.
fn strip(model: &Model) -> Result<(Cow<'_, Model>, Vec<u8>), PackageError> {
    let stripped = stripped(model)?;
    if reject_external_data(&Model::from_bytes(&stripped)?).is_ok() {
        return Ok((Cow::Borrowed(model), stripped));
    }
    let mut whole = model.clone();
    whole.inline_external_data()?;
    let stripped = self::stripped(&whole)?;
    Ok((Cow::Owned(whole), stripped))
}

fn stripped(model: &Model) -> Result<Vec<u8>, PackageError> {
    let has_segment: Vec<bool> =
        model.graph().initializers().map(|view| Initializer::of(view).form.is_some()).collect();
    let change = |number: usize| match has_segment.get(number) {
        Some(true) => Change::Empty,
        _ => Change::Keep,
    };
    let in_graph = PackageError::in_section("graph", 0);
    splice(&model.to_bytes()?, change).map_err(in_graph)
}

/// An initializer, and the form of its values if they get a segment.
struct Initializer<'a> {
    view: TensorView<'a>,
    form: Option<Form>,
}

impl<'a> Initializer<'a> {
    fn of(view: TensorView<'a>) -> Self {
        let worth = |form: &Form| form.bytes() > IN_GRAPH_BYTES_MAX || view.is_external();
        Self { view, form: form_of(view).filter(worth) }
    }

    fn code(&self, codecs: &[Codec]) -> Result<Option<Coded>, PackageError> {
        let Some(form) = self.form else { return Ok(None) };
        let bytes = self.view.bytes()?;
        Ok(Some(encode(form, &bytes, &Analysis::of(form, &bytes), codecs)))
    }
}

/// Stores tensors raw if all together would be smaller than a reader accepts.
fn limit_ratio(
    tensors: &[Initializer<'_>],
    coded: &mut [Option<Coded>],
) -> Result<(), PackageError> {
    let dense = |tensor: &Initializer<'_>| tensor.form.map_or(0, |form| form.bytes() as u64);
    let stored: usize = coded.iter().flatten().map(Coded::bytes).sum();
    if tensors.iter().map(dense).sum::<u64>() <= decoded_max(stored as u64) {
        return Ok(());
    }
    for (tensor, coded) in tensors.iter().zip(coded) {
        let bytes = coded.as_ref().map_or(0, Coded::bytes) as u64;
        if dense(tensor) > bytes.saturating_mul(DECODED_PER_BYTE) {
            *coded = tensor.code(&[])?;
        }
    }
    Ok(())
}

/// Creates a section that is stored plainly.
fn plain(kind: Kind, bytes: usize, checksum: u32) -> NewSection {
    let bytes = bytes as u64;
    NewSection { kind, storage: Storage::Plain, checksum, bytes, decoded: bytes }
}

/// Creates a section and its stored content: compressed if that is smaller.
fn packed(kind: Kind, content: Vec<u8>) -> Result<(NewSection, Vec<u8>), PackageError> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let deflated = encoder.write_all(&content).and_then(|()| encoder.finish());
    let deflated = deflated.map_err(PackageError::io("compress", Path::new(kind.name())))?;
    let decoded = content.len() as u64;
    let (storage, stored) = if deflated.len() < content.len() {
        (Storage::Deflate, deflated)
    } else {
        (Storage::Plain, content)
    };
    let (checksum, bytes) = (checksum_of(&[&stored]), stored.len() as u64);
    Ok((NewSection { kind, storage, checksum, bytes, decoded }, stored))
}

/// Checks that every tensor decodes to its original bytes.
fn compare(package: &Package, tensors: &[Initializer<'_>]) -> Result<(), PackageError> {
    package.index.segments.par_iter().try_for_each(|segment| {
        let view = tensors[segment.tensor].view;
        if *view.bytes()? == package.decode(segment)? {
            return Ok(());
        }
        Err(PackageError::BadTensor {
            tensor: view.name().to_owned(),
            problem: "it does not come back as it was, by a mistake of this program",
            offset: segment.range.start as u64,
        })
    })
}
