//! Choosing the largest weights of one layer.

use crate::Mask;

/// The size of a finite weight as bits that are in the same order: those of its absolute value.
pub(super) fn size_bits(value: f32) -> u32 {
    value.abs().to_bits()
}

/// Keeps the `count` largest, or all that are not zero if those are fewer. Of equal ones, the
/// first are kept.
pub(super) fn keep_largest(values: &[f32], count: usize) -> Mask {
    let sizes: Vec<u32> = values.iter().map(|value| size_bits(*value)).collect();
    let Some(mut cut) = Cut::at(sizes, count) else {
        return Mask::new(vec![false; values.len()]);
    };
    Mask::new(values.iter().map(|value| cut.keeps(size_bits(*value))).collect())
}

/// Keeps those of this size and above.
pub(super) fn keep_above(values: &[f32], threshold: f32) -> Mask {
    let kept = |value: &f32| *value != 0.0 && value.abs() >= threshold;
    Mask::new(values.iter().map(kept).collect())
}

/// Where the largest end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// The size of the smallest that is kept.
    size: u32,
    /// How many of exactly that size are still to be kept.
    equal: usize,
}

impl Cut {
    /// The cut below the `count` largest of `sizes`, zeros never among them. `None` when it
    /// keeps nothing.
    pub(super) fn at(mut sizes: Vec<u32>, count: usize) -> Option<Self> {
        sizes.retain(|size| *size > 0);
        let last = count.min(sizes.len()).checked_sub(1)?;
        let (larger, size, _) = sizes.select_nth_unstable_by(last, |a, b| b.cmp(a));
        // Among `larger` may be some of the same size.
        let size = *size;
        let equal = 1 + larger.iter().filter(|other| **other == size).count();
        Some(Self { size, equal })
    }

    /// Whether the next weight, of this size, is kept.
    pub(super) fn keeps(&mut self, size: u32) -> bool {
        if size == self.size && self.equal > 0 {
            self.equal -= 1;
            return true;
        }
        size > self.size
    }
}
