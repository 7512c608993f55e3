//! How the few values that are sent are written: the gaps between their places, and the values.
//!
//! A message is the format of the values (one byte), how many gaps there are (four bytes, little
//! endian as all), the gaps (16 bits each) and the values. A gap is the number of places without a
//! value before the next one; the largest gap stands for as many places and has no value.

use half::f16;

/// How the values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// As they are: four bytes each.
    #[default]
    Single,
    /// As half floats of the largest of the message, which precedes them: two bytes each. What
    /// rounding takes away stays with the sender.
    Half,
}

impl Precision {
    /// Bytes of a value and its gap.
    pub fn bytes(self) -> usize {
        match self {
            Self::Single => 6,
            Self::Half => 4,
        }
    }
}

/// Values and their places, which rise.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entries {
    /// Which places.
    pub places: Vec<u32>,
    /// The value at each of them.
    pub values: Vec<f32>,
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CodingError {
    /// It has another length than it says.
    #[error("a message has {actual} bytes, not {expected}")]
    Length {
        /// What it should have.
        expected: u64,
        /// What it has.
        actual: usize,
    },
    /// Its values are in no known format.
    #[error("a message has values of the unknown format {0}")]
    Precision(u8),
    /// A value lies behind the end.
    #[error("a message has a value at place {place} of {len}")]
    Place {
        /// Where.
        place: u64,
        /// How many places there are.
        len: usize,
    },
    /// A value is no number.
    #[error("a message has the value {0}")]
    Value(f32),
}

/// A gap without a value.
const SKIP: u16 = u16::MAX;

/// Writes values at places that rise.
pub fn encode(entries: &Entries, precision: Precision) -> Vec<u8> {
    let gaps = gaps(&entries.places);
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

fn gaps(places: &[u32]) -> Vec<u16> {
    let mut gaps = Vec::with_capacity(places.len());
    let mut next = 0;
    for place in places {
        let mut gap = place.saturating_sub(next);
        while gap >= u32::from(SKIP) {
            gaps.push(SKIP);
            gap -= u32::from(SKIP);
        }
        gaps.push(gap as u16);
        next = place.saturating_add(1);
    }
    gaps
}

/// Reads what [`encode`] wrote, for `len` places.
///
/// # Errors
/// When it is no such message.
pub fn decode(bytes: &[u8], len: usize) -> Result<Entries, CodingError> {
    let length = |expected| CodingError::Length { expected, actual: bytes.len() };
    let (header, rest) = bytes.split_first_chunk::<5>().ok_or(length(5))?;
    let [precision, count @ ..] = *header;
    let gaps_len = 2 * u64::from(u32::from_le_bytes(count));
    let (gaps, rest) = usize::try_from(gaps_len)
        .ok()
        .and_then(|gaps_len| rest.split_at_checked(gaps_len))
        .ok_or(length(5 + gaps_len))?;
    let places = places(gaps, len)?;
    let (value_len, unit_len) = match precision {
        0 => (4, 0),
        1 => (2, 4),
        other => return Err(CodingError::Precision(other)),
    };
    let expected = unit_len + value_len * places.len();
    if rest.len() != expected {
        return Err(length(5 + gaps_len + expected as u64));
    }
    let values = if precision == 0 { singles(rest) } else { halves(rest) };
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(CodingError::Value(*value)),
        None => Ok(Entries { places, values }),
    }
}

fn places(gaps: &[u8], len: usize) -> Result<Vec<u32>, CodingError> {
    let mut places = Vec::new();
    let mut next = 0_u64;
    for gap in gaps.as_chunks::<2>().0 {
        let gap = u16::from_le_bytes(*gap);
        let place = next + u64::from(gap);
        if gap == SKIP {
            next = place;
            continue;
        }
        match u32::try_from(place) {
            Ok(small) if place < len as u64 => places.push(small),
            _ => return Err(CodingError::Place { place, len }),
        }
        next = place + 1;
    }
    Ok(places)
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

    fn entries() -> impl Strategy<Value = Entries> {
        let places = 0_u32..400_000;
        proptest::collection::btree_map(places, -1e6_f32..1e6, 0..200)
            .prop_map(|map: BTreeMap<u32, f32>| map.into_iter().unzip())
            .prop_map(|(places, values)| Entries { places, values })
    }

    proptest! {
        #[test]
        fn single_values_come_back_as_they_were(entries in entries()) {
            let bytes = encode(&entries, Precision::Single);
            prop_assert_eq!(decode(&bytes, 400_000), Ok(entries));
        }

        #[test]
        fn half_values_come_back_within_their_precision(entries in entries()) {
            let back = decode(&encode(&entries, Precision::Half), 400_000).unwrap();
            prop_assert_eq!(back.places, entries.places);
            let unit = entries.values.iter().fold(0.0, |unit: f32, value| unit.max(value.abs()));
            for (back, value) in back.values.iter().zip(&entries.values) {
                let error = (back - value).abs();
                prop_assert!(error <= value.abs() / 1024.0 + unit * 1e-7, "{} {}", back, value);
            }
        }

        #[test]
        fn spoiled_messages_are_errors_or_other_values_that_fit(
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
                prop_assert_eq!(read.places.len(), read.values.len());
                prop_assert!(read.places.iter().all(|place| *place < 1000));
                prop_assert!(read.places.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(read.values.iter().all(|value| value.is_finite()));
            }
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(decode(&bytes, 5000));
        }
    }

    #[test]
    fn wide_gaps_need_no_values_between() {
        let entries =
            Entries { places: vec![65_534, 65_535, 200_000], values: vec![1.0, 2.0, 3.0] };
        let bytes = encode(&entries, Precision::Single);
        // Gaps of 65534, 0, then 134464 = 2·65535 + 3394.
        assert_eq!(bytes.len(), 5 + 5 * 2 + 3 * 4);
        assert_eq!(decode(&bytes, 200_001), Ok(entries));
        assert_eq!(
            decode(&bytes, 200_000),
            Err(CodingError::Place { place: 200_000, len: 200_000 })
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let bytes = encode(&Entries { places: vec![3], values: vec![1.0] }, Precision::Single);
        let mut unknown = bytes.clone();
        unknown[0] = 7;
        assert_eq!(decode(&unknown, 9), Err(CodingError::Precision(7)));
        let short = CodingError::Length { expected: 11, actual: 10 };
        assert_eq!(decode(&bytes[..10], 9), Err(short));
        let huge = [0, 255, 255, 255, 255, 1, 2];
        let long = CodingError::Length { expected: 5 + 2 * 0xffff_ffff, actual: 7 };
        assert_eq!(decode(&huge, 9), Err(long));
        let infinite =
            encode(&Entries { places: vec![0], values: vec![f32::INFINITY] }, Precision::Single);
        assert_eq!(decode(&infinite, 9), Err(CodingError::Value(f32::INFINITY)));
    }
}
