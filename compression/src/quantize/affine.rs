//! Real numbers as codes of 8 bits.

use crate::calibrate::Range;

/// A mapping of codes to numbers, `scale * (code - zero)`: ONNX's `QuantizeLinear` to unsigned
/// bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    scale: f32,
    zero: u8,
}

impl Affine {
    /// Returns the codes that span `range` best. Zero has an exact code.
    pub fn spanning(range: Range) -> Self {
        let (low, high) = (f64::from(range.low()), f64::from(range.high()));
        let scale = ((high - low) / 255.0) as f32;
        // The range is zero, or too small for a scale.
        if !scale.is_normal() {
            return Self { scale: 1.0, zero: 0 };
        }
        let zero = (-low / f64::from(scale)).round_ties_even().clamp(0.0, 255.0) as u8;
        Self { scale, zero }
    }

    /// Returns the difference between the values of neighbouring codes.
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// Returns the code of zero.
    pub fn zero(self) -> u8 {
        self.zero
    }

    /// Returns the code of the nearest value.
    pub fn code(self, value: f32) -> u8 {
        let steps = (value / self.scale).round_ties_even() + f32::from(self.zero);
        steps.clamp(0.0, 255.0) as u8
    }

    /// Returns the value of a code.
    pub fn value(self, code: u8) -> f32 {
        self.scale * (f32::from(code) - f32::from(self.zero))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_is_the_lowest_code_of_a_positive_range() {
        let affine = Affine::spanning(Range::new(0.0, 6.0));
        assert_eq!((affine.zero(), affine.code(0.0), affine.code(6.0)), (0, 0, 255));
        assert_eq!((affine.code(-3.0), affine.code(9.0)), (0, 255));
        let nothing = Affine::spanning(Range::new(0.0, 0.0));
        assert_eq!((nothing.scale(), nothing.code(0.0)), (1.0, 0));
    }

    proptest! {
        #[test]
        fn numbers_in_range_are_rounded_by_half_a_step(
            low in -100.0_f32..0.0, high in 0.001_f32..100.0, position in 0.0_f32..=1.0,
        ) {
            let affine = Affine::spanning(Range::new(low, high));
            prop_assert_eq!(affine.value(affine.code(0.0)), 0.0);
            // The code of zero is rounded too, so either end may lie half a step outside.
            let value = low + (high - low) * position;
            let back = affine.value(affine.code(value));
            let inside = affine.value(0) <= value && value <= affine.value(255);
            let steps = if inside { 0.501 } else { 1.001 };
            prop_assert!((back - value).abs() <= affine.scale() * steps, "{back} for {value}");
        }
    }
}
