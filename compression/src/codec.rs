//! Lossless codecs of a tensor's values. Each has a file of its own below, and each tensor gets the
//! smallest.

use crate::Sparse;
use cursor::{CodecError, Cursor, put_varint};
use words::Form;

pub(crate) mod cursor;
pub(crate) mod words;
mod adaptive;
mod model;
mod rans;
mod huffman;
pub(crate) mod stream;
mod codebook;
mod gaps;
mod planes;
mod codes;
mod huffman_sparse;
mod sparse;
mod pruned;
mod choose;

pub(crate) use choose::{Analysis, encode};

/// Storage of a tensor's values. The numbers are those of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Codec {
    /// The values as they are.
    Raw = 0,
    /// The bytes of all values by significance, each such plane coded on its own. It suits values
    /// without structure.
    Planes = 1,
    /// A codebook, and a code for each value.
    Codes = 2,
    /// No zeros: a codebook, and Huffman codes of gaps and of codes, as in Deep Compression.
    Huffman = 3,
    /// No zeros: a codebook, and gaps and codes by asymmetric numeral systems.
    Sparse = 4,
    /// No zeros: gaps, and the other values in planes. It suits weights that are pruned and not
    /// clustered.
    Pruned = 5,
}

/// Every codec, in the order of the numbers.
pub(crate) const CODECS: [Codec; 6] =
    [Codec::Raw, Codec::Planes, Codec::Codes, Codec::Huffman, Codec::Sparse, Codec::Pruned];

impl Codec {
    /// Returns the codec of a number.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        CODECS.into_iter().find(|codec| *codec as u64 == number)
    }

    /// Returns the name of the codec, in tables and in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Planes => "planes",
            Self::Codes => "codes",
            Self::Huffman => "huffman",
            Self::Sparse => "sparse",
            Self::Pruned => "pruned",
        }
    }

    /// Returns the number of parts of a segment.
    fn parts(self, form: Form) -> usize {
        match self {
            Self::Raw => 1,
            Self::Planes => form.width,
            Self::Codes => 2,
            Self::Huffman | Self::Sparse => 3,
            Self::Pruned => 1 + form.width,
        }
    }
}

/// Figures of a tensor in the index, for its codec; 0 where the codec does not need them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Number of words that are not zero.
    pub(crate) kept: usize,
    /// Number of words in the codebook.
    pub(crate) distinct: usize,
    /// Number of symbols of the gaps; for `Huffman`, values and fillers.
    pub(crate) gaps: usize,
    /// Bits of a gap before coding, for `Huffman`.
    pub(crate) gap_bits: u32,
}

/// An encoded tensor.
#[derive(Debug, Clone)]
pub(crate) struct Coded {
    pub(crate) codec: Codec,
    pub(crate) figures: Figures,
    pub(crate) parts: Vec<Vec<u8>>,
}

impl Coded {
    /// Returns the bytes of the segment, without those in the index.
    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    /// Appends the tensor's entry in the index: codec, figures, and the lengths of all parts but
    /// the last.
    pub(crate) fn describe(&self, bytes: &mut Vec<u8>) {
        let figures = self.figures;
        put_varint(bytes, self.codec as u64);
        put_varint(bytes, figures.kept as u64);
        if matches!(self.codec, Codec::Codes | Codec::Huffman | Codec::Sparse) {
            put_varint(bytes, figures.distinct as u64);
        }
        if matches!(self.codec, Codec::Huffman | Codec::Sparse | Codec::Pruned) {
            put_varint(bytes, figures.gaps as u64);
        }
        if self.codec == Codec::Huffman {
            put_varint(bytes, u64::from(figures.gap_bits));
        }
        for part in self.parts.iter().rev().skip(1).rev() {
            put_varint(bytes, part.len() as u64);
        }
    }
}

/// Layout of an encoded tensor in its segment. [`Plan::read`] alone creates it, so the figures are
/// consistent with the form.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) codec: Codec,
    pub(crate) form: Form,
    pub(crate) figures: Figures,
    /// End of each part, in bytes from the beginning of the segment.
    ends: Vec<usize>,
}

impl Plan {
    /// Reads and checks the entry that [`Coded::describe`] wrote of a tensor of this form, whose
    /// segment has `length` bytes.
    ///
    /// Memory for decoding is in proportion to the form's bytes.
    pub(crate) fn read(
        cursor: &mut Cursor<'_>,
        form: Form,
        length: usize,
    ) -> Result<Self, CodecError> {
        let codec = Codec::from_number(cursor.varint()?)
            .ok_or_else(|| cursor.fail("a codec that this version does not know"))?;
        let mut figures = Figures { kept: cursor.length()?, ..Figures::default() };
        if matches!(codec, Codec::Codes | Codec::Huffman | Codec::Sparse) {
            figures.distinct = cursor.length()?;
        }
        if matches!(codec, Codec::Huffman | Codec::Sparse | Codec::Pruned) {
            figures.gaps = cursor.length()?;
        }
        if codec == Codec::Huffman {
            figures.gap_bits = cursor.byte()?.into();
        }
        check(codec, form, figures).map_err(|problem| cursor.fail(problem))?;
        let (mut ends, mut end) = (Vec::new(), 0_usize);
        for _ in 1..codec.parts(form) {
            end = end.saturating_add(cursor.length()?);
            ends.push(end);
        }
        if end > length {
            return Err(cursor.fail("the parts are longer than the segment"));
        }
        ends.push(length);
        Ok(Self { codec, form, figures, ends })
    }

    /// Reads part `index` of `segment`. The offset of an error is one in the segment.
    fn part<'a, T>(
        &self,
        segment: &'a [u8],
        index: usize,
        read: impl FnOnce(&'a [u8]) -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let part = segment.get(start..self.ends[index]);
        let part = part.ok_or(CodecError::new("the segment is too short"))?;
        read(part).map_err(|error| error.within(start))
    }

    /// Returns the number of bytes of part `index`.
    pub(crate) fn part_bytes(&self, index: usize) -> usize {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.ends[index] - start
    }

    /// Decodes the tensor's bytes.
    pub(crate) fn decode(&self, segment: &[u8]) -> Result<Vec<u8>, CodecError> {
        match self.codec {
            Codec::Raw => self.part(segment, 0, |part| {
                let fits = part.len() == self.form.bytes();
                let bytes = fits.then(|| part.to_vec());
                bytes.ok_or(CodecError::new("it does not have the bytes that its shape needs"))
            }),
            Codec::Planes => planes::decode(self, segment),
            Codec::Codes => codes::decode(self, segment),
            Codec::Huffman => huffman_sparse::decode(self, segment)?.scatter(self.form),
            Codec::Sparse => sparse::decode(self, segment)?.scatter(self.form),
            Codec::Pruned => pruned::decode(self, segment),
        }
    }

    /// Decodes a `float32` tensor without its zeros.
    ///
    /// `None` when it is stored neither with a codebook nor without zeros, or has more distinct
    /// values than a codebook holds.
    pub(crate) fn decode_sparse(
        &self,
        segment: &[u8],
        shape: &[u64],
    ) -> Result<Option<Sparse>, CodecError> {
        let coded = match self.codec {
            Codec::Raw | Codec::Planes => None,
            Codec::Codes => codes::decode_sparse(self, segment)?,
            Codec::Huffman => Some(huffman_sparse::decode(self, segment)?),
            Codec::Sparse => Some(sparse::decode(self, segment)?),
            Codec::Pruned => pruned::decode_sparse(self, segment)?,
        };
        Ok(coded.map(|coded| coded.with_shape(shape)))
    }
}

/// Checks figures of an untrusted file.
fn check(codec: Codec, form: Form, figures: Figures) -> Result<(), &'static str> {
    let Figures { kept, distinct, gaps, gap_bits } = figures;
    let sparse = matches!(codec, Codec::Huffman | Codec::Sparse | Codec::Pruned);
    let gaps_max = match codec {
        Codec::Huffman if gap_bits > 8 => return Err("gaps of too many bits"),
        Codec::Huffman => kept.saturating_add(form.count >> gap_bits),
        _ => gaps::count_max(kept as u64, form.count as u64) as usize,
    };
    if kept > form.count {
        Err("more values are kept than there are")
    } else if sparse && form.count as u64 > 1 << 32 {
        Err("positions of more than 32 bits")
    } else if distinct > codebook::DISTINCT_MAX.min(if sparse { kept } else { form.count }) {
        Err("a codebook of more words than its codes can tell")
    } else if gaps > gaps_max || (sparse && gaps < kept) {
        Err("a number of gaps that does not go with the number of values")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
