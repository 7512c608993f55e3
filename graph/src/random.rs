//! Random numbers that are the same on every machine and in every version.

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): one add and one mix a number. Enough for
/// weights and data, never for secrets.
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any of 2^64.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next number, evenly in `-bound..bound`.
    pub fn uniform(&mut self, bound: f32) -> f32 {
        // The top 24 bits are what an f32 holds exactly.
        let unit = (self.next_u64() >> 40) as f32 / (1_u32 << 24) as f32;
        (2.0 * unit - 1.0) * bound
    }
}

#[cfg(test)]
mod tests {
    use super::SplitMix64;

    #[test]
    fn gives_the_published_sequence() {
        let mut random = SplitMix64::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
        let published =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(first, published);
    }

    #[test]
    fn uniform_fills_its_range() {
        let mut random = SplitMix64::new(1);
        let values: Vec<f32> = (0..10_000).map(|_| random.uniform(0.5)).collect();
        assert!(values.iter().all(|value| (-0.5..0.5).contains(value)));
        // Five standard deviations of the sum.
        assert!(values.iter().sum::<f32>().abs() < 5.0 * (10_000.0_f32 / 12.0).sqrt());
        assert!(values.iter().any(|value| *value > 0.49));
        assert!(values.iter().any(|value| *value < -0.49));
    }
}
