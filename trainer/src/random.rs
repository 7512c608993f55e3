//! Random numbers for data and starts, each sequence made of a seed and of how far training came.

use skysail_graph::SplitMix64;

/// A sequence whose whole state is what it was made from, so whoever knows the seed and how far
/// training came has all random state there is.
#[derive(Debug, Clone)]
pub(crate) struct Random(SplitMix64);

impl Random {
    /// The sequence that belongs to these numbers, such as a seed and an epoch.
    pub(crate) fn of(parts: &[u64]) -> Self {
        let mix = |state, part| SplitMix64::new(state ^ part).next_u64();
        Self(SplitMix64::new(parts.iter().copied().fold(0, mix)))
    }

    /// The next number, any of 2^64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// The next number below `bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // The upper half of a product (Lemire 2019); its bias is below 2^-32 for what is counted
        // here.
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// The next number in `low..high`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        // The top 24 bits are what an f32 holds exactly.
        let unit = (self.next() >> 40) as f32 / (1_u32 << 24) as f32;
        low + (high - low) * unit
    }

    /// The next number of mean 0 and deviation 1, nearly normal: a sum of four even ones, which
    /// needs no function that machines round in different ways.
    pub(crate) fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.between(-1.0, 1.0)).sum();
        sum * 0.866_025_4
    }

    /// Puts items into any order, each as likely (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_fixed_by_what_it_is_made_of() {
        let first = |parts: &[u64]| Random::of(parts).next();
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        assert_ne!(first(&[1, 2]), first(&[2, 1]));
        assert_ne!(first(&[1]), first(&[1, 0]));
    }

    #[test]
    fn shuffles_keep_all_items_and_move_most() {
        let mut items: Vec<usize> = (0..1000).collect();
        Random::of(&[3]).shuffle(&mut items);
        let at_home = items.iter().enumerate().filter(|(place, item)| place == *item).count();
        assert!(at_home < 10, "{at_home}");
        items.sort_unstable();
        assert!(items.into_iter().eq(0..1000));
    }

    #[test]
    fn numbers_have_their_mean_and_deviation() {
        let mut random = Random::of(&[5]);
        let numbers: Vec<f32> = (0..20_000).map(|_| random.normal()).collect();
        let mean = numbers.iter().sum::<f32>() / 20_000.0;
        let variance = numbers.iter().map(|number| number * number).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        assert!((0..1000).all(|_| random.below(7) < 7) && random.below(0) == 0);
    }
}
