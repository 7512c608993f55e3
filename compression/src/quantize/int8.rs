//! Weights as bytes, symmetric around zero.
//!
//! Processors without VNNI add two products of an unsigned and a signed byte in 16 bits, with
//! saturation (`vpmaddubsw`). Two times 255 by 127 does not fit, so plain codes of 8 bits give
//! wrong sums there. [`Form`] says how each use avoids that.

use super::operand::Operand;
use crate::CompressError;
use crate::fuse::column_sums;

/// Settings of weights as signed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int8Weights {
    /// The weights that share a scale.
    pub granularity: Granularity,
    /// Bits of a code, 2 to 8. Codes of fewer bits take a byte too, and pack better. No setting
    /// lets a processor's sums saturate.
    pub bits: u8,
}

/// The weights that share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// All weights of a tensor.
    Tensor,
    /// All weights of one output.
    Channel,
}

/// Use of a weight's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// Signed codes, which are widened before any arithmetic.
    Widened,
    /// Signed codes, for kernels that multiply signed weights with unsigned bytes. These are the
    /// fastest, and the only ones for some operators.
    ///
    /// Any two codes of a channel with the same sign add up to 128 at most, and 255 times that fits
    /// 16 bits. It is any two because kernels differ in which they add. That costs a bit at most,
    /// and none where one weight is much larger than the others.
    Paired,
    /// Unsigned codes, for kernels that add in 32 bits everywhere. The code of zero is 128.
    Unsigned,
}

/// Least magnitude of a channel that gets a scale: scales and their products must be normal
/// numbers.
pub(super) const SMALLEST: f32 = 1e-30;

impl Form {
    /// Returns a description for a manifest.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Widened => "signed",
            Self::Paired => "signed, pairs fit 16 bits",
            Self::Unsigned => "unsigned, 128 is zero",
        }
    }
}

impl Default for Int8Weights {
    /// Settings of 8 bits and a scale for each channel.
    fn default() -> Self {
        Self { granularity: Granularity::Channel, bits: 8 }
    }
}

impl Int8Weights {
    /// # Errors
    /// `BadSetting` when the number of bits is out of range.
    pub(super) fn check(self) -> Result<Self, CompressError> {
        if (2..=8).contains(&self.bits) {
            return Ok(self);
        }
        let (setting, wanted) = ("the number of bits of int8 weights", "2 to 8");
        Err(CompressError::BadSetting { setting, value: self.bits.to_string(), wanted })
    }

    /// Returns the largest code.
    fn code_max(self) -> f32 {
        f32::from((1_u16 << (self.bits - 1)) - 1)
    }
}

/// Weights as codes. The value of a code is its product with the scale of its channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Int8 {
    pub(super) codes: Vec<i8>,
    /// A scale for all, or one for each channel.
    pub(super) scales: Vec<f32>,
    pub(super) mean_squared_error: f64,
}

impl Int8 {
    /// Quantizes weights, with a scale for each index of dimension `axis`, or one for all. A scale
    /// is at least the one in `floors`, where there is one.
    pub(super) fn of(
        operand: &Operand,
        axis: Option<usize>,
        settings: Int8Weights,
        form: Form,
        floors: &[f32],
    ) -> Self {
        let (channels, inner) = channels(operand, axis);
        let channel = |position: usize| position / inner % channels;
        let mut extremes = vec![Extremes::default(); channels];
        for (position, value) in operand.values.iter().enumerate() {
            extremes[channel(position)].add(*value);
        }
        let code_max = settings.code_max();
        let scale = |(index, extremes): (usize, &Extremes)| {
            let floor = floors.get(index).copied().unwrap_or(0.0);
            let least = (extremes.largest() / code_max).max(floor);
            let scale = match form {
                Form::Paired => extremes.paired(least),
                _ => least,
            };
            // The channel is zero.
            if scale.is_normal() { scale } else { 1.0 }
        };
        let scales: Vec<f32> = extremes.iter().enumerate().map(scale).collect();
        let mut squares = 0.0;
        let code = |(position, value): (usize, &f32)| {
            let scale = scales[channel(position)];
            let code = (value / scale).round_ties_even().clamp(-code_max, code_max);
            squares += f64::from(value - code * scale).powi(2);
            code as i8
        };
        let codes: Vec<i8> = operand.values.iter().enumerate().map(code).collect();
        let mean_squared_error = squares / codes.len().max(1) as f64;
        Self { codes, scales, mean_squared_error }
    }
}

impl Int8 {
    /// Returns the sum of the weights of each column of a matrix of `columns` columns.
    pub(super) fn column_sums(&self, columns: usize) -> Vec<f32> {
        let mut sums = vec![0_i32; columns];
        for row in self.codes.chunks(columns.max(1)) {
            sums.iter_mut().zip(row).for_each(|(sum, code)| *sum += i32::from(*code));
        }
        column_sums(&sums, &self.scales)
    }
}

/// Limit of the sum of two paired codes.
const PAIR_MAX: f32 = 128.0;

/// Returns the number of channels, and the distance between a channel's weight and the next
/// channel's.
fn channels(operand: &Operand, axis: Option<usize>) -> (usize, usize) {
    match axis {
        None => (1, operand.values.len().max(1)),
        Some(axis) => {
            (operand.dims[axis], operand.dims[axis + 1..].iter().product::<usize>().max(1))
        }
    }
}

/// The two largest weights of a channel above zero, and the two largest below by magnitude.
#[derive(Debug, Clone, Copy, Default)]
struct Extremes {
    above: [f32; 2],
    below: [f32; 2],
}

impl Extremes {
    fn add(&mut self, value: f32) {
        let (side, size) =
            if value > 0.0 { (&mut self.above, value) } else { (&mut self.below, -value) };
        if size > side[0] {
            *side = [size, side[0]];
        } else if size > side[1] {
            side[1] = size;
        }
    }

    fn largest(&self) -> f32 {
        self.above[0].max(self.below[0])
    }

    /// Returns a scale of at least `least` with which the codes of any two weights of one sign add
    /// up to [`PAIR_MAX`] at most.
    fn paired(&self, least: f32) -> f32 {
        let pair = (self.above[0] + self.above[1]).max(self.below[0] + self.below[1]);
        let fits = |scale: f32| {
            let code = |size: &f32| (size / scale).round_ties_even();
            let sum = |side: &[f32; 2]| side.iter().map(code).sum::<f32>();
            sum(&self.above) <= PAIR_MAX && sum(&self.below) <= PAIR_MAX
        };
        let scale = least.max(pair / PAIR_MAX);
        // The limit less one leaves room for both to be rounded up.
        if !scale.is_normal() || fits(scale) { scale } else { least.max(pair / (PAIR_MAX - 1.0)) }
    }
}

/// Returns the largest magnitude of a channel whose weights are too small for a scale, if there is
/// one.
pub(super) fn too_small(operand: &Operand, axis: Option<usize>) -> Option<f32> {
    let (channels, inner) = channels(operand, axis);
    let mut largest = vec![0.0_f32; channels];
    for (position, value) in operand.values.iter().enumerate() {
        let largest = &mut largest[position / inner % channels];
        *largest = largest.max(value.abs());
    }
    largest.into_iter().find(|largest| *largest > 0.0 && *largest < SMALLEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_channel_has_its_scale() {
        let operand = Operand { values: vec![1.0, -50.0, -2.0, 100.0], dims: vec![2, 2] };
        let columns = Int8::of(&operand, Some(1), Int8Weights::default(), Form::Widened, &[]);
        assert_eq!(columns.scales, [2.0 / 127.0, 100.0 / 127.0]);
        assert_eq!(columns.codes, [64, -64, -127, 127]);
        let rows = Int8::of(&operand, Some(0), Int8Weights::default(), Form::Widened, &[0.0, 2.0]);
        assert_eq!((rows.scales[1], rows.codes[3]), (2.0, 50));
        let whole = Int8::of(&operand, None, Int8Weights::default(), Form::Widened, &[]);
        assert_eq!(whole.scales, [100.0 / 127.0]);
        let zeros = Operand { values: vec![0.0; 4], dims: vec![2, 2] };
        let zeros = Int8::of(&zeros, Some(0), Int8Weights::default(), Form::Widened, &[]);
        assert_eq!((zeros.scales, zeros.codes), (vec![1.0; 2], vec![0; 4]));
    }

    #[test]
    fn bits_are_checked() {
        let bits = |bits| Int8Weights { bits, ..Int8Weights::default() }.check();
        assert!(bits(8).is_ok() && bits(2).is_ok());
        assert!(bits(9).unwrap_err().to_string().contains("is 9: it must be 2 to 8"));
        assert!(bits(1).is_err());
    }

    proptest! {
        #[test]
        fn weights_are_rounded_by_half_a_step(
            values in prop::collection::vec(-10.0_f32..10.0, 12), bits in 2_u8..=8, axis in 0_usize..3,
            paired: bool,
        ) {
            let operand = Operand { values, dims: vec![2, 3, 2] };
            let settings = Int8Weights { bits, granularity: Granularity::Channel };
            let form = if paired { Form::Paired } else { Form::Unsigned };
            let int8 = Int8::of(&operand, Some(axis), settings, form, &[]);
            prop_assert_eq!(int8.scales.len(), operand.dims[axis]);
            let inner: usize = operand.dims[axis + 1..].iter().product();
            for (position, value) in operand.values.iter().enumerate() {
                let scale = int8.scales[position / inner % operand.dims[axis]];
                let back = f32::from(int8.codes[position]) * scale;
                prop_assert!((back - value).abs() <= scale * 0.5001, "{back} for {value}");
            }
        }

        #[test]
        fn no_two_products_of_paired_codes_saturate(
            values in prop::collection::vec(-1.0_f32..1.0, 24), bits in 2_u8..=8, tensor: bool,
        ) {
            let operand = Operand { values, dims: vec![6, 4] };
            let settings = Int8Weights { bits, granularity: Granularity::Channel };
            let axis = (!tensor).then_some(1);
            let int8 = Int8::of(&operand, axis, settings, Form::Paired, &[]);
            for (position, first) in int8.codes.iter().enumerate() {
                for (other, second) in int8.codes.iter().enumerate() {
                    if position != other && (tensor || position % 4 == other % 4) {
                        for bytes in [[255, 255], [255, 0], [0, 255], [255, 1]] {
                            let sum = bytes[0] * i32::from(*first) + bytes[1] * i32::from(*second);
                            prop_assert!(i16::try_from(sum).is_ok(), "{first} and {second}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn one_large_weight_keeps_all_its_bits() {
        let operand = Operand { values: vec![1.0, 0.01, -0.6, -0.2], dims: vec![4, 1] };
        let int8 = Int8::of(&operand, Some(1), Int8Weights::default(), Form::Paired, &[]);
        assert_eq!(int8.codes[0], 127);
        let operand = Operand { values: vec![1.0, 1.0], dims: vec![2, 1] };
        let int8 = Int8::of(&operand, Some(1), Int8Weights::default(), Form::Paired, &[]);
        assert_eq!(int8.codes, [64, 64]);
    }

    #[test]
    fn channels_too_small_for_scales_are_found() {
        let operand = Operand { values: vec![1.0, 1e-37, 0.0, 2.0, 0.0, 0.0], dims: vec![2, 3] };
        assert_eq!(too_small(&operand, Some(1)), Some(1e-37));
        assert_eq!(too_small(&operand, Some(0)), None);
        assert_eq!(too_small(&operand, None), None);
    }
}
