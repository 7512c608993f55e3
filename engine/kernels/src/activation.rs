//! What is done to each output once its sum is complete.

/// A function of one number that is applied to each output. Not-a-number stays what it is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(v, 0)`.
    Relu,
    /// `v` where positive, else `slope * v`.
    LeakyRelu {
        /// What negative numbers are multiplied by.
        slope: f32,
    },
    /// `v` brought into `low..=high`.
    Clip {
        /// The least result.
        low: f32,
        /// The greatest result.
        high: f32,
    },
}

impl Activation {
    /// Its value at `v`.
    #[inline(always)]
    pub fn of(self, v: f32) -> f32 {
        match self {
            Self::None => v,
            Self::Relu => below(v, 0.0, 0.0),
            Self::LeakyRelu { slope } => below(v, 0.0, slope * v),
            Self::Clip { low, high } => {
                let v = below(v, low, low);
                if v > high { high } else { v }
            }
        }
    }

    /// Replaces each value.
    #[inline(always)]
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Self::None => {}
            // The match is outside of the loops, so that each is a loop of vectors.
            Self::Relu => values.iter_mut().for_each(|v| *v = Self::Relu.of(*v)),
            _ => values.iter_mut().for_each(|v| *v = self.of(*v)),
        }
    }
}

#[inline(always)]
fn below(v: f32, bound: f32, instead: f32) -> f32 {
    if v < bound { instead } else { v }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_not_a_number_and_bends_the_rest() {
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
