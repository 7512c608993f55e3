//! Encoding of sparse values: the gaps between their indices, and the values.
//!
//! A message has the format of the values (one byte), the number of gaps (four bytes), the gaps (16
//! bits each) and the values. All numbers are little endian. A gap is the number of indices without
//! a value before the next one. The largest gap stands for as many indices and has no value.

use half::f16;

/// Encoding of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Four bytes each, exact.
    #[default]
    Single,
    /// Two bytes each: half floats relative to the largest value, which precedes them. The sender
    /// keeps the rounding errors.
    Half,
}

impl Precision {
    /// Size of a value and its gap in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Single => 6,
            Self::Half => 4,
        }
    }
}

/// Values with ascending indices.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseValues {
    /// Index of each value.
    pub indices: Vec<u32>,
    /// The values.
    pub values: Vec<f32>,
}

/// An error in a message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CodingError {
    /// The length of a message does not match its header.
    #[error("a message has {actual} bytes, not {expected}")]
    Length {
        /// Expected length in bytes.
        expected: u64,
        /// Actual length in bytes.
        actual: usize,
    },
    /// The format of the values is unknown.
    #[error("a message has values of the unknown format {0}")]
    Precision(u8),
    /// An index is out of range.
    #[error("a message has a value at index {index} of {len}")]
    Index {
        /// The index.
        index: u64,
        /// Number of parameters.
        len: usize,
    },
    /// A value is not finite.
    #[error("a message has the value {0}")]
    Value(f32),
}

/// A gap without a value.
const SKIP: u16 = u16::MAX;

/// Encodes values with ascending indices.
pub fn encode(entries: &SparseValues, precision: Precision) -> Vec<u8> {
    let gaps = gaps(&entries.indices);
    let mut bytes = Vec::with_capacity(9 + precision.bytes() * gaps.len());
    bytes.push(precision as u8);
    bytes.extend((gaps.len() as u32).to_le_bytes());
    bytes.extend(gaps.iter().flat_map(|gap| gap.to_le_bytes()));
    match precision {
        Precision::Single => {
            bytes.extend(entries.values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Precision::Half => {
            let unit = entries.values.iter().fold(0.0, |unit: f32, value| unit.max(value.abs()));
            let halves = entries.values.iter().map(|value| f16::from_f32(value / unit));
            bytes.extend(unit.to_le_bytes());
            bytes.extend(halves.flat_map(f16::to_le_bytes));
        }
    }
    bytes
}

fn gaps(indices: &[u32]) -> Vec<u16> {
    let mut gaps = Vec::with_capacity(indices.len());
    let mut next = 0;
    for index in indices {
        let mut gap = index.saturating_sub(next);
        while gap >= u32::from(SKIP) {
            gaps.push(SKIP);
            gap -= u32::from(SKIP);
        }
        gaps.push(gap as u16);
        next = index.saturating_add(1);
    }
    gaps
}

/// Decodes a message of [`encode`] for `len` parameters.
///
/// # Errors
/// Fails when the message is invalid.
pub fn decode(bytes: &[u8], len: usize) -> Result<SparseValues, CodingError> {
    let length = |expected| CodingError::Length { expected, actual: bytes.len() };
    let (header, rest) = bytes.split_first_chunk::<5>().ok_or(length(5))?;
    let [precision, count @ ..] = *header;
    let gaps_len = 2 * u64::from(u32::from_le_bytes(count));
    let (gaps, rest) = usize::try_from(gaps_len)
        .ok()
        .and_then(|gaps_len| rest.split_at_checked(gaps_len))
        .ok_or(length(5 + gaps_len))?;
    let indices = indices(gaps, len)?;
    let (value_len, unit_len) = match precision {
        0 => (4, 0),
        1 => (2, 4),
        other => return Err(CodingError::Precision(other)),
    };
    let expected = unit_len + value_len * indices.len();
    if rest.len() != expected {
        return Err(length(5 + gaps_len + expected as u64));
    }
    let values = if precision == 0 { singles(rest) } else { halves(rest) };
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(CodingError::Value(*value)),
        None => Ok(SparseValues { indices, values }),
    }
}

fn indices(gaps: &[u8], len: usize) -> Result<Vec<u32>, CodingError> {
    let mut indices = Vec::new();
    let mut next = 0_u64;
    for gap in gaps.as_chunks::<2>().0 {
        let gap = u16::from_le_bytes(*gap);
        let index = next + u64::from(gap);
        if gap == SKIP {
            next = index;
            continue;
        }
        match u32::try_from(index) {
            Ok(small) if index < len as u64 => indices.push(small),
            _ => return Err(CodingError::Index { index, len }),
        }
        next = index + 1;
    }
    Ok(indices)
}

fn singles(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn halves(bytes: &[u8]) -> Vec<f32> {
    let Some((unit, halves)) = bytes.split_first_chunk() else { return Vec::new() };
    let unit = f32::from_le_bytes(*unit);
    halves.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32() * unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entries() -> impl Strategy<Value = SparseValues> {
        let indices = 0_u32..400_000;
        proptest::collection::btree_map(indices, -1e6_f32..1e6, 0..200)
            .prop_map(|map: BTreeMap<u32, f32>| map.into_iter().unzip())
            .prop_map(|(indices, values)| SparseValues { indices, values })
    }

    proptest! {
        #[test]
        fn single_values_survive_a_round_trip(entries in entries()) {
            let bytes = encode(&entries, Precision::Single);
            prop_assert_eq!(decode(&bytes, 400_000), Ok(entries));
        }

        #[test]
        fn half_values_survive_a_round_trip_within_their_precision(entries in entries()) {
            let back = decode(&encode(&entries, Precision::Half), 400_000).unwrap();
            prop_assert_eq!(back.indices, entries.indices);
            let unit = entries.values.iter().fold(0.0, |unit: f32, value| unit.max(value.abs()));
            for (back, value) in back.values.iter().zip(&entries.values) {
                let error = (back - value).abs();
                prop_assert!(error <= value.abs() / 1024.0 + unit * 1e-7, "{} {}", back, value);
            }
        }

        #[test]
        fn corrupt_messages_are_errors_or_valid_values(
            entries in entries(),
            spoil in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            keep in any::<prop::sample::Index>(),
            cut in any::<bool>(),
            half in any::<bool>(),
        ) {
            let precision = if half { Precision::Half } else { Precision::Single };
            let mut bytes = encode(&entries, precision);
            for (at, byte) in spoil {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cut {
                bytes.truncate(keep.index(bytes.len()));
            }
            if let Ok(read) = decode(&bytes, 1000) {
                prop_assert_eq!(read.indices.len(), read.values.len());
                prop_assert!(read.indices.iter().all(|index| *index < 1000));
                prop_assert!(read.indices.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(read.values.iter().all(|value| value.is_finite()));
            }
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(decode(&bytes, 5000));
        }
    }

    #[test]
    fn wide_gaps_need_no_values() {
        let entries =
            SparseValues { indices: vec![65_534, 65_535, 200_000], values: vec![1.0, 2.0, 3.0] };
        let bytes = encode(&entries, Precision::Single);
        // Gaps of 65534, 0, then 134464 = 2·65535 + 3394.
        assert_eq!(bytes.len(), 5 + 5 * 2 + 3 * 4);
        assert_eq!(decode(&bytes, 200_001), Ok(entries));
        assert_eq!(
            decode(&bytes, 200_000),
            Err(CodingError::Index { index: 200_000, len: 200_000 })
        );
    }

    #[test]
    fn errors_name_the_problem() {
        let bytes =
            encode(&SparseValues { indices: vec![3], values: vec![1.0] }, Precision::Single);
        let mut unknown = bytes.clone();
        unknown[0] = 7;
        assert_eq!(decode(&unknown, 9), Err(CodingError::Precision(7)));
        let short = CodingError::Length { expected: 11, actual: 10 };
        assert_eq!(decode(&bytes[..10], 9), Err(short));
        let huge = [0, 255, 255, 255, 255, 1, 2];
        let long = CodingError::Length { expected: 5 + 2 * 0xffff_ffff, actual: 7 };
        assert_eq!(decode(&huge, 9), Err(long));
        let infinite = encode(
            &SparseValues { indices: vec![0], values: vec![f32::INFINITY] },
            Precision::Single,
        );
        assert_eq!(decode(&infinite, 9), Err(CodingError::Value(f32::INFINITY)));
    }
}
