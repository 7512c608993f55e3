//! Smooths latencies over rates: a higher rate is never faster, so each quantile is made to rise
//! with the rate.
//!
//! Isotonic regression by medians (pool adjacent violators; Robertson and Waltman, Annals of
//! Mathematical Statistics 39, 1968). A quantile that falls from one rate to the next is replaced
//! by the median of the two, until none falls. A stall in one window changes a mean a lot, and a
//! median hardly.

use crate::profile::Level;
use crate::quantiles::{Quantiles, SHARES, sorted_quantile};

/// Makes the quantiles of latency rise with the rate.
pub(super) fn smooth(levels: &mut [Level]) {
    let by_share: Vec<Vec<f64>> = SHARES
        .iter()
        .map(|&share| rising(levels.iter().map(|level| level.latency_us.at(share))))
        .collect();
    for (index, level) in levels.iter_mut().enumerate() {
        // Medians of rising values could cross, so the quantiles are sorted, too.
        level.latency_us = Quantiles::from_rising(by_share.iter().map(|values| values[index]));
    }
}

/// Pools values that fall into blocks of one median.
fn rising(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut blocks: Vec<Vec<f64>> = Vec::new();
    for value in values {
        blocks.push(vec![value]);
        while let [.., low, high] = blocks.as_mut_slice() {
            if median(low) <= median(high) {
                break;
            }
            low.append(high);
            low.sort_by(f64::total_cmp);
            blocks.pop();
        }
    }
    blocks.iter().flat_map(|block| block.iter().map(|_| median(block))).collect()
}

fn median(sorted: &[f64]) -> f64 {
    sorted_quantile(sorted, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falling_values_are_pooled_and_a_single_stall_counts_little() {
        let found = rising([6.0, 7.2, 7.1, 41.8, 9.9, 13.0, 21.0].into_iter());
        assert_eq!(found[0], 6.0);
        assert!(found.is_sorted() && found[3] <= 13.0 && found[6] == 21.0, "{found:?}");
        assert_eq!(rising([1.0, 2.0, 3.0].into_iter()), [1.0, 2.0, 3.0]);
        assert_eq!(rising([3.0, 2.0, 1.0].into_iter()), [2.0, 2.0, 2.0]);
    }

    #[test]
    fn each_level_keeps_its_order() {
        let level = |us: [f64; 3]| Level {
            latency_us: Quantiles::from_values(us.to_vec()),
            ..Level::default()
        };
        let mut levels = [level([1.0, 9.0, 90.0]), level([2.0, 5.0, 9.0]), level([2.0, 6.0, 20.0])];
        smooth(&mut levels);
        assert!(levels.iter().all(|level| level.latency_us.is_valid()));
        assert!(levels[0].latency_us.at(1.0) <= 20.0);
    }
}
