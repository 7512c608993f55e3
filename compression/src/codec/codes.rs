//! A codebook and a code for each value, zeros included.

use super::codebook::{self, Coding};
use super::cursor::CodecError;
use super::sparse::SparseCodes;
use super::words::{Form, narrow, zeros};
use super::{Codec, Coded, Figures, Plan, stream};

pub(crate) fn encode(form: Form, coding: &Coding, kept: usize) -> Coded {
    let distinct = coding.words.len();
    let codebook = codebook::encode(form, &coding.words);
    let codes = stream::encode(&coding.codes, distinct);
    let figures = Figures { kept, distinct, ..Figures::default() };
    Coded { codec: Codec::Codes, figures, parts: vec![codebook, codes] }
}

pub(crate) fn decode(plan: &Plan, segment: &[u8]) -> Result<Vec<u8>, CodecError> {
    let words = words(plan, segment)?;
    let mut bytes = plan.form.zeros()?;
    plan.part(segment, 1, |part| match plan.form.width {
        1 => fill::<1>(part, &words, &mut bytes),
        2 => fill::<2>(part, &words, &mut bytes),
        4 => fill::<4>(part, &words, &mut bytes),
        _ => fill::<8>(part, &words, &mut bytes),
    })?;
    Ok(bytes)
}

/// The same as [`decode`], without the zeros. `None` when positions would need more than 32 bits.
pub(crate) fn decode_sparse(
    plan: &Plan,
    segment: &[u8],
) -> Result<Option<SparseCodes>, CodecError> {
    if plan.form.count as u64 > 1 << 32 {
        return Ok(None);
    }
    let words = words(plan, segment)?;
    let values: Vec<u16> = (0..words.len()).map(|code| code as u16).collect();
    let mut codes = zeros(plan.form.count)?;
    plan.part(segment, 1, |part| stream::decode(part, &values, &mut codes))?;
    Ok(Some(SparseCodes::of(&Coding { words, codes })))
}

fn words(plan: &Plan, segment: &[u8]) -> Result<Vec<u64>, CodecError> {
    plan.part(segment, 0, |part| codebook::decode(plan.form, part, plan.figures.distinct))
}

/// Decodes codes into their words of `W` bytes.
fn fill<const W: usize>(part: &[u8], words: &[u64], bytes: &mut [u8]) -> Result<(), CodecError>
where
    [u8; W]: Default,
{
    let (out, _) = bytes.as_chunks_mut::<W>();
    stream::decode(part, &narrow(words), out)
}
