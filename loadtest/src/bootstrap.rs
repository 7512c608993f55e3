//! Confidence range of the ratio of two means, by the circular block bootstrap (Politis and Romano
//! 1992). Neighbours are drawn together, because a slow second is often followed by another.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Number of resamples.
const DRAWS: usize = 2_000;
/// Seed of the resampling: the same values give the same range.
const SEED: u64 = 1;

/// Range that holds the ratio of the second mean to the first in 95 of 100 resamples. `None` where
/// it is undefined, as with values of 0.
pub(crate) fn ratio_95(first: &[f64], second: &[f64]) -> Option<(f64, f64)> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut ratios: Vec<f64> = (0..DRAWS)
        .map(|_| mean_of_draw(second, &mut random) / mean_of_draw(first, &mut random))
        .collect();
    if ratios.iter().any(|ratio| !ratio.is_finite()) {
        return None;
    }
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| ratios[(share * (DRAWS - 1) as f64).round() as usize];
    Some((at(0.025), at(0.975)))
}

/// Mean of a resample of the same length, in blocks of neighbours.
fn mean_of_draw(values: &[f64], random: &mut StdRng) -> f64 {
    // The best block length for the variance of a mean grows with the cube root.
    let block = (values.len() as f64).cbrt().ceil() as usize;
    let mut sum = 0.0;
    let mut drawn = 0;
    while drawn < values.len() {
        let start = random.random_range(0..values.len());
        let length = block.min(values.len() - drawn);
        sum += (start..start + length).map(|at| values[at % values.len()]).sum::<f64>();
        drawn += length;
    }
    sum / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_holds_the_ratio_in_most_cases() {
        let mut random = StdRng::seed_from_u64(5);
        let mut draw =
            |mean: f64| (0..40).map(|_| mean + random.random::<f64>()).collect::<Vec<_>>();
        let holds = (0..100)
            .filter(|_| {
                let (least, most) = ratio_95(&draw(1.0), &draw(2.5)).unwrap();
                (least..=most).contains(&2.0)
            })
            .count();
        assert!((85..=100).contains(&holds), "{holds} of 100");
    }

    #[test]
    fn equal_values_have_no_range() {
        assert_eq!(ratio_95(&[2.0; 9], &[3.0; 9]), Some((1.5, 1.5)));
        assert_eq!(ratio_95(&[0.0; 9], &[0.0; 9]), None);
    }
}
