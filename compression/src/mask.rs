//! The weights of a layer that pruning keeps.

/// A flag for each weight of a layer, in row-major order: true if the weight is kept. Other weights
/// are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    kept: Vec<bool>,
}

impl Mask {
    /// Creates a mask of these flags.
    pub fn new(kept: Vec<bool>) -> Self {
        Self { kept }
    }

    /// Creates the mask of weights as they are: those that are not zero are kept.
    pub fn of(values: &[f32]) -> Self {
        Self::new(values.iter().map(|value| *value != 0.0).collect())
    }

    /// Returns the number of weights.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Returns true if there are no weights.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Returns the number of kept weights.
    pub fn kept(&self) -> usize {
        self.kept.iter().filter(|kept| **kept).count()
    }

    /// Returns the flags.
    pub fn as_slice(&self) -> &[bool] {
        &self.kept
    }

    /// Sets the weights that are not kept to zero. Training calls it after each step, on weights or
    /// on gradients.
    ///
    /// A longer slice than the mask keeps its rest.
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
    fn pruned_weights_become_zero() {
        let mask = Mask::of(&[1.0, 0.0, -2.0, -0.0]);
        assert_eq!((mask.len(), mask.kept()), (4, 2));
        let mut values = [5.0, 6.0, f32::NAN, -7.0];
        mask.apply(&mut values);
        assert_eq!((values[0], values[1], values[3]), (5.0, 0.0, 0.0));
        assert!(values[2].is_nan() && values[3].is_sign_positive());
    }
}
