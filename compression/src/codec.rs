//! Codecs: ways to store a tensor's values, without loss. Each has a file of its own below, and
//! the smallest is taken for each tensor.

use crate::Sparse;
use cursor::{CodecError, Cursor, put_varint};
use words::Form;

pub(crate) mod cursor;
pub(crate) mod words;
mod adaptive;
mod model;
mod rans;
mod huffman;
mod stream;
mod codebook;
mod gaps;
mod planes;
mod codes;
mod paper;
mod sparse;
mod pruned;
mod choose;

pub(crate) use choose::{Analysis, encode};

/// How a tensor's values are stored. The numbers are those of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Codec {
    /// As they are.
    Raw = 0,
    /// The bytes of all values by significance, each such plane coded on its own: for what has
    /// no structure.
    Planes = 1,
    /// A codebook, and a code for each value.
    Codes = 2,
    /// Zeros left out: a codebook, and Huffman codes of gaps and of codes, as in Deep
    /// Compression.
    Huffman = 3,
    /// Zeros left out: a codebook, and gaps and codes by asymmetric numeral systems.
    Sparse = 4,
    /// Zeros left out: gaps, and the other values in planes. For what is pruned and not
    /// clustered.
    Pruned = 5,
}

/// Every codec, in the order of their numbers.
pub(crate) const CODECS: [Codec; 6] =
    [Codec::Raw, Codec::Planes, Codec::Codes, Codec::Huffman, Codec::Sparse, Codec::Pruned];

impl Codec {
    /// The codec of this number.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        CODECS.into_iter().find(|codec| *codec as u64 == number)
    }

    /// The word for it, in tables and in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Planes => "planes",
            Self::Codes => "codes",
            Self::Huffman => "huffman",
            Self::Sparse => "sparse",
            Self::Pruned => "pruned",
        }
    }

    /// How many parts a segment has.
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

/// What the index says of a tensor, for its codec; 0 where the codec has no use for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Words that are not zero.
    pub(crate) kept: usize,
    /// Words in the codebook.
    pub(crate) distinct: usize,
    /// Symbols of the gaps; for `Huffman`, values and fillers.
    pub(crate) gaps: usize,
    /// Bits of a gap before coding, for `Huffman`.
    pub(crate) gap_bits: u32,
}

/// A coded tensor, made.
#[derive(Debug, Clone)]
pub(crate) struct Coded {
    pub(crate) codec: Codec,
    pub(crate) figures: Figures,
    pub(crate) parts: Vec<Vec<u8>>,
}

impl Coded {
    /// Its bytes in the file, without those in the index.
    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    /// Appends what the index says of it: codec, figures, and the lengths of all parts but the
    /// last.
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

/// How a coded tensor lies in its segment, as the index says. Made by [`Plan::read`] alone, so
/// the figures are in keeping with the form.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) codec: Codec,
    pub(crate) form: Form,
    pub(crate) figures: Figures,
    /// Where each part ends, in bytes from the beginning of the segment.
    ends: Vec<usize>,
}

impl Plan {
    /// Reads what [`Coded::describe`] wrote of a tensor of this form, whose segment has `length`
    /// bytes, and checks it: memory for decoding is in proportion to the form's bytes.
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

    /// Reads part `index` of `segment`; an error's place is then one of the segment.
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

    /// Bytes of part `index`.
    pub(crate) fn part_bytes(&self, index: usize) -> usize {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.ends[index] - start
    }

    /// The tensor's bytes.
    pub(crate) fn decode(&self, segment: &[u8]) -> Result<Vec<u8>, CodecError> {
        match self.codec {
            Codec::Raw => self.part(segment, 0, |part| {
                let fits = part.len() == self.form.bytes();
                let bytes = fits.then(|| part.to_vec());
                bytes.ok_or(CodecError::new("it does not have the bytes that its shape needs"))
            }),
            Codec::Planes => planes::decode(self, segment),
            Codec::Codes => codes::decode(self, segment),
            Codec::Huffman => paper::decode(self, segment)?.scatter(self.form),
            Codec::Sparse => sparse::decode(self, segment)?.scatter(self.form),
            Codec::Pruned => pruned::decode(self, segment),
        }
    }

    /// The tensor of `float32` without its zeros, if it is stored with a codebook or without
    /// its zeros, and has no more distinct values than a codebook holds.
    pub(crate) fn decode_sparse(
        &self,
        segment: &[u8],
        shape: &[u64],
    ) -> Result<Option<Sparse>, CodecError> {
        let coded = match self.codec {
            Codec::Raw | Codec::Planes => None,
            Codec::Codes => codes::decode_sparse(self, segment)?,
            Codec::Huffman => Some(paper::decode(self, segment)?),
            Codec::Sparse => Some(sparse::decode(self, segment)?),
            Codec::Pruned => pruned::decode_sparse(self, segment)?,
        };
        Ok(coded.map(|coded| coded.with_shape(shape)))
    }
}

/// What is wrong with figures from outside, if anything is.
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
