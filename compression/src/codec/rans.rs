//! The range variant of asymmetric numeral systems (Duda 2013, arXiv 1311.2540) over a static
//! model, in four lanes.
//!
//! Symbol `i` belongs to lane `i % 4`. The lanes do not depend on each other, which makes decoding
//! fast. They share one sequence of 16-bit words, in the order in which the decoder reads them
//! (Giesen 2014, arXiv 1402.3392).
//!
//! A lane's state is a number of 32 bits, at least 2^16 between symbols. A valid stream ends with
//! every state at 2^16 and no word left, so damage rarely goes unnoticed.

use super::cursor::CodecError;
use super::model::{Model, PRECISION_MAX, SYMBOLS_MAX};

/// Number of lanes.
const LANES: usize = 4;
/// Lowest state between symbols, and the initial state of encoding.
const STATE_MIN: u32 = 1 << 16;
/// Bytes of the lanes' states, which precede the words.
const STATES_BYTES: usize = 4 * LANES;
/// Size of the lookup table. It is fixed, so that the compiler sees that no index passes its end.
const SLOTS: usize = 1 << PRECISION_MAX;

/// Encodes symbols: the lanes' last states, then the words, little-endian. The model must have
/// every symbol.
pub(crate) fn encode(model: &Model, symbols: &[u16]) -> Vec<u8> {
    let mut starts = Vec::with_capacity(model.frequencies.len());
    let mut start = 0_u32;
    for frequency in &model.frequencies {
        starts.push(start);
        start += u32::from(*frequency);
    }
    let mut states = [STATE_MIN; LANES];
    let mut words = Vec::new();
    // The order is reversed, since the last symbol encoded is the first decoded.
    for (i, symbol) in symbols.iter().enumerate().rev() {
        let state = &mut states[i % LANES];
        let index = usize::from(*symbol) - model.first;
        let frequency = u32::from(model.frequencies[index]);
        if u64::from(*state) >= u64::from(frequency) << (32 - model.precision) {
            words.push(*state as u16);
            *state >>= 16;
        }
        *state = (*state / frequency) << model.precision | (*state % frequency + starts[index]);
    }
    let states = states.iter().flat_map(|state| state.to_le_bytes());
    states.chain(words.iter().rev().flat_map(|word| word.to_le_bytes())).collect()
}

/// Decodes `out.len()` symbols of `model`, each as its entry of `values`, which begin at symbol 0.
pub(crate) fn decode<T: Copy + Default>(
    model: &Model,
    bytes: &[u8],
    values: &[T],
    out: &mut [T],
) -> Result<(), CodecError> {
    let table = Table::new(model, values)?;
    let Some(states) = bytes.first_chunk::<STATES_BYTES>() else {
        return Err(CodecError::new("a stream is too short for its states"));
    };
    let (states, _) = states.as_chunks();
    let mut lanes = [0; LANES];
    for (lane, state) in lanes.iter_mut().zip(states) {
        *lane = u32::from_le_bytes(*state);
    }
    let mut at = STATES_BYTES;
    let (groups, rest) = out.as_chunks_mut::<LANES>();
    for group in groups {
        let mut words = words_at(bytes, at);
        for (state, value) in lanes.iter_mut().zip(group) {
            *value = table.step(state);
            at += refill(state, &mut words);
        }
    }
    let mut words = words_at(bytes, at);
    for (state, value) in lanes.iter_mut().zip(rest) {
        *value = table.step(state);
        at += refill(state, &mut words);
    }
    if lanes != [STATE_MIN; LANES] || at != bytes.len() {
        let offset = at.min(bytes.len());
        return Err(CodecError { problem: "a stream does not end where its symbols do", offset });
    }
    Ok(())
}

/// Returns the four words from `at` on; 0 past the end, which is detected after the last symbol.
#[inline]
fn words_at(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => last_words(bytes, at),
    }
}

#[cold]
fn last_words(bytes: &[u8], at: usize) -> u64 {
    let mut chunk = [0; 8];
    let rest = bytes.get(at..).unwrap_or_default();
    chunk.iter_mut().zip(rest).for_each(|(byte, rest)| *byte = *rest);
    u64::from_le_bytes(chunk)
}

/// Reads a word into a state that is too low, and returns the bytes read. One word is enough, as a
/// frequency is at least 1 and a precision less than 16 bits.
#[inline]
fn refill(state: &mut u32, words: &mut u64) -> usize {
    // There is no branch: it could not be predicted.
    let low = u32::from(*state < STATE_MIN);
    let filled = *state << 16 | u32::from(*words as u16);
    *state = if low == 1 { filled } else { *state };
    *words >>= low * 16;
    2 * low as usize
}

/// Decoding data of a symbol.
#[derive(Clone, Copy, Default)]
struct Span<T> {
    frequency: u16,
    /// First slot.
    start: u16,
    value: T,
}

/// A model as tables for decoding.
struct Table<T> {
    precision: u32,
    /// Symbol of each slot, counted from the model's first.
    symbols: Box<[u16; SLOTS]>,
    spans: Box<[Span<T>; SYMBOLS_MAX]>,
}

impl<T: Copy + Default> Table<T> {
    fn new(model: &Model, values: &[T]) -> Result<Self, CodecError> {
        let values = values.get(model.first..).unwrap_or_default();
        let (Some(mut symbols), Some(mut spans)) = (boxed(0), boxed(Span::default())) else {
            return Err(CodecError::new("there is not enough memory for a table"));
        };
        if values.len() < model.frequencies.len() || model.frequencies.len() > SYMBOLS_MAX {
            return Err(CodecError::new("a stream has symbols without a value"));
        }
        let mut start = 0;
        for (symbol, (frequency, value)) in model.frequencies.iter().zip(values).enumerate() {
            spans[symbol] = Span { frequency: *frequency, start, value: *value };
            let end = start + frequency;
            symbols[usize::from(start)..usize::from(end)].fill(symbol as u16);
            start = end;
        }
        Ok(Self { precision: model.precision, symbols, spans })
    }

    /// Decodes a symbol from a state.
    #[inline]
    fn step(&self, state: &mut u32) -> T {
        let slot = *state & ((1 << self.precision) - 1);
        let symbol = self.symbols[slot as usize % SLOTS];
        let span = self.spans[usize::from(symbol) % SYMBOLS_MAX];
        // Neither overflows in a valid stream; in another, any number will do.
        let quotient = *state >> self.precision;
        let rest = slot.wrapping_sub(u32::from(span.start));
        *state = u32::from(span.frequency).wrapping_mul(quotient).wrapping_add(rest);
        span.value
    }
}

fn boxed<T: Copy, const N: usize>(value: T) -> Option<Box<[T; N]>> {
    vec![value; N].into_boxed_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn model_of(symbols: &[u16]) -> Model {
        let mut counts = vec![0; usize::from(*symbols.iter().max().unwrap()) + 1];
        symbols.iter().for_each(|symbol| counts[usize::from(*symbol)] += 1);
        Model::fit(&counts).0
    }

    fn values() -> Vec<u16> {
        (0..SYMBOLS_MAX as u16).collect()
    }

    proptest! {
        #[test]
        fn streams_are_restored(mut symbols in proptest::collection::vec(30_u16..90, 0..500), extreme in 0_u16..4096) {
            symbols.extend([extreme, extreme ^ 1]);
            let model = model_of(&symbols);
            let bytes = encode(&model, &symbols);
            let mut out = vec![0; symbols.len()];
            decode(&model, &bytes, &values(), &mut out).unwrap();
            prop_assert_eq!(&out, &symbols);
            prop_assert!(decode(&model, &bytes[..bytes.len() - 1], &values(), &mut out).is_err());
            let longer = [bytes.as_slice(), &[0]].concat();
            prop_assert!(decode(&model, &longer, &values(), &mut out).is_err());
        }

        #[test]
        fn any_bytes_are_decoded_or_rejected(bytes: Vec<u8>, length in 0_usize..200) {
            let model = model_of(&[0, 1, 1, 2, 9]);
            let _ = decode(&model, &bytes, &values(), &mut vec![0; length]);
        }
    }

    #[test]
    fn a_stream_is_as_long_as_its_entropy() {
        // One symbol in eight is a 1: 0.5436 bits each.
        let symbols: Vec<u16> = (0..100_000_u32).map(|i| u16::from(i * 7919 % 8 == 0)).collect();
        let bytes = encode(&model_of(&symbols), &symbols);
        assert!((6794..6840).contains(&bytes.len()), "{}", bytes.len());
    }

    #[test]
    fn symbols_without_a_value_are_rejected() {
        let model = model_of(&[3, 4, 4]);
        let bytes = encode(&model, &[3, 4, 4]);
        assert!(decode(&model, &bytes, &values()[..4], &mut [0; 3]).is_err());
        assert!(decode(&model, &bytes, &values()[..5], &mut [0; 3]).is_ok());
    }
}
