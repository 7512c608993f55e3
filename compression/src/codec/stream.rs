//! A stream of symbols: numbers below a limit. The reader knows the limit and the number of
//! symbols. The first byte says how the stream is stored; the smallest form is chosen.

use super::adaptive::{Decoder, Encoder, Tree};
use super::cursor::{CodecError, Cursor, put_varint};
use super::model::{Model, SYMBOLS_MAX, bits_of};
use super::rans;

/// Plain symbols: a byte each, or two where 256 are not enough.
const PLAIN: u8 = 0;
/// A single symbol, repeated.
const CONSTANT: u8 = 1;
/// Symbols by the adaptive coder, with a tree of bits.
pub(crate) const ADAPTIVE: u8 = 2;
/// Symbols by a static model: the model, then the lanes of the range coder.
pub(crate) const STATIC: u8 = 3;

/// Limit of the symbols of an adaptive stream: the adaptive coder is slow.
const ADAPTIVE_SYMBOLS_MAX: usize = 1 << 12;

/// Encodes symbols below `limit`, which is 2^16 at most.
pub(crate) fn encode(symbols: &[u16], limit: usize) -> Vec<u8> {
    let Some(first) = symbols.first() else { return vec![PLAIN] };
    if symbols.iter().all(|symbol| symbol == first) {
        let mut bytes = vec![CONSTANT];
        put_varint(&mut bytes, u64::from(*first));
        return bytes;
    }
    let mut candidates = vec![plain(symbols, limit)];
    if symbols.len() <= ADAPTIVE_SYMBOLS_MAX && !is_disabled(ADAPTIVE) {
        candidates.push(adaptive(symbols, limit));
    }
    if limit <= SYMBOLS_MAX && u32::try_from(symbols.len()).is_ok() && !is_disabled(STATIC) {
        candidates.push(with_model(symbols, limit));
    }
    candidates.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

/// Form that encoders must not use, to measure its gain.
#[cfg(test)]
pub(crate) static DISABLED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(u8::MAX);

#[cfg(test)]
fn is_disabled(form: u8) -> bool {
    DISABLED.load(std::sync::atomic::Ordering::Relaxed) == form
}

#[cfg(not(test))]
const fn is_disabled(_: u8) -> bool {
    false
}

fn plain(symbols: &[u16], limit: usize) -> Vec<u8> {
    let mut bytes = vec![PLAIN];
    if limit <= 256 {
        bytes.extend(symbols.iter().map(|symbol| *symbol as u8));
    } else {
        bytes.extend(symbols.iter().flat_map(|symbol| symbol.to_le_bytes()));
    }
    bytes
}

fn adaptive(symbols: &[u16], limit: usize) -> Vec<u8> {
    let (mut tree, mut encoder) = (Tree::new(bits_of(limit)), Encoder::new());
    symbols.iter().for_each(|symbol| encoder.put(&mut tree, u32::from(*symbol)));
    let mut bytes = vec![ADAPTIVE];
    bytes.extend(encoder.finish());
    bytes
}

fn with_model(symbols: &[u16], limit: usize) -> Vec<u8> {
    let mut counts = vec![0; limit];
    symbols.iter().for_each(|symbol| counts[usize::from(*symbol)] += 1);
    let (model, stored) = Model::fit(&counts);
    let mut bytes = vec![STATIC];
    put_varint(&mut bytes, stored.len() as u64);
    bytes.extend(stored);
    bytes.extend(rans::encode(&model, symbols));
    bytes
}

/// Decodes `out.len()` symbols, each as its value; `values` has one for every symbol.
pub(crate) fn decode<T: Copy + Default>(
    bytes: &[u8],
    values: &[T],
    out: &mut [T],
) -> Result<(), CodecError> {
    let mut cursor = Cursor::new(bytes);
    match cursor.byte()? {
        PLAIN => decode_plain(&mut cursor, values, out),
        CONSTANT => {
            let symbol = cursor.length()?;
            let Some(value) = values.get(symbol) else { return Err(no_value(&cursor)) };
            out.fill(*value);
            Ok(())
        }
        ADAPTIVE => decode_adaptive(&mut cursor, values, out),
        STATIC => {
            let length = cursor.length()?;
            let start = cursor.at();
            let stored = cursor.take(length)?;
            let model = Model::read(stored, values.len()).map_err(|error| error.within(start))?;
            let start = cursor.at();
            rans::decode(&model, cursor.rest(), values, out).map_err(|error| error.within(start))
        }
        _ => Err(CodecError::new("a stream is stored in a way that this version does not know")),
    }
}

/// Returns the symbols of a plain stream of bytes.
pub(crate) fn plain_bytes(bytes: &[u8]) -> Option<&[u8]> {
    bytes.split_first().filter(|(form, _)| **form == PLAIN).map(|(_, rest)| rest)
}

fn decode_plain<T: Copy>(
    cursor: &mut Cursor<'_>,
    values: &[T],
    out: &mut [T],
) -> Result<(), CodecError> {
    let width = if values.len() <= 256 { 1 } else { 2 };
    if cursor.rest().len() / width != out.len() || !cursor.rest().len().is_multiple_of(width) {
        return Err(cursor.fail("a stream does not have as many symbols as its reader needs"));
    }
    for (symbol, out) in cursor.rest().chunks_exact(width).zip(out) {
        let symbol = symbol.iter().rev().fold(0, |symbol, byte| symbol << 8 | usize::from(*byte));
        *out = *values.get(symbol).ok_or_else(|| no_value(cursor))?;
    }
    Ok(())
}

fn decode_adaptive<T: Copy>(
    cursor: &mut Cursor<'_>,
    values: &[T],
    out: &mut [T],
) -> Result<(), CodecError> {
    if out.len() > ADAPTIVE_SYMBOLS_MAX {
        return Err(cursor.fail("an adaptive stream is too long"));
    }
    let mut tree = Tree::new(bits_of(values.len()));
    let mut decoder = Decoder::new(cursor.rest());
    for out in out {
        let symbol = decoder.take(&mut tree) as usize;
        *out = *values.get(symbol).ok_or_else(|| no_value(cursor))?;
    }
    Ok(())
}

fn no_value(cursor: &Cursor<'_>) -> CodecError {
    cursor.fail("a stream has a symbol that its reader has no value for")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(symbols: &[u16], limit: usize) -> Vec<u8> {
        let bytes = encode(symbols, limit);
        let values: Vec<u16> = (0..=u16::MAX).take(limit).collect();
        let mut out = vec![0; symbols.len()];
        decode(&bytes, &values, &mut out).unwrap();
        assert_eq!(out, symbols);
        bytes
    }

    proptest! {
        #[test]
        fn streams_are_restored(
            symbols in proptest::collection::vec(0_u16..4100, 0..600),
            limit in 1_usize..=4100,
        ) {
            let below: Vec<u16> = symbols.iter().map(|s| (usize::from(*s) % limit) as u16).collect();
            round_trip(&below, limit);
            let skewed: Vec<u16> = below.iter().map(|s| if s % 8 < 7 { 0 } else { *s }).collect();
            round_trip(&skewed, limit);
        }

        #[test]
        fn any_bytes_are_decoded_or_rejected(
            mut bytes: Vec<u8>, form in 0_u8..5, length in 0_usize..300, limit in 1_usize..600,
        ) {
            bytes.insert(0, form);
            let values: Vec<u16> = (0..limit as u16).collect();
            let mut out = vec![0; length];
            if decode(&bytes, &values, &mut out).is_ok() {
                prop_assert!(out.iter().all(|symbol| usize::from(*symbol) < limit));
            }
        }
    }

    #[test]
    fn the_smallest_form_is_chosen() {
        assert_eq!(round_trip(&[], 10), [PLAIN]);
        assert_eq!(round_trip(&[300; 5000], 512), [CONSTANT, 0xAC, 0x02]);
        let noise = |length: u32, limit| -> Vec<u16> {
            (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as u16 % limit).collect()
        };
        assert_eq!(round_trip(&noise(2000, 256), 256)[0], PLAIN);
        assert_eq!(round_trip(&noise(50, 4), 256)[0], ADAPTIVE);
        assert_eq!(round_trip(&noise(50_000, 4), 256)[0], STATIC);
        assert_eq!(round_trip(&noise(9000, 60_000), 1 << 16).len(), 18_001);
        assert_eq!(plain_bytes(&[PLAIN, 7]), Some([7].as_slice()));
        assert_eq!(plain_bytes(&[CONSTANT, 7]), None);
    }
}
