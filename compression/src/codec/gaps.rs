//! Positions as gaps: the number of zeros before each value, in symbols of a byte.

use super::cursor::CodecError;
use super::stream;
use super::words::zeros;

/// Symbol of as many zeros with no value after them.
const FILLER: u16 = 255;
/// Number of symbols.
const SYMBOLS: usize = 256;

/// Returns the gaps before `positions`, which ascend, as symbols.
pub(crate) fn of(positions: &[u32]) -> Vec<u16> {
    let mut gaps = Vec::with_capacity(positions.len());
    let mut next = 0;
    for position in positions {
        let mut gap = u64::from(*position) - next;
        while gap >= u64::from(FILLER) {
            gaps.push(FILLER);
            gap -= u64::from(FILLER);
        }
        gaps.push(gap as u16);
        next = u64::from(*position) + 1;
    }
    gaps
}

/// Returns the largest number of symbols of `kept` positions below `count`.
pub(crate) fn count_max(kept: u64, count: u64) -> u64 {
    kept.saturating_add(count / u64::from(FILLER))
}

pub(crate) fn encode(gaps: &[u16]) -> Vec<u8> {
    stream::encode(gaps, SYMBOLS)
}

/// Reads `gaps` symbols that lead to `kept` positions below `count`; `count` is 2^32 at most.
pub(crate) fn decode(
    bytes: &[u8],
    gaps: usize,
    kept: usize,
    count: usize,
) -> Result<Vec<u32>, CodecError> {
    let values: [u8; SYMBOLS] = std::array::from_fn(|symbol| symbol as u8);
    let mut symbols = zeros(gaps)?;
    stream::decode(bytes, &values, &mut symbols)?;
    let wrong = CodecError::new("the gaps do not lead to as many positions as there are values");
    // A filler after the last value writes to the additional element.
    let mut positions = zeros(kept + 1)?;
    let (mut next, mut found) = (0_u64, 0);
    for symbol in symbols {
        // A filler writes too, and is overwritten: a branch could not be predicted.
        *positions.get_mut(found).ok_or_else(|| wrong.clone())? = (next + u64::from(symbol)) as u32;
        let value = u64::from(u16::from(symbol) != FILLER);
        next += u64::from(symbol) + value;
        found += value as usize;
    }
    if found != kept || next > count as u64 {
        return Err(wrong);
    }
    positions.truncate(kept);
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(positions: &[u32], count: usize) {
        let gaps = of(positions);
        assert!(gaps.len() as u64 <= count_max(positions.len() as u64, count as u64));
        let bytes = encode(&gaps);
        let decode = |kept, count| decode(&bytes, gaps.len(), kept, count);
        assert_eq!(decode(positions.len(), count).unwrap(), positions);
        assert!(decode(positions.len() + 1, count).is_err());
        if let Some(last) = positions.last() {
            assert!(decode(positions.len(), *last as usize).is_err());
            assert!(decode(positions.len() - 1, count).is_err());
        }
    }

    proptest! {
        #[test]
        fn positions_are_restored(gaps in proptest::collection::vec(prop_oneof![0_u32..4, 200_u32..1200], 0..200)) {
            let mut next = 0;
            let positions: Vec<u32> = gaps.iter().map(|gap| { next += gap + 1; next - 1 }).collect();
            check(&positions, next as usize);
        }
    }

    #[test]
    fn extreme_values_are_restored() {
        check(&[], 1000);
        check(&[254, 255 + 255, 1021], 1022);
        check(&[0, 1, 1 << 18], (1 << 18) + 1);
    }
}
