//! Which values are largest, without sorting them all.
//!
//! A sample says from where on a value is large. If too many pass, the exact order of those that
//! passed decides; if far too few pass, the exact order of all (Lin et al. 2018, section 5).

use std::cmp::Ordering;

/// The sample is large enough to have so many of the large values.
const LARGE_IN_SAMPLE: usize = 16;
/// The least part of all that is sampled.
const SAMPLED: f64 = 0.01;
/// The threshold is set so low that it passes so many times the wanted, so that few fail it.
const MARGIN: f64 = 1.25;
/// So much of the wanted is enough.
const ENOUGH: f64 = 0.8;

/// The places, in order, of the `keep` values that are largest without their sign, or somewhat
/// fewer. Zeros are never among them. `turn` moves the sample, so that no place is always in it.
pub(super) fn largest(values: &[f32], keep: usize, turn: u64) -> Vec<u32> {
    let sampled = (values.len() as f64 * SAMPLED) as usize;
    let sampled = sampled.max(LARGE_IN_SAMPLE * values.len() / keep.max(1));
    if keep == 0 || sampled >= values.len() / 4 {
        return exact(values, passing(values, 0.0), keep);
    }
    let threshold = threshold(values, keep, values.len() / sampled, turn);
    let passed = passing(values, threshold);
    if (passed.len() as f64) < keep as f64 * ENOUGH {
        return exact(values, passing(values, 0.0), keep);
    }
    exact(values, passed, keep)
}

/// The value of a sample that is about so large as the smallest wanted one.
fn threshold(values: &[f32], keep: usize, stride: usize, turn: u64) -> f32 {
    let offset = (turn % stride as u64) as usize;
    let mut sample: Vec<_> =
        values.iter().skip(offset).step_by(stride).map(|value| value.abs()).collect();
    let rank = sample.len() as f64 * keep as f64 / values.len() as f64 * MARGIN;
    let rank = (rank as usize).min(sample.len() - 1);
    *sample.select_nth_unstable_by(rank, |a, b| b.total_cmp(a)).1
}

/// The places of values, other than zero, that are so large.
fn passing(values: &[f32], threshold: f32) -> Vec<u32> {
    let threshold = threshold.max(f32::from_bits(1));
    let large = |(place, value): (usize, &f32)| (value.abs() >= threshold).then_some(place as u32);
    values.iter().enumerate().filter_map(large).collect()
}

/// Of some places the `keep` with the largest values, in order.
fn exact(values: &[f32], mut places: Vec<u32>, keep: usize) -> Vec<u32> {
    if keep < places.len() {
        if keep > 0 {
            places.select_nth_unstable_by(keep - 1, |a, b| larger(values, *a, *b));
        }
        places.truncate(keep);
        places.sort_unstable();
    }
    places
}

/// The larger value first; of equal ones that which is earlier.
fn larger(values: &[f32], a: u32, b: u32) -> Ordering {
    let size = |place: u32| values[place as usize].abs();
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
    fn of_many_values_about_as_many_as_wanted_are_chosen_and_no_more() {
        for (turn, keep) in [(0, 100), (1, 100), (2, 1000), (3, 10_000), (4, 25_000)] {
            let values = normal(100_000, turn);
            let chosen = largest(&values, keep, turn);
            assert!(chosen.len() <= keep && chosen.len() * 5 >= keep * 4, "{}", chosen.len());
            let smallest = chosen.iter().map(|place| values[*place as usize].abs());
            let smallest = smallest.fold(f32::INFINITY, f32::min);
            let larger = values.iter().filter(|value| value.abs() > smallest).count();
            assert!(larger < chosen.len(), "all larger ones are among them");
            assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn a_sample_that_misleads_does_no_harm() {
        // Large values only where the sample looks, or only where it does not.
        let stride = 100_000 / 16_000;
        for misled in [0, 1] {
            let mut values = vec![0.001; 100_000];
            for at in 0..100 {
                values[at * stride * 7 + misled] = 1.0 + at as f32;
            }
            let chosen = largest(&values, 100, 0);
            assert_eq!(chosen.len(), 100);
            assert!(chosen.iter().all(|place| values[*place as usize] >= 1.0));
        }
    }
}
