//! Canonical Huffman codes (Huffman 1952; Schwartz and Kallick 1964 for the canonical form), as in
//! Deep Compression. Codes ascend with length, then symbol, and are stored with the highest bit
//! first.

use super::adaptive::{Decoder, Encoder, Tree};
use super::cursor::{CodecError, Cursor, put_varint};
use super::model::SYMBOLS_MAX;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Limit of the bits of a code. The loss is negligible with at most [`SYMBOLS_MAX`] symbols.
const LENGTH_MAX: u32 = 15;
/// Bits of the length of a code.
const LENGTH_BITS: u32 = 4;

/// Encodes symbols below `limit`: the lengths of the codes, then the codes. `limit` is
/// [`SYMBOLS_MAX`] at most.
pub(crate) fn encode(symbols: &[u16], limit: usize) -> Vec<u8> {
    let mut counts = vec![0; limit];
    symbols.iter().for_each(|symbol| counts[usize::from(*symbol)] += 1);
    let lengths = lengths(&counts);
    let table = write_lengths(&lengths);
    let mut bytes = Vec::new();
    put_varint(&mut bytes, table.len() as u64);
    bytes.extend(table);
    let codes = codes(&lengths);
    let (mut pending, mut bits) = (0_u64, 0);
    for symbol in symbols {
        let symbol = usize::from(*symbol);
        pending = pending << lengths[symbol] | u64::from(codes[symbol]);
        bits += lengths[symbol];
        while bits >= 8 {
            bits -= 8;
            bytes.push((pending >> bits) as u8);
        }
    }
    if bits > 0 {
        bytes.push((pending << (8 - bits)) as u8);
    }
    bytes
}

/// Decodes `out.len()` symbols below `limit`.
pub(crate) fn decode(bytes: &[u8], limit: usize, out: &mut [u16]) -> Result<(), CodecError> {
    let mut cursor = Cursor::new(bytes);
    let length = cursor.length()?;
    let start = cursor.at();
    let table = Table::read(cursor.take(length)?, limit).map_err(|error| error.within(start))?;
    let (start, codes) = (cursor.at(), cursor.rest());
    let mut at = 0;
    for out in out {
        let entry = table.entries[table.index(window(codes, at))];
        *out = entry.symbol;
        at += usize::from(entry.length);
        if entry.length == 0 {
            return Err(CodecError { problem: "bits are no code", offset: start + at / 8 });
        }
    }
    if at.div_ceil(8) != codes.len() {
        let offset = start + (at / 8).min(codes.len());
        return Err(CodecError { problem: "the codes do not end where their bytes do", offset });
    }
    Ok(())
}

/// Returns the 32 bits from bit `at` on, at least 25 of them valid; 0 past the end.
#[inline]
fn window(bytes: &[u8], at: usize) -> u32 {
    let rest = bytes.get(at / 8..).unwrap_or_default();
    let chunk = match rest.first_chunk() {
        Some(chunk) => *chunk,
        None => {
            let mut chunk = [0; 4];
            chunk.iter_mut().zip(rest).for_each(|(byte, rest)| *byte = *rest);
            chunk
        }
    };
    u32::from_be_bytes(chunk) << (at % 8)
}

#[derive(Clone, Copy, Default)]
struct Entry {
    symbol: u16,
    /// Length of the code in bits; 0 where no code begins with these bits.
    length: u8,
}

/// A lookup table: the symbol for every sequence of as many bits as the longest code has.
struct Table {
    entries: Vec<Entry>,
    bits: u32,
}

impl Table {
    fn read(bytes: &[u8], limit: usize) -> Result<Self, CodecError> {
        let lengths = read_lengths(bytes, limit.min(SYMBOLS_MAX));
        let bits = lengths.iter().copied().max().unwrap_or(0);
        let room = |length: &u32| if *length == 0 { 0 } else { 1_usize << (bits - length) };
        let size = 1 << bits;
        if lengths.iter().map(room).sum::<usize>() > size {
            return Err(CodecError::new("the lengths of codes leave no room for all"));
        }
        let mut entries = vec![Entry::default(); size];
        for (symbol, (length, code)) in lengths.iter().zip(codes(&lengths)).enumerate() {
            if *length > 0 {
                let start = (code as usize) << (bits - length);
                let entry = Entry { symbol: symbol as u16, length: *length as u8 };
                entries[start..start + room(length)].fill(entry);
            }
        }
        Ok(Self { entries, bits })
    }

    /// Returns the index of the entry for these bits.
    #[inline]
    fn index(&self, window: u32) -> usize {
        (u64::from(window) >> (32 - self.bits)) as usize
    }
}

/// Returns the code of each symbol, for lengths of a valid prefix code.
fn codes(lengths: &[u32]) -> Vec<u32> {
    let mut next = [0; LENGTH_MAX as usize + 2];
    for length in lengths.iter().filter(|length| **length > 0) {
        next[*length as usize + 1] += 1_u32;
    }
    // Counts of the previous length become the first code of the length.
    for length in 1..next.len() {
        next[length] = (next[length] + next[length - 1]) << 1;
    }
    let take = |length: &u32| {
        let code = next[*length as usize];
        next[*length as usize] += 1;
        code
    };
    lengths.iter().map(take).collect()
}

/// Returns the length of each symbol's code, 0 for symbols that do not occur.
fn lengths(counts: &[u32]) -> Vec<u32> {
    let mut counts = counts.to_vec();
    loop {
        let lengths = lengths_of_any_size(&counts);
        if lengths.iter().all(|length| *length <= LENGTH_MAX) {
            return lengths;
        }
        // Flatter counts make a flatter tree, in which rare symbols take fewer bits than is
        // optimal.
        counts.iter_mut().for_each(|count| *count = count.div_ceil(2));
    }
}

fn lengths_of_any_size(counts: &[u32]) -> Vec<u32> {
    let mut lengths = vec![0; counts.len()];
    // A heap entry is a node of the tree: the count of its symbols, and its index among the
    // parents.
    let mut heap = BinaryHeap::new();
    let mut parents = Vec::new();
    let mut leaves = Vec::new();
    for (symbol, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        heap.push(Reverse((u64::from(*count), parents.len())));
        leaves.push(symbol);
        parents.push(0);
    }
    if let [only] = leaves[..] {
        lengths[only] = 1;
        return lengths;
    }
    while let (Some(Reverse(a)), Some(Reverse(b))) = (heap.pop(), heap.pop()) {
        let parent = parents.len();
        parents.push(0);
        (parents[a.1], parents[b.1]) = (parent, parent);
        heap.push(Reverse((a.0 + b.0, parent)));
        if heap.len() == 1 {
            break;
        }
    }
    // A parent comes after its children, and the root is last.
    let mut depths = vec![0; parents.len()];
    for node in (0..parents.len().saturating_sub(1)).rev() {
        depths[node] = depths[parents[node]] + 1;
    }
    leaves.iter().zip(depths).for_each(|(symbol, depth)| lengths[*symbol] = depth);
    lengths
}

/// Encodes the lengths, each given the one before.
fn write_lengths(lengths: &[u32]) -> Vec<u8> {
    let (mut trees, mut before, mut encoder) = (trees(), 0, Encoder::new());
    for length in lengths {
        encoder.put(&mut trees[before], *length);
        before = *length as usize;
    }
    encoder.finish()
}

fn read_lengths(bytes: &[u8], count: usize) -> Vec<u32> {
    let (mut trees, mut before, mut decoder) = (trees(), 0, Decoder::new(bytes));
    let take = |_| {
        let length = decoder.take(&mut trees[before]);
        before = length as usize;
        length
    };
    (0..count).map(take).collect()
}

fn trees() -> Vec<Tree> {
    vec![Tree::new(LENGTH_BITS); 1 << LENGTH_BITS]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(symbols: &[u16], limit: usize) -> usize {
        let bytes = encode(symbols, limit);
        let mut out = vec![0; symbols.len()];
        decode(&bytes, limit, &mut out).unwrap();
        assert_eq!(out, symbols);
        bytes.len()
    }

    proptest! {
        #[test]
        fn streams_are_restored(symbols in proptest::collection::vec(0_u16..300, 0..400), skew in 1_u16..300) {
            round_trip(&symbols, 300);
            let skewed: Vec<u16> = symbols.iter().map(|symbol| symbol % skew).collect();
            round_trip(&skewed, usize::from(skew));
        }

        #[test]
        fn any_bytes_are_decoded_or_rejected(
            bytes: Vec<u8>, length in 0_usize..200, limit in 1_usize..5000,
        ) {
            let mut out = vec![0; length];
            if decode(&bytes, limit, &mut out).is_ok() {
                prop_assert!(out.iter().all(|symbol| usize::from(*symbol) < limit));
            }
        }
    }

    #[test]
    fn codes_are_canonical() {
        let lengths = lengths(&[5, 1, 0, 2, 1]);
        assert_eq!(lengths, [1, 3, 0, 2, 3]);
        let codes = codes(&lengths);
        assert_eq!([codes[0], codes[3], codes[1], codes[4]], [0, 0b10, 0b110, 0b111]);
    }

    #[test]
    fn lengths_are_limited() {
        // Fibonacci's numbers make the deepest tree.
        let mut counts = vec![1_u32, 1];
        (2..40).for_each(|i| counts.push(counts[i - 1] + counts[i - 2]));
        let lengths = lengths(&counts);
        assert_eq!(lengths.iter().max(), Some(&LENGTH_MAX));
        let room: f64 = lengths.iter().map(|length| 0.5_f64.powi(*length as i32)).sum();
        assert!(room <= 1.0);
    }

    #[test]
    fn a_stream_is_as_long_as_its_codes() {
        assert_eq!(round_trip(&[], 4), 1);
        let constant = round_trip(&[3; 800], 4);
        assert!((101..105).contains(&constant));
        let halves: Vec<u16> = (0..8000).map(|i| if i % 2 == 0 { 0 } else { 1 + i % 4 }).collect();
        // Half of them 1 bit, the others 2.
        assert!((1500..1506).contains(&round_trip(&halves, 5)));
    }
}
