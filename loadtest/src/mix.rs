//! Several kinds of request in one load, each as often as its weight says.

/// Which kind comes next.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    /// The kinds' shares, each with those before it: the last one is 1.
    up_to: Vec<f64>,
}

impl Mix {
    /// Of weights above 0.
    pub(crate) fn new(weights: impl Iterator<Item = f64> + Clone) -> Self {
        let total: f64 = weights.clone().sum();
        let mut sum = 0.0;
        let up_to = weights.map(|weight| {
            sum += weight;
            sum / total
        });
        Self { up_to: up_to.collect() }
    }

    /// The kind of a request, by its number: always the same one, and by chance.
    pub(crate) fn choose(&self, number: u64) -> usize {
        if self.up_to.len() == 1 {
            return 0;
        }
        let unit = (mixed(number) >> 11) as f64 / (1_u64 << 53) as f64;
        self.up_to.iter().position(|&share| unit < share).unwrap_or(self.up_to.len() - 1)
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): the numbers' sequence looks like chance.
fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
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
