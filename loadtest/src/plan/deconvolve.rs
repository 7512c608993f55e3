//! Deconvolution: estimates the distribution of the latency outside the engine. Engine latency plus
//! an independent sample of it is distributed like the measured total.

use crate::quantiles::{Quantiles, sorted_quantile};

/// Quantiles of the result.
const COUNT: usize = 1_000;
/// Sums of pairs of quantiles, in all combinations alike.
const SUMS: usize = 10_000;
/// Corrections of the first estimate.
const ROUNDS: usize = 40;
/// Share of the difference that each correction removes.
const STEP: f64 = 0.5;
/// Fraction of the golden ratio: its multiples are evenly spread between 0 and 1 (Weyl 1916).
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// Evenly spaced quantiles, in microseconds and never below 0, of the latency outside the engine.
/// `inside_us` is sorted. Where no distribution fits exactly, the result is the nearest one.
pub(super) fn deconvolve(whole_us: &Quantiles, inside_us: &[u64]) -> Vec<f64> {
    let wanted: Vec<f64> = whole_us.evenly_spaced(COUNT).collect();
    let inside: Vec<f64> = inside_us.iter().map(|&us| us as f64).collect();
    let inside: Vec<f64> = (0..SUMS)
        .map(|index| sorted_quantile(&inside, (index as f64 + 0.5) / SUMS as f64))
        .collect();
    let usual = sorted_quantile(&inside, 0.5);
    let mut outside: Vec<f64> = wanted.iter().map(|us| (us - usual).max(0.0)).collect();
    if outside.is_empty() {
        return outside;
    }
    for _ in 0..ROUNDS {
        let sums = sums(&inside, &outside);
        for (index, (us, wanted_us)) in outside.iter_mut().zip(&wanted).enumerate() {
            let found_us = sorted_quantile(&sums, (index as f64 + 0.5) / COUNT as f64);
            *us = (*us + STEP * (wanted_us - found_us)).max(0.0);
        }
        outside.sort_by(f64::total_cmp);
    }
    outside
}

/// Sorted sums of independent values of both.
fn sums(inside: &[f64], outside: &[f64]) -> Vec<f64> {
    let partner = |index: usize| {
        let place = (index as f64 * GOLDEN).fract();
        outside[(place * outside.len() as f64) as usize % outside.len()]
    };
    let mut sums: Vec<f64> =
        inside.iter().enumerate().map(|(index, us)| us + partner(index)).collect();
    sums.sort_by(f64::total_cmp);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn exponential(random: &mut StdRng, mean: f64) -> f64 {
        -mean * (1.0 - random.random::<f64>()).ln()
    }

    #[test]
    fn the_result_adds_up_to_the_total() {
        let mut random = StdRng::seed_from_u64(1);
        let mut inside: Vec<u64> =
            (0..50_000).map(|_| 1_000 + exponential(&mut random, 500.0) as u64).collect();
        let around = |random: &mut StdRng| 100.0 + exponential(random, 300.0);
        let whole = inside.iter().map(|&us| us as f64 + around(&mut random)).collect();
        inside.sort_unstable();
        let whole = Quantiles::from_values(whole);
        let found = deconvolve(&whole, &inside);
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        assert!((360.0..440.0).contains(&mean), "{mean}");
        let inside: Vec<f64> =
            (0..SUMS).map(|index| inside[index * inside.len() / SUMS] as f64).collect();
        let sums = sums(&inside, &found);
        for share in [0.1, 0.5, 0.9, 0.99] {
            let (us, wanted) = (sorted_quantile(&sums, share), whole.at(share));
            assert!((us / wanted - 1.0).abs() < 0.02, "{share}: {us} {wanted}");
        }
    }

    #[test]
    fn a_total_below_the_engine_alone_has_nothing_outside() {
        let inside: Vec<u64> = (1_000..2_000).collect();
        let found = deconvolve(&Quantiles::from_values(vec![900.0; 10]), &inside);
        assert!(found.iter().all(|&us| us == 0.0));
        assert!(deconvolve(&Quantiles::default(), &inside).is_empty());
        assert_eq!(deconvolve(&Quantiles::from_values(vec![50.0; 10]), &[])[7], 50.0);
    }
}
