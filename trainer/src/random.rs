//! Random numbers for data and initial weights; each sequence is determined by a seed and a
//! position.

use skysail_graph::SplitMix64;

/// Mixes parts, such as a seed and an epoch, into one seed.
pub(crate) fn mixed_seed(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |seed, part| SplitMix64::new(seed ^ part).next_u64())
}

/// A sequence determined by its parts. A checkpoint with the seed and the position of training
/// holds all random state.
#[derive(Debug, Clone)]
pub(crate) struct Random(SplitMix64);

impl Random {
    /// The sequence of these parts, such as a seed and an epoch.
    pub(crate) fn of(parts: &[u64]) -> Self {
        Self(SplitMix64::new(mixed_seed(parts)))
    }

    /// The next number, uniform over all 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// The next number below `bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // The upper half of a product (Lemire 2019); its bias is below 2^-32 for the bounds used
        // here.
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// The next number in `low..high`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        // An f32 holds 24 bits exactly.
        let unit = (self.next() >> 40) as f32 / (1_u32 << 24) as f32;
        low + (high - low) * unit
    }

    /// The next number of mean 0 and deviation 1, nearly normal. The sum of four uniform numbers
    /// avoids functions whose rounding differs between machines.
    pub(crate) fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.between(-1.0, 1.0)).sum();
        sum * 0.866_025_4
    }

    /// Shuffles the items uniformly (Fisher and Yates).
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
    fn a_sequence_is_determined_by_its_parts() {
        let first = |parts: &[u64]| Random::of(parts).next();
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        assert_ne!(first(&[1, 2]), first(&[2, 1]));
        assert_ne!(first(&[1]), first(&[1, 0]));
    }

    #[test]
    fn shuffles_keep_all_items_and_move_most() {
        let mut items: Vec<usize> = (0..1000).collect();
        Random::of(&[3]).shuffle(&mut items);
        let at_home = items.iter().enumerate().filter(|(index, item)| index == *item).count();
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
