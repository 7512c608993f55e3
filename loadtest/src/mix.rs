//! Mix of several kinds of request by weight.

use skysail_policy::mix64;

/// Distance of two states of SplitMix64: 2^64 divided by the golden ratio.
pub(crate) const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Chooses the kind of each request.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    /// Cumulative shares of the kinds; the last one is 1.
    up_to: Vec<f64>,
}

impl Mix {
    /// Makes a mix of weights above 0.
    pub(crate) fn new(weights: impl Iterator<Item = f64> + Clone) -> Self {
        let total: f64 = weights.clone().sum();
        let mut sum = 0.0;
        let up_to = weights.map(|weight| {
            sum += weight;
            sum / total
        });
        Self { up_to: up_to.collect() }
    }

    /// Kind of a request by its number: pseudo-random, and always the same.
    pub(crate) fn choose(&self, number: u64) -> usize {
        if self.up_to.len() == 1 {
            return 0;
        }
        let unit = unit_interval(mix64(number.wrapping_add(1).wrapping_mul(STEP)));
        self.up_to.iter().position(|&share| unit < share).unwrap_or(self.up_to.len() - 1)
    }
}

/// Maps random bits to a number from 0 to 1, without 1.
pub(crate) fn unit_interval(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_comes_as_often_as_its_weight_says() {
        let mix = Mix::new([1.0, 3.0].into_iter());
        let second = (0..100_000).filter(|&number| mix.choose(number) == 1).count();
        assert!((74_000..76_000).contains(&second), "{second}");
        assert_eq!(Mix::new([0.5].into_iter()).choose(7), 0);
    }

    #[test]
    fn kinds_do_not_take_turns() {
        let mix = Mix::new([1.0, 1.0].into_iter());
        let twice = (0..1000).filter(|&n| mix.choose(n) == mix.choose(n + 1)).count();
        assert!((400..600).contains(&twice), "{twice}");
    }
}
