//! Activations of completed sums.

/// A function that is applied to each output. Not-a-number stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// `max(v, 0)`.
    Relu,
    /// `v` where positive, else `slope * v`.
    LeakyRelu {
        /// Factor of negative numbers.
        slope: f32,
    },
    /// `v` clamped to `low..=high`.
    Clip {
        /// Smallest result.
        low: f32,
        /// Largest result.
        high: f32,
    },
}

impl Activation {
    /// Value of the activation at `v`.
    #[inline(always)]
    pub fn of(self, v: f32) -> f32 {
        match self {
            Self::None => v,
            Self::Relu => select_below(v, 0.0, 0.0),
            Self::LeakyRelu { slope } => select_below(v, 0.0, slope * v),
            Self::Clip { low, high } => {
                let v = select_below(v, low, low);
                if v > high { high } else { v }
            }
        }
    }

    /// Applies the activation to each value.
    #[inline(always)]
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Self::None => {}
            // Matching outside of the loops lets each be vectorised.
            Self::Relu => values.iter_mut().for_each(|v| *v = Self::Relu.of(*v)),
            _ => values.iter_mut().for_each(|v| *v = self.of(*v)),
        }
    }
}

#[inline(always)]
fn select_below(v: f32, bound: f32, instead: f32) -> f32 {
    if v < bound { instead } else { v }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_keep_not_a_number() {
        let leaky = Activation::LeakyRelu { slope: 0.5 };
        let clip = Activation::Clip { low: -1.0, high: 2.0 };
        for (activation, expected) in [
            (Activation::None, [-3.0, 0.5, 3.0]),
            (Activation::Relu, [0.0, 0.5, 3.0]),
            (leaky, [-1.5, 0.5, 3.0]),
            (clip, [-1.0, 0.5, 2.0]),
        ] {
            let mut values = [-3.0, 0.5, 3.0, f32::NAN];
            activation.apply(&mut values);
            assert_eq!(values[..3], expected);
            assert!(values[3].is_nan(), "{activation:?}");
        }
    }
}
