//! The frequency of each symbol of a stream: a static model, for the range coder of `rans.rs`.
//!
//! A stored model is a weight for each symbol, as a short float. It has a bit length, coded given
//! the symbol before: neighbours are alike, as codebooks are sorted. A few bits below the highest
//! follow, as many as pay. Integer arithmetic turns weights into frequencies, so every reader gets
//! the same.

use super::adaptive::{Decoder, Encoder, Tree};
use super::cursor::CodecError;

/// Limit of the symbols of a model.
pub(crate) const SYMBOLS_MAX: usize = 1 << 12;
/// Limits of the precision: frequencies add up to 2 to the power of it.
pub(crate) const PRECISION_MIN: u32 = 8;
pub(crate) const PRECISION_MAX: u32 = 14;
/// Bits of the bit length of a weight.
const LENGTH_BITS: u32 = 5;
/// Limit of the bit length of a weight.
const LENGTH_MAX: u32 = 20;
/// Limit of the bits of a weight below its highest.
const DIGITS_MAX: u32 = 7;

/// Frequencies of the symbols from `first` on: each at least 1, together `2^precision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) precision: u32,
    pub(crate) first: usize,
    /// Frequencies of the symbols, two or more.
    pub(crate) frequencies: Vec<u16>,
}

/// The stored weights, from which frequencies follow.
struct Weights {
    precision: u32,
    /// Bits of a weight below its highest.
    digits: u32,
    first: usize,
    weights: Vec<u32>,
}

impl Model {
    /// Fits a model to the counts of symbols, and returns it with its bytes.
    ///
    /// Of all precisions it takes the one with the smallest model and stream. At least two symbols
    /// must occur, and there are [`SYMBOLS_MAX`] symbols at most.
    pub(crate) fn fit(counts: &[u32]) -> (Self, Vec<u8>) {
        let first = counts.iter().position(|count| *count > 0).unwrap_or(0);
        let last = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        let used = counts.get(first..=last).unwrap_or_default();
        let mut best: Option<(f64, Self, Vec<u8>)> = None;
        for precision in PRECISION_MIN..=PRECISION_MAX {
            // At least half of the range must be left for the weights.
            if used.len() * 2 > 1 << precision && precision < PRECISION_MAX {
                continue;
            }
            for digits in 0..=DIGITS_MAX {
                let weights = Weights::of(used, first, precision, digits);
                let Ok(model) = weights.model() else { continue };
                let bytes = weights.write(counts.len());
                let bits = model.bits(used) + 8.0 * bytes.len() as f64;
                if best.as_ref().is_none_or(|best| bits < best.0) {
                    best = Some((bits, model, bytes));
                }
            }
        }
        match best {
            Some((_, model, bytes)) => (model, bytes),
            // This is unreachable: at full precision, weights have a sum.
            None => (Self { precision: 8, first, frequencies: vec![128; 2] }, Vec::new()),
        }
    }

    /// Reads a model of symbols below `symbols`.
    pub(crate) fn read(bytes: &[u8], symbols: usize) -> Result<Self, CodecError> {
        Weights::read(bytes, symbols)?.model()
    }

    /// Returns the bits of a stream in which symbols occur `counts` times.
    fn bits(&self, counts: &[u32]) -> f64 {
        let cost = |(count, frequency): (&u32, &u16)| {
            f64::from(*count) * (f64::from(self.precision) - f64::from(*frequency).log2())
        };
        counts.iter().zip(&self.frequencies).map(cost).sum()
    }
}

impl Weights {
    fn of(counts: &[u32], first: usize, precision: u32, digits: u32) -> Self {
        let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
        let weight = |count: u32| {
            // Each symbol has at least 1; the weights share out the rest.
            let share = f64::from(count) * f64::from(1_u32 << precision) / total as f64 - 1.0;
            round((share.max(0.0) * 8.0).round() as u32, digits)
        };
        let weights = counts.iter().map(|count| weight(*count)).collect();
        Self { precision, digits, first, weights }
    }

    /// Computes the frequencies: 1 each, and shares of the rest of `2^precision` between the
    /// weights' partial sums, rounded down.
    fn model(&self) -> Result<Model, CodecError> {
        let rest = (1_u64 << self.precision).checked_sub(self.weights.len() as u64);
        let total: u64 = self.weights.iter().map(|weight| u64::from(*weight)).sum();
        let Some(rest) = rest.filter(|_| total > 0 && self.weights.len() > 1) else {
            return Err(CodecError::new("a model's symbols do not fit its precision"));
        };
        let (mut sum, mut given) = (0, 0);
        let frequency = |weight: &u32| {
            sum += u64::from(*weight);
            let upto = sum * rest / total;
            let frequency = 1 + upto - given;
            given = upto;
            frequency as u16
        };
        let frequencies = self.weights.iter().map(frequency).collect();
        Ok(Model { precision: self.precision, first: self.first, frequencies })
    }

    fn write(&self, symbols: usize) -> Vec<u8> {
        let mut encoder = Encoder::new();
        let bits = bits_of(symbols);
        encoder.put_uniform(self.first as u64, bits);
        encoder.put_uniform(self.weights.len() as u64 - 1, bits);
        encoder.put_uniform(u64::from(self.precision - PRECISION_MIN), 3);
        encoder.put_uniform(u64::from(self.digits), 3);
        let (mut trees, mut before) = (trees(), 0);
        for weight in &self.weights {
            let length = u32::BITS - weight.leading_zeros();
            encoder.put(&mut trees[before], length);
            let digits = self.digits.min(length.saturating_sub(1));
            encoder.put_uniform(u64::from(weight >> (length - digits).saturating_sub(1)), digits);
            before = length as usize;
        }
        encoder.finish()
    }

    fn read(bytes: &[u8], symbols: usize) -> Result<Self, CodecError> {
        let mut decoder = Decoder::new(bytes);
        let bits = bits_of(symbols);
        let first = decoder.take_uniform(bits) as usize;
        let count = decoder.take_uniform(bits) as usize + 1;
        let precision = PRECISION_MIN + decoder.take_uniform(3) as u32;
        let digits = decoder.take_uniform(3) as u32;
        if first + count > symbols.min(SYMBOLS_MAX) || precision > PRECISION_MAX {
            return Err(CodecError::new("a model has too many symbols"));
        }
        let (mut trees, mut before) = (trees(), 0);
        let mut weights = Vec::with_capacity(count);
        for _ in 0..count {
            let length = decoder.take(&mut trees[before]);
            if length > LENGTH_MAX {
                return Err(CodecError::new("a model's weight is too large"));
            }
            let digits = digits.min(length.saturating_sub(1));
            let top = u32::from(length > 0) << digits | decoder.take_uniform(digits) as u32;
            weights.push(top << (length - digits).saturating_sub(1));
            before = length as usize;
        }
        Ok(Self { precision, digits, first, weights })
    }
}

/// Returns trees for a bit length, one for each bit length before it.
fn trees() -> Vec<Tree> {
    vec![Tree::new(LENGTH_BITS); LENGTH_MAX as usize + 1]
}

/// Returns the bits of a number below `symbols`.
pub(crate) fn bits_of(symbols: usize) -> u32 {
    usize::BITS - symbols.saturating_sub(1).leading_zeros()
}

/// Rounds to the nearest number with at most `digits` bits below its highest.
fn round(value: u32, digits: u32) -> u32 {
    let length = u32::BITS - value.leading_zeros();
    let dropped = length.saturating_sub(digits + 1);
    (value + (1 << dropped >> 1)) >> dropped << dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(counts: &[u32]) -> (Model, Vec<u8>) {
        let (model, bytes) = Model::fit(counts);
        assert_eq!(Model::read(&bytes, counts.len()).unwrap(), model);
        assert!(model.frequencies.iter().all(|frequency| *frequency > 0));
        let sum: u32 = model.frequencies.iter().map(|frequency| u32::from(*frequency)).sum();
        assert_eq!(sum, 1 << model.precision);
        let last = counts.iter().rposition(|count| *count > 0).unwrap();
        assert_eq!(model.first + model.frequencies.len(), last + 1);
        (model, bytes)
    }

    proptest! {
        #[test]
        fn models_are_restored(mut counts in proptest::collection::vec(0_u32..100_000, 0..300)) {
            counts.extend([1, 7, 0]);
            check(&counts);
        }

        #[test]
        fn any_bytes_are_a_model_or_rejected(bytes: Vec<u8>, symbols in 1_usize..5000) {
            if let Ok(model) = Model::read(&bytes, symbols) {
                let sum: u32 = model.frequencies.iter().map(|frequency| u32::from(*frequency)).sum();
                prop_assert_eq!(sum, 1 << model.precision);
                prop_assert!(model.first + model.frequencies.len() <= symbols);
            }
        }
    }

    #[test]
    fn extreme_values_are_restored() {
        check(&[1, 1]);
        check(&[0, 0, u32::MAX, 1]);
        check(&[1, u32::MAX]);
        check(&vec![3; SYMBOLS_MAX]);
        let mut skewed = vec![1; SYMBOLS_MAX];
        skewed[7] = 1_000_000;
        check(&skewed);
    }

    #[test]
    fn a_model_costs_little_and_loses_little() {
        // The counts are a bell over 256 symbols, similar to a clustered layer's codes.
        let bell = |i: i32| 5000.0 * (-f64::from((i - 128).pow(2)) / 3000.0).exp() + 1.0;
        let counts: Vec<u32> = (0..256).map(|i| bell(i) as u32).collect();
        let (model, bytes) = check(&counts);
        let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
        let entropy: f64 =
            counts.iter().map(|count| f64::from(*count) * (total / f64::from(*count)).log2()).sum();
        assert!(bytes.len() < 170, "{}", bytes.len());
        assert!(model.bits(&counts) < entropy * 1.001);
    }
}
