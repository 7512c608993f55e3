//! Latencies by rate without what happened by chance at one of the rates: a server that is asked
//! more often does not answer sooner, so that each quantile rises with the rate.
//!
//! Isotonic regression by medians: where a quantile falls from one rate to the next, both get the
//! median of the two, and so on until none falls (pool adjacent violators; Robertson and Waltman,
//! Annals of Mathematical Statistics 39, 1968). A stall in one window moves a mean a lot, and a
//! median hardly.

use crate::profile::Level;
use crate::quantiles::{Quantiles, SHARES, sorted_at};

/// Makes the quantiles of latency rise with the rate.
pub(super) fn smooth(levels: &mut [Level]) {
    let by_share: Vec<Vec<f64>> = SHARES
        .iter()
        .map(|&share| rising(levels.iter().map(|level| level.latency_us.at(share))))
        .collect();
    for (index, level) in levels.iter_mut().enumerate() {
        // In order by share as well: medians of rising values could cross.
        level.latency_us = Quantiles::of_rising(by_share.iter().map(|values| values[index]));
    }
}

/// The values with those that fall made alike.
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
    sorted_at(sorted, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falls_is_made_alike_and_a_single_stall_counts_little() {
        let found = rising([6.0, 7.2, 7.1, 41.8, 9.9, 13.0, 21.0].into_iter());
        assert_eq!(found[0], 6.0);
        assert!(found.is_sorted() && found[3] <= 13.0 && found[6] == 21.0, "{found:?}");
        assert_eq!(rising([1.0, 2.0, 3.0].into_iter()), [1.0, 2.0, 3.0]);
        assert_eq!(rising([3.0, 2.0, 1.0].into_iter()), [2.0, 2.0, 2.0]);
    }

    #[test]
    fn each_level_keeps_its_order() {
        let level =
            |us: [f64; 3]| Level { latency_us: Quantiles::of(us.to_vec()), ..Level::default() };
        let mut levels = [level([1.0, 9.0, 90.0]), level([2.0, 5.0, 9.0]), level([2.0, 6.0, 20.0])];
        smooth(&mut levels);
        assert!(levels.iter().all(|level| level.latency_us.is_valid()));
        assert!(levels[0].latency_us.at(1.0) <= 20.0);
    }
}
