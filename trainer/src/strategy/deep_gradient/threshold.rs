//! Selection of the largest values without a full sort.
//!
//! A sample estimates the threshold. If too many values pass, those that passed are selected
//! exactly. If far too few pass, all are (Lin et al. 2018, section 5).

use std::cmp::Ordering;

/// Least number of large values expected in the sample.
const LARGE_IN_SAMPLE: usize = 16;
/// Least share of all values that is sampled.
const SAMPLED: f64 = 0.01;
/// Factor by which the threshold aims above the wanted count, so that too few rarely pass.
const MARGIN: f64 = 1.25;
/// Least share of the wanted count that is accepted.
const PASSED_MIN: f64 = 0.8;

/// Returns the indices, ascending, of the `keep` values that are largest by magnitude, or somewhat
/// fewer. Zeros are never selected. `turn` shifts the sample, so that no index is always in it.
pub(super) fn largest(values: &[f32], keep: usize, turn: u64) -> Vec<u32> {
    let sampled = (values.len() as f64 * SAMPLED) as usize;
    let sampled = sampled.max(LARGE_IN_SAMPLE * values.len() / keep.max(1));
    if keep == 0 || sampled >= values.len() / 4 {
        return exact(values, passing(values, 0.0), keep);
    }
    let threshold = threshold(values, keep, values.len() / sampled, turn);
    let passed = passing(values, threshold);
    if (passed.len() as f64) < keep as f64 * PASSED_MIN {
        return exact(values, passing(values, 0.0), keep);
    }
    exact(values, passed, keep)
}

/// Estimates the smallest wanted magnitude from a sample.
fn threshold(values: &[f32], keep: usize, stride: usize, turn: u64) -> f32 {
    let offset = (turn % stride as u64) as usize;
    let mut sample: Vec<_> =
        values.iter().skip(offset).step_by(stride).map(|value| value.abs()).collect();
    let rank = sample.len() as f64 * keep as f64 / values.len() as f64 * MARGIN;
    let rank = (rank as usize).min(sample.len() - 1);
    *sample.select_nth_unstable_by(rank, |a, b| b.total_cmp(a)).1
}

/// Indices of non-zero values of at least this magnitude.
fn passing(values: &[f32], threshold: f32) -> Vec<u32> {
    let threshold = threshold.max(f32::from_bits(1));
    let large = |(index, value): (usize, &f32)| (value.abs() >= threshold).then_some(index as u32);
    values.iter().enumerate().filter_map(large).collect()
}

/// Selects the `keep` largest values among `indices`, in ascending order of index.
fn exact(values: &[f32], mut indices: Vec<u32>, keep: usize) -> Vec<u32> {
    if keep < indices.len() {
        if keep > 0 {
            indices.select_nth_unstable_by(keep - 1, |a, b| larger(values, *a, *b));
        }
        indices.truncate(keep);
        indices.sort_unstable();
    }
    indices
}

/// Orders larger magnitudes first, and equal ones by index.
fn larger(values: &[f32], a: u32, b: u32) -> Ordering {
    let size = |index: u32| values[index as usize].abs();
    size(b).total_cmp(&size(a)).then(a.cmp(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    fn normal(len: usize, seed: u64) -> Vec<f32> {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut sum = || (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
        (0..len).map(|_| sum()).collect()
    }

    #[test]
    fn few_values_are_chosen_exactly() {
        assert_eq!(largest(&[0.5, -3.0, 0.0, 2.0, 1.0], 2, 0), [1, 3]);
        assert_eq!(largest(&[1.0, 1.0, 1.0], 2, 0), [0, 1]);
        assert_eq!(largest(&[0.0, 1.0, 0.0], 2, 0), [1]);
        assert_eq!(largest(&[1.0], 0, 0), [0_u32; 0]);
        assert_eq!(largest(&[], 1, 0), [0_u32; 0]);
    }

    #[test]
    fn many_values_are_selected_approximately() {
        for (turn, keep) in [(0, 100), (1, 100), (2, 1000), (3, 10_000), (4, 25_000)] {
            let values = normal(100_000, turn);
            let chosen = largest(&values, keep, turn);
            assert!(chosen.len() <= keep && chosen.len() * 5 >= keep * 4, "{}", chosen.len());
            let smallest = chosen.iter().map(|index| values[*index as usize].abs());
            let smallest = smallest.fold(f32::INFINITY, f32::min);
            let larger = values.iter().filter(|value| value.abs() > smallest).count();
            assert!(larger < chosen.len(), "all larger ones are among them");
            assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn a_misleading_sample_does_no_harm() {
        // Large values lie only at sampled positions, or only at others.
        let stride = 100_000 / 16_000;
        for misled in [0, 1] {
            let mut values = vec![0.001; 100_000];
            for at in 0..100 {
                values[at * stride * 7 + misled] = 1.0 + at as f32;
            }
            let chosen = largest(&values, 100, 0);
            assert_eq!(chosen.len(), 100);
            assert!(chosen.iter().all(|index| values[*index as usize] >= 1.0));
        }
    }
}
