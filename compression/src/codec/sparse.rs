//! A tensor without zeros: a codebook, gaps between the values, and their codes. The last two are
//! coded by asymmetric numeral systems.

use super::codebook::{self, Coding};
use super::cursor::CodecError;
use super::words::{Form, narrow, zeros};
use super::{Codec, Coded, Figures, Plan, gaps, stream};
use crate::Sparse;

/// The words of a tensor that are not zero, in order. A zero has only bits of 0, so the float -0.0
/// is none.
///
/// Invariants: positions ascend, and every code has a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SparseCodes {
    pub(super) words: Vec<u64>,
    pub(super) positions: Vec<u32>,
    pub(super) codes: Vec<u16>,
}

impl SparseCodes {
    /// Removes the zeros from a coding of 2^32 words at most.
    pub(crate) fn of(coding: &Coding) -> Self {
        let mut words = coding.words.clone();
        let Some(zero) = words.iter().position(|word| *word == 0) else {
            let positions = (0..=u32::MAX).take(coding.codes.len()).collect();
            return Self { words, positions, codes: coding.codes.clone() };
        };
        words.remove(zero);
        let zero = zero as u16;
        let kept = coding.codes.iter().filter(|code| **code != zero).count();
        // An additional element takes zeros after the last value. Zeros are written too, and
        // overwritten: a branch could not be predicted.
        let (mut positions, mut codes) = (vec![0; kept + 1], vec![0; kept + 1]);
        let mut found = 0;
        for (code, position) in coding.codes.iter().zip(0..=u32::MAX) {
            positions[found] = position;
            codes[found] = code.wrapping_sub(u16::from(*code > zero));
            found += usize::from(*code != zero);
        }
        positions.truncate(kept);
        codes.truncate(kept);
        Self { words, positions, codes }
    }

    /// Returns all words, zeros included, of a tensor of this form.
    pub(super) fn scatter(&self, form: Form) -> Result<Vec<u8>, CodecError> {
        let mut bytes = form.zeros()?;
        match form.width {
            1 => self.put::<1>(&mut bytes),
            2 => self.put::<2>(&mut bytes),
            4 => self.put::<4>(&mut bytes),
            _ => self.put::<8>(&mut bytes),
        }
        Ok(bytes)
    }

    fn put<const W: usize>(&self, bytes: &mut [u8]) {
        let words = narrow::<W>(&self.words);
        let (out, _) = bytes.as_chunks_mut::<W>();
        for (position, code) in self.positions.iter().zip(&self.codes) {
            if let (Some(out), Some(word)) =
                (out.get_mut(*position as usize), words.get(usize::from(*code)))
            {
                *out = *word;
            }
        }
    }

    /// Converts the words to a `float32` tensor.
    pub(super) fn with_shape(self, shape: &[u64]) -> Sparse {
        let codebook = self.words.iter().map(|word| f32::from_bits(*word as u32)).collect();
        Sparse::of_decoded(shape.to_vec(), codebook, self.positions, self.codes)
    }
}

pub(crate) fn encode(form: Form, tensor: &SparseCodes) -> Coded {
    let symbols = gaps::of(&tensor.positions);
    let figures = Figures {
        kept: tensor.positions.len(),
        distinct: tensor.words.len(),
        gaps: symbols.len(),
        gap_bits: 0,
    };
    let codebook = codebook::encode(form, &tensor.words);
    let codes = stream::encode(&tensor.codes, tensor.words.len());
    Coded { codec: Codec::Sparse, figures, parts: vec![codebook, gaps::encode(&symbols), codes] }
}

pub(crate) fn decode(plan: &Plan, segment: &[u8]) -> Result<SparseCodes, CodecError> {
    let Figures { kept, distinct, gaps, .. } = plan.figures;
    let words = plan.part(segment, 0, |part| codebook::decode(plan.form, part, distinct))?;
    let count = plan.form.count;
    let positions = plan.part(segment, 1, |part| gaps::decode(part, gaps, kept, count))?;
    let values: Vec<u16> = (0..distinct).map(|code| code as u16).collect();
    let mut codes = zeros(kept)?;
    plan.part(segment, 2, |part| stream::decode(part, &values, &mut codes))?;
    Ok(SparseCodes { words, positions, codes })
}
