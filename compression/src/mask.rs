//! Which weights of a layer stay.

/// One bit of knowledge for each weight of a layer, in row-major order: whether it is kept. What
/// is not kept is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    kept: Vec<bool>,
}

impl Mask {
    /// A mask of these choices.
    pub fn new(kept: Vec<bool>) -> Self {
        Self { kept }
    }

    /// The mask that weights have already: those that are not zero are kept.
    pub fn of(values: &[f32]) -> Self {
        Self::new(values.iter().map(|value| *value != 0.0).collect())
    }

    /// The number of weights.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there are no weights at all.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many are kept.
    pub fn kept(&self) -> usize {
        self.kept.iter().filter(|kept| **kept).count()
    }

    /// The choices.
    pub fn as_slice(&self) -> &[bool] {
        &self.kept
    }

    /// Makes zero what is not kept. To be called after each training step as well, on weights or
    /// on gradients. Of two lengths, the shorter counts.
    pub fn apply(&self, values: &mut [f32]) {
        for (value, kept) in values.iter_mut().zip(&self.kept) {
            if !kept {
                *value = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_becomes_zero() {
        let mask = Mask::of(&[1.0, 0.0, -2.0, -0.0]);
        assert_eq!((mask.len(), mask.kept()), (4, 2));
        let mut values = [5.0, 6.0, f32::NAN, -7.0];
        mask.apply(&mut values);
        assert_eq!((values[0], values[1], values[3]), (5.0, 0.0, 0.0));
        assert!(values[2].is_nan() && values[3].is_sign_positive());
    }
}
