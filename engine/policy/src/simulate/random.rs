//! Random numbers that are the same on every machine and with every version of any library.

use crate::mix::{GOLDEN, mix64};

/// The generator xoshiro256++ (Blackman and Vigna, ACM TOMS 2021), its state filled by SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// Any seed is a good one; `stream` makes several independent generators of it.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = mix64(seed) ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03);
        let state = [(); 4].map(|()| {
            mixed = mixed.wrapping_add(GOLDEN);
            mix64(mixed)
        });
        Self { state }
    }

    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Evenly from 0 to 1, without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly from `least` to `most`, with both.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        let count = most.saturating_sub(least).saturating_add(1);
        least + (self.unit() * count as f64) as u64
    }

    /// True in this share of cases.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Draws an index in proportion to the weights.
    pub(crate) fn choose(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut left = self.unit() * weights.clone().sum::<f64>();
        let chosen = weights.clone().position(|weight| {
            left -= weight;
            left < 0.0
        });
        chosen.unwrap_or_else(|| weights.count().saturating_sub(1))
    }

    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// With mean 0 and variance 1 (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = self.exponential(2.0).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// With mean 1: `sigma` is the deviation of its logarithm.
    pub(crate) fn lognormal(&mut self, sigma: f64) -> f64 {
        (sigma * self.normal() - sigma * sigma / 2.0).exp()
    }

    /// With mean 1 and variance 1 / `shape`, which is at least 1 (Marsaglia and Tsang 2000).
    pub(crate) fn gamma(&mut self, shape: f64) -> f64 {
        let shape = shape.max(1.0);
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let normal = self.normal();
            let cube = (1.0 + c * normal).powi(3);
            let bound = 0.5 * normal * normal + d - d * cube + d * cube.max(1e-300).ln();
            if cube > 0.0 && (1.0 - self.unit()).ln() < bound {
                return d * cube / shape;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_deviation(mut draw: impl FnMut(&mut Random) -> f64) -> (f64, f64) {
        const COUNT: usize = 40_000;
        let mut random = Random::new(7, 0);
        let drawn: Vec<f64> = (0..COUNT).map(|_| draw(&mut random)).collect();
        let mean = drawn.iter().sum::<f64>() / COUNT as f64;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / COUNT as f64;
        (mean, variance.sqrt())
    }

    fn assert_close(found: (f64, f64), wanted: (f64, f64)) {
        let is_close = |a: f64, b: f64| (a - b).abs() < 0.03;
        assert!(is_close(found.0, wanted.0) && is_close(found.1, wanted.1), "{found:?} {wanted:?}");
    }

    #[test]
    fn distributions_have_their_moments() {
        assert_close(mean_and_deviation(Random::unit), (0.5, (1.0_f64 / 12.0).sqrt()));
        assert_close(mean_and_deviation(Random::normal), (0.0, 1.0));
        assert_close(mean_and_deviation(|random| random.exponential(1.0)), (1.0, 1.0));
        assert_close(mean_and_deviation(|random| random.gamma(4.0)), (1.0, 0.5));
        assert_close(mean_and_deviation(|random| random.gamma(1.0)), (1.0, 1.0));
        let deviation = (0.3_f64.powi(2).exp() - 1.0).sqrt();
        assert_close(mean_and_deviation(|random| random.lognormal(0.3)), (1.0, deviation));
    }

    #[test]
    fn choices_are_in_proportion_to_their_weights() {
        let mut random = Random::new(1, 0);
        let mut counts = [0; 3];
        (0..10_000).for_each(|_| counts[random.choose([1.0, 0.0, 3.0].into_iter())] += 1);
        assert!((2_300..2_700).contains(&counts[0]) && counts[1] == 0, "{counts:?}");
        assert_eq!(random.choose([].into_iter()), 0);
        assert!((0..1_000).all(|_| (3..=5).contains(&random.between(3, 5))));
    }

    #[test]
    fn the_same_seed_and_stream_give_the_same_numbers_and_others_do_not() {
        let first = |seed, stream| Random::new(seed, stream).next();
        assert_eq!(first(1, 2), first(1, 2));
        assert!(first(1, 2) != first(2, 1) && first(1, 0) != first(1, 1));
        let mut known = Random { state: [1, 2, 3, 4] };
        // The first numbers of the authors' own program.
        assert_eq!([known.next(), known.next()], [41_943_041, 58_720_359]);
    }
}
