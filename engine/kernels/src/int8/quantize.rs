//! Quantizes rows of floats to bytes, each by its own range.

use crate::Level;
use crate::level::at_level;

/// Numbers that are processed side by side, so that loops are vectorised.
const WIDTH: usize = 32;

/// Rounds a float of up to 2^22 when it is added: 1.5 times 2^23. The integer, even in a tie, is in
/// the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// Largest magnitude of a code.
const CODE_MAX: f32 = 127.0;

/// Range of a row: a code means `center + step * code`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) step: f32,
    pub(super) center: f32,
}

impl Range {
    /// Floats in its stored form.
    pub(super) const NUMBERS: usize = 2;

    pub(super) fn read(numbers: &[f32]) -> Self {
        Self { step: numbers[0], center: numbers[1] }
    }

    fn write(self, numbers: &mut [f32]) {
        numbers.copy_from_slice(&[self.step, self.center]);
    }
}

/// Codes of a row, stored in floats: unsigned bytes, offset by 128, for VNNI, else 16-bit integers.
pub(super) struct QuantizedRow<'a>(pub(super) &'a mut [f32]);

impl QuantizedRow<'_> {
    /// Floats that a row takes.
    pub(super) fn stride(inputs: usize, level: Level) -> usize {
        match level {
            Level::Vnni => inputs.div_ceil(4),
            _ => inputs.div_ceil(4) * 2,
        }
    }

    /// Writes the codes and the range of a row. The padding does not matter, as its weights are
    /// zero.
    pub(super) fn fill(self, x: &[f32], range: &mut [f32], level: Level) {
        let mut min_max = MinMax::default();
        find_min_max(level, x, &mut min_max);
        let found = min_max.range();
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

/// Smallest and largest number of a row, and a guard: zero, or not-a-number if a number is infinite
/// or none.
#[derive(Default)]
struct MinMax {
    max: f32,
    min: f32,
    guard: f32,
}

impl MinMax {
    /// Range with its center between both, and a step that reaches the farther one.
    fn range(&self) -> Range {
        let center = (0.5 * self.max + 0.5 * self.min) + self.guard;
        let farther = (self.max - center).max(center - self.min);
        let step = (farther * (1.0 / CODE_MAX)).max(f32::MIN_POSITIVE);
        Range { step, center }
    }
}

at_level! {
    fn find_min_max(x: &[f32], min_max: &mut MinMax) {
        let mut max = [f32::NEG_INFINITY; WIDTH];
        let mut min = [f32::INFINITY; WIDTH];
        let mut guard = [0.0_f32; WIDTH];
        let (chunks, rest) = x.as_chunks::<WIDTH>();
        for chunk in chunks {
            for lane in 0..WIDTH {
                let value = chunk[lane];
                max[lane] = if value > max[lane] { value } else { max[lane] };
                min[lane] = if value < min[lane] { value } else { min[lane] };
                guard[lane] += value * 0.0;
            }
        }
        for (lane, value) in rest.iter().enumerate() {
            max[lane] = if *value > max[lane] { *value } else { max[lane] };
            min[lane] = if *value < min[lane] { *value } else { min[lane] };
            guard[lane] += *value * 0.0;
        }
        min_max.max = max.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        min_max.min = min.iter().copied().fold(f32::INFINITY, f32::min);
        min_max.guard = guard.iter().sum();
    }
}

/// Code of a number, in the lowest bits. Not-a-number has any code.
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
            // Not-a-number too must be a byte: sums of larger products would overflow.
            *word = i16::from(code(*value, center, inverse) as u8 as i8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(level: Level, x: &[f32]) -> (Range, Vec<i16>) {
        let mut memory = vec![0.0; QuantizedRow::stride(x.len(), level)];
        let mut range = [0.0; Range::NUMBERS];
        QuantizedRow(&mut memory).fill(x, &mut range, level);
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
    fn every_level_computes_the_same_codes() {
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
    fn a_row_with_not_a_number_has_no_center() {
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
