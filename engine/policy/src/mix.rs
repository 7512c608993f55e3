//! A mixing function for hashes and random numbers.

/// Mixes the bits of a number: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
///
/// It is one to one: different numbers stay different, neighbours become unlike, and 0 stays 0.
pub fn mix64(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Difference of two states of SplitMix64 in a row: 2^64 divided by the golden ratio.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::{GOLDEN, mix64};

    #[test]
    fn the_first_numbers_of_splitmix64_are_the_published_ones() {
        let seed = 1_234_567_u64;
        let found = [1_u64, 2, 3].map(|n| mix64(seed.wrapping_add(n.wrapping_mul(GOLDEN))));
        let published =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(found, published);
        assert_eq!(mix64(0), 0);
    }
}
