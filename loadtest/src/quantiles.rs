//! Distribution as a table of its quantiles, denser towards its tail.

use serde::{Deserialize, Serialize};

/// Shares at which a table has values.
pub const SHARES: [f64; 37] = [
    0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65,
    0.7, 0.75, 0.8, 0.825, 0.85, 0.875, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99,
    0.995, 0.9975, 0.999, 0.9995, 1.0,
];

/// Values at [`SHARES`], each at least the one before; empty without data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantiles(Vec<f64>);

impl Quantiles {
    /// Makes a table from values in any order.
    pub fn from_values(mut values: Vec<f64>) -> Self {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        if values.is_empty() {
            return Self::default();
        }
        Self(SHARES.map(|share| sorted_quantile(&values, share)).to_vec())
    }

    /// Makes a table from the values at [`SHARES`]; empty if one of them is not a number.
    pub fn from_shares(values: [f64; SHARES.len()]) -> Self {
        if values.iter().all(|value| value.is_finite()) {
            Self(values.to_vec())
        } else {
            Self::default()
        }
    }

    /// Makes a table from values at [`SHARES`], each raised to at least the one before.
    pub fn from_rising(values: impl Iterator<Item = f64>) -> Self {
        let mut least = 0.0_f64;
        let rising = values.map(|value| {
            least = least.max(value);
            least
        });
        let values: Vec<f64> = rising.collect();
        if values.len() == SHARES.len() { Self(values) } else { Self::default() }
    }

    /// Mixes tables by weight.
    pub fn mixture(tables: &[(&Self, f64)]) -> Self {
        const VALUES: usize = 20_000;
        let total: f64 = tables.iter().map(|(_, weight)| weight).sum();
        let mut values = Vec::with_capacity(VALUES + tables.len());
        for (table, weight) in tables {
            let count = (VALUES as f64 * weight / total.max(f64::MIN_POSITIVE)).round() as usize;
            values.extend(table.evenly_spaced(count));
        }
        Self::from_values(values)
    }

    /// True without data.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the table has the right length and rising values of at least 0.
    pub fn is_valid(&self) -> bool {
        let in_order = self.0.is_sorted() && self.0.iter().all(|value| value.is_finite());
        in_order
            && self.0.first().is_none_or(|&least| least >= 0.0)
            && (self.0.is_empty() || self.0.len() == SHARES.len())
    }

    /// Value at a share, interpolated; 0 without data.
    pub fn at(&self, share: f64) -> f64 {
        let above = SHARES.partition_point(|&known| known < share).min(SHARES.len() - 1);
        let below = above.saturating_sub(1);
        let (Some(low), Some(high)) = (self.0.get(below), self.0.get(above)) else { return 0.0 };
        let width = SHARES[above] - SHARES[below];
        let part = if width > 0.0 { (share - SHARES[below]) / width } else { 0.0 };
        low + part.clamp(0.0, 1.0) * (high - low)
    }

    /// Evenly spaced values, each in the middle of its share.
    pub fn evenly_spaced(&self, count: usize) -> impl Iterator<Item = f64> + '_ {
        let count = if self.is_empty() { 0 } else { count };
        (0..count).map(move |index| self.at((index as f64 + 0.5) / count as f64))
    }
}

/// Quantile of sorted values, interpolated; 0 without any.
pub fn sorted_quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let index = place as usize;
    let next = sorted[(index + 1).min(last)];
    sorted[index] + (place - index as f64) * (next - sorted[index])
}

/// Median of values in any order, the mean of the two middle ones where their number is even; 0
/// without any.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted_quantile(&sorted, 0.5)
}

/// Smallest value that at least this share of all do not exceed; reorders the values.
pub fn nearest_rank<T: Copy + Ord>(values: &mut [T], share: f64) -> Option<T> {
    let rank = (values.len() as f64 * share).ceil() as usize;
    let index = rank.clamp(1, values.len().max(1)) - 1;
    (index < values.len()).then(|| *values.select_nth_unstable(index).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hundred(first: u32) -> Quantiles {
        Quantiles::from_values((first..=first + 100).map(f64::from).collect())
    }

    #[test]
    fn a_table_has_the_values_of_its_shares() {
        let table = hundred(0);
        assert!(table.is_valid() && SHARES.is_sorted());
        for share in [0.0, 0.005, 0.33, 0.5, 0.99, 1.0] {
            assert!((table.at(share) - 100.0 * share).abs() < 1e-9, "{share}");
        }
        assert_eq!(table.evenly_spaced(4).collect::<Vec<_>>(), [12.5, 37.5, 62.5, 87.5]);
    }

    #[test]
    fn a_mixture_is_of_all() {
        let mixed = Quantiles::mixture(&[(&hundred(0), 3.0), (&hundred(1_000), 1.0)]);
        assert!((mixed.at(0.5) - 66.7).abs() < 1.0, "{}", mixed.at(0.5));
        assert!((mixed.at(0.9) - 1_060.0).abs() < 2.0, "{}", mixed.at(0.9));
    }

    #[test]
    fn empty_and_invalid_tables() {
        let nothing = Quantiles::from_values(vec![f64::NAN]);
        assert!(nothing.is_empty() && nothing.is_valid() && nothing.at(0.5) == 0.0);
        assert_eq!(nothing.evenly_spaced(5).count(), 0);
        let wrong: [Vec<f64>; 3] = [vec![1.0; 3], vec![-1.0; SHARES.len()], {
            let mut falling = vec![1.0; SHARES.len()];
            falling[0] = 2.0;
            falling
        }];
        assert!(wrong.into_iter().all(|values| !Quantiles(values).is_valid()));
    }

    #[test]
    fn medians_and_nearest_ranks_of_few_values() {
        assert_eq!(nearest_rank::<u32>(&mut [], 0.99), None);
        assert_eq!(nearest_rank(&mut [3, 1, 2], 0.99), Some(3));
        assert_eq!(nearest_rank(&mut [3, 1, 2], 0.0), Some(1));
        assert_eq!((median(&[]), median(&[3.0, 1.0, 2.0]), median(&[1.0, 2.0])), (0.0, 2.0, 1.5));
    }
}
