//! Chooses the largest weights of one layer.

use crate::Mask;

/// Returns the magnitude of a finite weight as bits that sort alike: those of its absolute value.
pub(super) fn magnitude_bits(value: f32) -> u32 {
    value.abs().to_bits()
}

/// Keeps the `count` largest weights, or all that are not zero if those are fewer. Of equal weights
/// the first are kept.
pub(super) fn keep_largest(values: &[f32], count: usize) -> Mask {
    let sizes: Vec<u32> = values.iter().map(|value| magnitude_bits(*value)).collect();
    let Some(mut cut) = Cutoff::at(sizes, count) else {
        return Mask::new(vec![false; values.len()]);
    };
    Mask::new(values.iter().map(|value| cut.keeps(magnitude_bits(*value))).collect())
}

/// Keeps the weights of this magnitude and above.
pub(super) fn keep_above(values: &[f32], threshold: f32) -> Mask {
    let kept = |value: &f32| *value != 0.0 && value.abs() >= threshold;
    Mask::new(values.iter().map(kept).collect())
}

/// Boundary below the largest weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cutoff {
    /// Magnitude of the smallest weight that is kept.
    size: u32,
    /// Number of weights of exactly that magnitude that are still to be kept.
    equal: usize,
}

impl Cutoff {
    /// Finds the boundary below the `count` largest magnitudes, without zeros. `None` when it keeps
    /// nothing.
    pub(super) fn at(mut sizes: Vec<u32>, count: usize) -> Option<Self> {
        sizes.retain(|size| *size > 0);
        let last = count.min(sizes.len()).checked_sub(1)?;
        let (larger, size, _) = sizes.select_nth_unstable_by(last, |a, b| b.cmp(a));
        // `larger` may hold some of the same magnitude.
        let size = *size;
        let equal = 1 + larger.iter().filter(|other| **other == size).count();
        Some(Self { size, equal })
    }

    /// Returns true if the next weight, of this magnitude, is kept.
    pub(super) fn keeps(&mut self, size: u32) -> bool {
        if size == self.size && self.equal > 0 {
            self.equal -= 1;
            return true;
        }
        size > self.size
    }
}
