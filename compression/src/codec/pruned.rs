//! A tensor without zeros, whose other values are planes: for weights that are pruned and not
//! clustered.

use super::codebook::Coding;
use super::cursor::CodecError;
use super::planes::{decode_planes, encode_planes};
use super::sparse::SparseCodes;
use super::words::Form;
use super::{Codec, Coded, Figures, Plan, gaps};

/// Encodes a tensor; `form.count` is 2^32 at most.
pub(crate) fn encode(form: Form, bytes: &[u8]) -> Coded {
    let zero = |word: &[u8]| word.iter().all(|byte| *byte == 0);
    let kept = || bytes.chunks_exact(form.width).zip(0..=u32::MAX).filter(|(word, _)| !zero(word));
    let positions: Vec<u32> = kept().map(|(_, position)| position).collect();
    let values: Vec<u8> = kept().flat_map(|(word, _)| word).copied().collect();
    let symbols = gaps::of(&positions);
    let figures = Figures { kept: positions.len(), gaps: symbols.len(), ..Figures::default() };
    let mut parts = vec![gaps::encode(&symbols)];
    parts.extend(encode_planes(form, &values));
    Coded { codec: Codec::Pruned, figures, parts }
}

pub(crate) fn decode(plan: &Plan, segment: &[u8]) -> Result<Vec<u8>, CodecError> {
    let (positions, values) = kept(plan, segment)?;
    let mut bytes = plan.form.zeros()?;
    match plan.form.width {
        1 => put::<1>(&positions, &values, &mut bytes),
        2 => put::<2>(&positions, &values, &mut bytes),
        4 => put::<4>(&positions, &values, &mut bytes),
        _ => put::<8>(&positions, &values, &mut bytes),
    }
    Ok(bytes)
}

/// Decodes a tensor without zeros; `None` when there are more distinct values than a codebook
/// holds.
pub(crate) fn decode_sparse(
    plan: &Plan,
    segment: &[u8],
) -> Result<Option<SparseCodes>, CodecError> {
    let (positions, values) = kept(plan, segment)?;
    let coding = Coding::of(plan.form, plan.form.words(&values));
    Ok(coding.map(|Coding { words, codes }| SparseCodes { words, positions, codes }))
}

/// Decodes the positions of the values that are kept, and those values.
fn kept(plan: &Plan, segment: &[u8]) -> Result<(Vec<u32>, Vec<u8>), CodecError> {
    let Figures { kept, gaps, .. } = plan.figures;
    let count = plan.form.count;
    let positions = plan.part(segment, 0, |part| gaps::decode(part, gaps, kept, count))?;
    let values = decode_planes(plan, segment, 1, Form { count: kept, ..plan.form })?;
    Ok((positions, values))
}

fn put<const W: usize>(positions: &[u32], values: &[u8], bytes: &mut [u8]) {
    let (out, _) = bytes.as_chunks_mut::<W>();
    for (position, value) in positions.iter().zip(values.as_chunks::<W>().0) {
        if let Some(out) = out.get_mut(*position as usize) {
            *out = *value;
        }
    }
}
