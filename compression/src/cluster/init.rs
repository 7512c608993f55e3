//! The first centroids of clusters (Deep Compression, section 3.2).

use super::k_means::Sorted;
use skysail_graph::SplitMix64;

/// Choice of the first centroids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClusterInit {
    /// Even steps from the smallest weight to the largest. The paper's choice: the few large
    /// weights, which matter most, get values of their own.
    #[default]
    Linear,
    /// Even steps of the weights' distribution: most values where most weights are.
    Density,
    /// Weights drawn at random.
    Forgy {
        /// Seed of the draws: the same seed draws the same weights.
        seed: u64,
    },
}

impl ClusterInit {
    /// Returns `count` ascending centroids among `sorted`, which must not be empty.
    pub(super) fn centroids(self, sorted: &Sorted, count: usize) -> Vec<f64> {
        let values = sorted.values();
        let at = |position: usize| f64::from(values[position.min(values.len() - 1)]);
        match self {
            Self::Linear => {
                let (low, high) = (at(0), at(values.len()));
                let step = (high - low) / (count.max(2) - 1) as f64;
                (0..count).map(|index| low + step * index as f64).collect()
            }
            Self::Density => {
                let step = values.len() as f64 / count as f64;
                (0..count).map(|index| at(((index as f64 + 0.5) * step) as usize)).collect()
            }
            Self::Forgy { seed } => {
                let mut random = SplitMix64::new(seed);
                let mut centroids: Vec<f64> =
                    (0..count).map(|_| at(below(&mut random, values.len()))).collect();
                centroids.sort_unstable_by(f64::total_cmp);
                centroids
            }
        }
    }
}

/// Draws a number below `bound`, with a bias of `bound` in 2^64.
fn below(random: &mut SplitMix64, bound: usize) -> usize {
    ((u128::from(random.next_u64()) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted() -> Sorted {
        Sorted::of(vec![0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 10.0])
    }

    #[test]
    fn linear_spans_the_range_and_density_follows_the_weights() {
        assert_eq!(ClusterInit::Linear.centroids(&sorted(), 3), [0.0, 5.0, 10.0]);
        assert_eq!(ClusterInit::Density.centroids(&sorted(), 4), [1.0, 1.0, 1.0, 10.0]);
        assert_eq!(ClusterInit::Linear.centroids(&sorted(), 1), [0.0]);
    }

    #[test]
    fn random_centroids_are_weights_and_repeat_with_their_seed() {
        let draw = |seed| ClusterInit::Forgy { seed }.centroids(&sorted(), 6);
        assert_eq!(draw(1), draw(1));
        assert!((2..10).any(|seed| draw(seed) != draw(1)));
        assert!(draw(1).iter().all(|value| [0.0, 1.0, 2.0, 10.0].contains(value)));
    }
}
