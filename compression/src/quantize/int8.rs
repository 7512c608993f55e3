//! Weights as signed bytes, symmetric around zero.

use crate::CompressError;

use super::operand::Operand;

/// How weights become signed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int8Weights {
    /// Which weights share a scale.
    pub granularity: Granularity,
    /// Bits of a code, 2 to 8; codes of fewer bits take a byte as well, and pack better. 7 keeps
    /// machines without VNNI from saturating sums of two products.
    pub bits: u8,
}

/// Which weights share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// All of a tensor.
    Tensor,
    /// Those of one output.
    Channel,
}

impl Default for Int8Weights {
    /// Eight bits, and a scale for each channel.
    fn default() -> Self {
        Self { granularity: Granularity::Channel, bits: 8 }
    }
}

impl Int8Weights {
    /// # Errors
    /// `BadSetting` when the number of bits cannot be.
    pub(super) fn check(self) -> Result<Self, CompressError> {
        if (2..=8).contains(&self.bits) {
            return Ok(self);
        }
        let (setting, wanted) = ("the number of bits of int8 weights", "2 to 8");
        Err(CompressError::BadSetting { setting, value: self.bits.to_string(), wanted })
    }

    /// The largest code.
    fn code_max(self) -> f32 {
        f32::from((1_u16 << (self.bits - 1)) - 1)
    }
}

/// Weights as codes: each stands for itself times the scale of its channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Int8 {
    pub(super) codes: Vec<i8>,
    /// One, or one a channel.
    pub(super) scales: Vec<f32>,
    pub(super) mean_squared_error: f64,
}

impl Int8 {
    /// Codes with a scale for each index of dimension `axis`, or one for all. A scale is at least
    /// the one in `floors`, where there is one.
    pub(super) fn of(
        operand: &Operand,
        axis: Option<usize>,
        settings: Int8Weights,
        floors: &[f32],
    ) -> Self {
        let (channels, inner) = match axis {
            None => (1, operand.values.len().max(1)),
            Some(axis) => {
                (operand.dims[axis], operand.dims[axis + 1..].iter().product::<usize>().max(1))
            }
        };
        let channel = |place: usize| place / inner % channels;
        let mut largest = vec![0.0_f32; channels];
        for (place, value) in operand.values.iter().enumerate() {
            let largest = &mut largest[channel(place)];
            *largest = largest.max(value.abs());
        }
        let code_max = settings.code_max();
        let scale = |(index, largest): (usize, &f32)| {
            let scale = (largest / code_max).max(floors.get(index).copied().unwrap_or(0.0));
            // A channel of zeros, or of less than can be told apart.
            if scale.is_normal() { scale } else { 1.0 }
        };
        let scales: Vec<f32> = largest.iter().enumerate().map(scale).collect();
        let mut squares = 0.0;
        let code = |(place, value): (usize, &f32)| {
            let scale = scales[channel(place)];
            let code = (value / scale).round_ties_even().clamp(-code_max, code_max);
            squares += f64::from(value - code * scale).powi(2);
            code as i8
        };
        let codes: Vec<i8> = operand.values.iter().enumerate().map(code).collect();
        let mean_squared_error = squares / codes.len().max(1) as f64;
        Self { codes, scales, mean_squared_error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_channel_has_its_scale() {
        let operand = Operand { values: vec![1.0, -50.0, -2.0, 100.0], dims: vec![2, 2] };
        let columns = Int8::of(&operand, Some(1), Int8Weights::default(), &[]);
        assert_eq!(columns.scales, [2.0 / 127.0, 100.0 / 127.0]);
        assert_eq!(columns.codes, [64, -64, -127, 127]);
        let rows = Int8::of(&operand, Some(0), Int8Weights::default(), &[0.0, 2.0]);
        assert_eq!((rows.scales[1], rows.codes[3]), (2.0, 50));
        let whole = Int8::of(&operand, None, Int8Weights::default(), &[]);
        assert_eq!(whole.scales, [100.0 / 127.0]);
        let zeros = Operand { values: vec![0.0; 4], dims: vec![2, 2] };
        let zeros = Int8::of(&zeros, Some(0), Int8Weights::default(), &[]);
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
        fn weights_come_back_within_half_a_step(
            values in prop::collection::vec(-10.0_f32..10.0, 12), bits in 2_u8..=8, axis in 0_usize..3,
        ) {
            let operand = Operand { values, dims: vec![2, 3, 2] };
            let settings = Int8Weights { bits, granularity: Granularity::Channel };
            let int8 = Int8::of(&operand, Some(axis), settings, &[]);
            prop_assert_eq!(int8.scales.len(), operand.dims[axis]);
            let inner: usize = operand.dims[axis + 1..].iter().product();
            for (place, value) in operand.values.iter().enumerate() {
                let scale = int8.scales[place / inner % operand.dims[axis]];
                let back = f32::from(int8.codes[place]) * scale;
                prop_assert!((back - value).abs() <= scale * 0.5001, "{back} for {value}");
            }
        }
    }
}
