//! Values without structure, split into planes.
//!
//! A plane is a stream of all the words' lowest bytes, the next of the bytes above those, and so
//! on. In trained weights the exponents' plane holds about three bits of eight. Those of the
//! mantissa are noise and stay unchanged. (ZipNN, Hershcovitch et al. 2024, arXiv 2411.05239, gains
//! the same way.)
//!
//! A float is rotated by one bit first, its sign to the lowest bit, so that the exponent is one
//! plane.

use super::cursor::CodecError;
use super::words::zeros;
use super::words::{Form, Meaning};
use super::{Codec, Coded, Figures, Plan, stream};
use std::borrow::Cow;

pub(crate) fn encode(form: Form, bytes: &[u8], kept: usize) -> Coded {
    let figures = Figures { kept, ..Figures::default() };
    Coded { codec: Codec::Planes, figures, parts: encode_planes(form, bytes) }
}

pub(crate) fn decode(plan: &Plan, segment: &[u8]) -> Result<Vec<u8>, CodecError> {
    decode_planes(plan, segment, 0, plan.form)
}

/// Encodes the planes of the words in `bytes`, the lowest first.
pub(super) fn encode_planes(form: Form, bytes: &[u8]) -> Vec<Vec<u8>> {
    let turned = |word: u64| match form.meaning {
        Meaning::Float => (word << 1 | word >> (form.bits() - 1)) & form.mask(),
        _ => word,
    };
    let plane = |index: usize| -> Vec<u16> {
        form.words(bytes)
            .map(|word| turned(word) >> (8 * index) & 0xFF)
            .map(|byte| byte as u16)
            .collect()
    };
    (0..form.width).map(|index| stream::encode(&plane(index), 256)).collect()
}

/// Decodes the words whose planes are the parts of the segment from `first` on.
pub(super) fn decode_planes(
    plan: &Plan,
    segment: &[u8],
    first: usize,
    form: Form,
) -> Result<Vec<u8>, CodecError> {
    let plane = |index: usize| plan.part(segment, first + index, |part| plane(part, form.count));
    let planes: Vec<Cow<'_, [u8]>> = (0..form.width).map(plane).collect::<Result<_, _>>()?;
    let mut bytes = form.zeros()?;
    match planes.as_slice() {
        [a] => join([a], form, &mut bytes),
        [a, b] => join([a, b], form, &mut bytes),
        [a, b, c, d] => join([a, b, c, d], form, &mut bytes),
        [a, b, c, d, e, f, g, h] => join([a, b, c, d, e, f, g, h], form, &mut bytes),
        _ => return Err(CodecError::new("words of a size that this version does not know")),
    }
    Ok(bytes)
}

/// Decodes a plane of `count` bytes.
fn plane(part: &[u8], count: usize) -> Result<Cow<'_, [u8]>, CodecError> {
    if let Some(bytes) = stream::plain_bytes(part).filter(|bytes| bytes.len() == count) {
        return Ok(Cow::Borrowed(bytes));
    }
    let values: [u8; 256] = std::array::from_fn(|symbol| symbol as u8);
    let mut bytes = zeros(count)?;
    stream::decode(part, &values, &mut bytes)?;
    Ok(Cow::Owned(bytes))
}

/// Joins planes to words. Each width has a loop of its own, so that it becomes vector instructions.
fn join<const W: usize>(planes: [&[u8]; W], form: Form, bytes: &mut [u8]) {
    let (words, _) = bytes.as_chunks_mut::<W>();
    let count = planes.iter().map(|plane| plane.len()).fold(words.len(), usize::min);
    let planes = planes.map(|plane| &plane[..count]);
    let joined = words.iter_mut().zip(0..count);
    if form.meaning == Meaning::Float {
        joined.for_each(|(word, i)| *word = turned_back(planes.map(|plane| plane[i])));
    } else {
        joined.for_each(|(word, i)| *word = planes.map(|plane| plane[i]));
    }
}

/// Rotates a word back: its lowest bit becomes the highest.
#[inline]
fn turned_back<const W: usize>(word: [u8; W]) -> [u8; W] {
    std::array::from_fn(|i| word[i] >> 1 | word[(i + 1) % W] << 7)
}
