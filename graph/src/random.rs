//! Random numbers that are the same on every machine and in every version.

/// Distance of two states of SplitMix64 in a row: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Mixes the bits of a number: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
///
/// Different numbers stay different, neighbours become unlike, and 0 stays 0.
pub fn mix64(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Generator SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): one addition and one mix a number.
///
/// Good enough for weights and data, never for secrets.
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts the sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws the next number, uniform over all of `u64`.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix64(self.0)
    }

    /// Draws the next number, uniform in `-bound..bound`.
    pub fn uniform(&mut self, bound: f32) -> f32 {
        // An f32 holds 24 bits exactly.
        let unit = (self.next_u64() >> 40) as f32 / (1_u32 << 24) as f32;
        (2.0 * unit - 1.0) * bound
    }
}

#[cfg(test)]
mod tests {
    use super::SplitMix64;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = SplitMix64::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
        let published =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(first, published);
    }

    #[test]
    fn uniform_numbers_fill_the_range() {
        let mut random = SplitMix64::new(1);
        let values: Vec<f32> = (0..10_000).map(|_| random.uniform(0.5)).collect();
        assert!(values.iter().all(|value| (-0.5..0.5).contains(value)));
        // Five standard deviations of the sum.
        assert!(values.iter().sum::<f32>().abs() < 5.0 * (10_000.0_f32 / 12.0).sqrt());
        assert!(values.iter().any(|value| *value > 0.49));
        assert!(values.iter().any(|value| *value < -0.49));
    }
}
