//! Rows of floats as bytes, each by its own range.

use crate::Level;
use crate::level::at_level;

/// Numbers that are looked at side by side, so that a loop over them is one of vectors.
const SIDE: usize = 32;

/// Added to a float of up to 2^22, it rounds that to an integer, to the even one of two that are
/// as near, and puts it into the lowest bits: 1.5 times 2^23.
const ROUND: f32 = 12_582_912.0;

/// The codes lie between minus this and this.
const CODE_MAX: f32 = 127.0;

/// What the codes of a row stand for: `center + step * code`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) step: f32,
    pub(super) center: f32,
}

impl Range {
    /// Floats that it is stored as.
    pub(super) const NUMBERS: usize = 2;

    pub(super) fn read(numbers: &[f32]) -> Self {
        Self { step: numbers[0], center: numbers[1] }
    }

    fn write(self, numbers: &mut [f32]) {
        numbers.copy_from_slice(&[self.step, self.center]);
    }
}

/// The codes of a row, in memory of floats: as unsigned bytes, 128 above the code, for the level
/// that multiplies bytes, else as 16-bit integers.
pub(super) struct RowBytes<'a>(pub(super) &'a mut [f32]);

impl RowBytes<'_> {
    /// Floats of memory that a row takes.
    pub(super) fn stride(inputs: usize, level: Level) -> usize {
        match level {
            Level::Vnni => inputs.div_ceil(4),
            _ => inputs.div_ceil(4) * 2,
        }
    }

    /// Fills in the codes and the range of a row. What is left over is of no account: the weights
    /// there are zero.
    pub(super) fn fill(self, x: &[f32], range: &mut [f32], level: Level) {
        let mut ends = Ends::default();
        find_ends(level, x, &mut ends);
        let found = ends.range();
        found.write(range);
        let start = self.0.as_mut_ptr();
        let count = self.0.len();
        if level == Level::Vnni {
            // SAFETY: floats are four bytes each, of which all values are right, and borrowed.
            let bytes = unsafe { std::slice::from_raw_parts_mut(start.cast::<u8>(), count * 4) };
            to_bytes(level, x, found, bytes);
        } else {
            // SAFETY: as above, two integers each, which may lie where floats may.
            let words = unsafe { std::slice::from_raw_parts_mut(start.cast::<i16>(), count * 2) };
            to_words(level, x, found, words);
        }
    }
}

/// The ends of a row, and zero, or what is no number if one is infinite or none.
#[derive(Default)]
struct Ends {
    high: f32,
    low: f32,
    guard: f32,
}

impl Ends {
    /// The center between both ends, and the step to the farther of them.
    fn range(&self) -> Range {
        let center = (0.5 * self.high + 0.5 * self.low) + self.guard;
        let farther = (self.high - center).max(center - self.low);
        let step = (farther * (1.0 / CODE_MAX)).max(f32::MIN_POSITIVE);
        Range { step, center }
    }
}

at_level! {
    fn find_ends(x: &[f32], ends: &mut Ends) {
        let mut high = [f32::NEG_INFINITY; SIDE];
        let mut low = [f32::INFINITY; SIDE];
        let mut guard = [0.0_f32; SIDE];
        let (chunks, rest) = x.as_chunks::<SIDE>();
        for chunk in chunks {
            for side in 0..SIDE {
                let value = chunk[side];
                high[side] = if value > high[side] { value } else { high[side] };
                low[side] = if value < low[side] { value } else { low[side] };
                guard[side] += value * 0.0;
            }
        }
        for (side, value) in rest.iter().enumerate() {
            high[side] = if *value > high[side] { *value } else { high[side] };
            low[side] = if *value < low[side] { *value } else { low[side] };
            guard[side] += *value * 0.0;
        }
        ends.high = high.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        ends.low = low.iter().copied().fold(f32::INFINITY, f32::min);
        ends.guard = guard.iter().sum();
    }
}

/// The code of a number, in the lowest bits. What is no number has some code.
#[inline(always)]
fn code(value: f32, center: f32, inverse: f32) -> u32 {
    ((value - center) * inverse + ROUND).to_bits()
}

at_level! {
    fn to_bytes(x: &[f32], range: Range, bytes: &mut [u8]) {
        let (center, inverse) = (range.center, 1.0 / range.step);
        for (byte, value) in bytes.iter_mut().zip(x) {
            *byte = code(*value, center, inverse) as u8 ^ 0x80;
        }
    }
}

at_level! {
    fn to_words(x: &[f32], range: Range, words: &mut [i16]) {
        let (center, inverse) = (range.center, 1.0 / range.step);
        for (word, value) in words.iter_mut().zip(x) {
            // Of what is no number too, only a byte: sums of products of larger ones overflow.
            *word = i16::from(code(*value, center, inverse) as u8 as i8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(level: Level, x: &[f32]) -> (Range, Vec<i16>) {
        let mut memory = vec![0.0; RowBytes::stride(x.len(), level)];
        let mut range = [0.0; Range::NUMBERS];
        RowBytes(&mut memory).fill(x, &mut range, level);
        let bytes = memory.iter().flat_map(|float| float.to_le_bytes());
        let codes: Vec<i16> = match level {
            Level::Vnni => bytes.map(|byte| i16::from(byte) - 128).collect(),
            _ => {
                let bytes: Vec<u8> = bytes.collect();
                let (words, _) = bytes.as_chunks();
                words.iter().map(|word| i16::from_le_bytes(*word)).collect()
            }
        };
        (Range::read(&range), codes[..x.len()].to_vec())
    }

    #[test]
    fn every_level_finds_the_same_codes() {
        let rows: [&[f32]; 6] = [
            &[0.0; 7],
            &[5.0; 70],
            &[-1.0, 3.0, 1.0, 0.5],
            &[1e6, 1e6 + 0.0625, 1e6],
            &[1e-38, -1e-38, 2e-39],
            &[3e38, -3e38, 0.0],
        ];
        for x in rows {
            let expected = codes(Level::Portable, x);
            for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
                assert_eq!(codes(level, x), expected, "{level} {x:?}");
            }
            let (range, codes) = expected;
            for (value, code) in x.iter().zip(codes) {
                let back = range.center + range.step * f32::from(code);
                let limit = range.step * 0.51 + range.center.abs() * 1e-7;
                assert!((back - value).abs() <= limit, "{back} for {value}");
                assert!((-127..=127).contains(&code), "{code}");
            }
        }
    }

    #[test]
    fn what_is_no_number_makes_the_center_none() {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 31, 40] {
                let mut x = [1.0_f32; 41];
                x[place] = odd;
                let (range, _) = codes(Level::best(), &x);
                assert!(range.center.is_nan(), "{odd} at {place}");
            }
        }
    }
}
