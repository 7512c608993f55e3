//! A tensor without zeros as in Deep Compression (Han, Mao and Dally 2016, arXiv 1510.00149,
//! sections 2, 4 and figure 2).
//!
//! It has gaps of a few bits, a filler where a gap needs more, and Huffman codes of gaps and of
//! codes. A filler is an entry of the value zero. It has code 0, so the code of a word is one more
//! than its index in the codebook.

use super::cursor::CodecError;
use super::model::SYMBOLS_MAX;
use super::sparse::SparseCodes;
use super::words::{Form, zeros};
use super::{Codec, Coded, Figures, Plan, codebook, huffman};

/// Candidates for the bits of a gap: 4 and 5 are the paper's, 8 its limit for convolutions.
const GAP_BITS: [u32; 3] = [4, 5, 8];

/// Encodes a tensor; `None` when the codebook is too large for a table of codes.
pub(crate) fn encode(form: Form, tensor: &SparseCodes) -> Option<Coded> {
    let fits = tensor.words.len() < SYMBOLS_MAX;
    let bounds = GAP_BITS.iter().filter(|_| fits);
    bounds.map(|bits| encode_with(form, tensor, *bits)).min_by_key(Coded::bytes)
}

fn encode_with(form: Form, tensor: &SparseCodes, gap_bits: u32) -> Coded {
    let (gaps, codes) = entries(tensor, gap_bits);
    let distinct = tensor.words.len();
    let kept = tensor.positions.len();
    let figures = Figures { kept, distinct, gaps: gaps.len(), gap_bits };
    let parts = vec![
        codebook::encode(form, &tensor.words),
        huffman::encode(&gaps, 1 << gap_bits),
        huffman::encode(&codes, distinct + 1),
    ];
    Coded { codec: Codec::Huffman, figures, parts }
}

/// Returns the gap before each entry, below `2^gap_bits`, and the entry's code.
fn entries(tensor: &SparseCodes, gap_bits: u32) -> (Vec<u16>, Vec<u16>) {
    let (mut gaps, mut codes) = (Vec::new(), Vec::new());
    let reach = 1_u64 << gap_bits;
    let mut next = 0;
    for (position, code) in tensor.positions.iter().zip(&tensor.codes) {
        while u64::from(*position) - next >= reach {
            gaps.push((reach - 1) as u16);
            codes.push(0);
            next += reach;
        }
        gaps.push((u64::from(*position) - next) as u16);
        codes.push(code + 1);
        next = u64::from(*position) + 1;
    }
    (gaps, codes)
}

pub(crate) fn decode(plan: &Plan, segment: &[u8]) -> Result<SparseCodes, CodecError> {
    let Figures { kept, distinct, gaps: entries, gap_bits } = plan.figures;
    let words = plan.part(segment, 0, |part| codebook::decode(plan.form, part, distinct))?;
    let (mut gaps, mut codes) = (zeros(entries)?, zeros(entries)?);
    plan.part(segment, 1, |part| huffman::decode(part, 1 << gap_bits, &mut gaps))?;
    plan.part(segment, 2, |part| huffman::decode(part, distinct + 1, &mut codes))?;
    let mut positions = Vec::with_capacity(kept);
    let mut next = 0;
    for (gap, code) in gaps.iter().zip(&codes) {
        let position = next + u64::from(*gap);
        if *code > 0 {
            positions.push(position as u32);
        }
        next = position + 1;
    }
    codes.retain(|code| *code > 0);
    codes.iter_mut().for_each(|code| *code -= 1);
    if positions.len() != kept || next > plan.form.count as u64 {
        return Err(CodecError::new(
            "the gaps do not lead to as many positions as there are values",
        ));
    }
    Ok(SparseCodes { words, positions, codes })
}
