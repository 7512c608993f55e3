//! The distribution of a tensor's values, counted as batches arrive.

use super::Summary;

/// Bins on each side of zero.
pub(super) const BINS: usize = 2048;

/// Counts of values by magnitude and sign. Larger values join bins in pairs, so that the range
/// doubles: at least half of the bins lie below the largest value.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper edge of the last bin; 0 until a value other than zero arrives.
    limit: f64,
    zeros: u64,
    positive: Vec<u64>,
    negative: Vec<u64>,
    lowest: f32,
    highest: f32,
}

impl Default for Histogram {
    /// Creates an empty histogram.
    fn default() -> Self {
        Self {
            limit: 0.0,
            zeros: 0,
            positive: vec![0; BINS],
            negative: vec![0; BINS],
            lowest: f32::INFINITY,
            highest: f32::NEG_INFINITY,
        }
    }
}

impl Summary for Histogram {
    fn add(&mut self, values: &[f32], _: &[u64]) {
        let fold = |(low, high): (f32, f32), value: &f32| (low.min(*value), high.max(*value));
        let (low, high) = values.iter().fold((self.lowest, self.highest), fold);
        if values.is_empty() {
            return;
        }
        (self.lowest, self.highest) = (low, high);
        self.extend_to(f64::from(high.max(-low)));
        let bins_per_unit = BINS as f64 / self.limit;
        for value in values {
            // The limit may be 0: 0 / 0 then belongs to the branch of zeros.
            let bin = ((f64::from(value.abs()) * bins_per_unit) as usize).min(BINS - 1);
            match value.partial_cmp(&0.0) {
                Some(std::cmp::Ordering::Greater) => self.positive[bin] += 1,
                Some(std::cmp::Ordering::Less) => self.negative[bin] += 1,
                _ => self.zeros += 1,
            }
        }
    }
}

impl Histogram {
    /// Returns the smallest and the largest value; `None` when the histogram is empty.
    pub fn bounds(&self) -> Option<(f32, f32)> {
        (self.lowest <= self.highest).then_some((self.lowest, self.highest))
    }

    /// Returns the number of values.
    pub fn count(&self) -> u64 {
        self.zeros + self.positive.iter().chain(&self.negative).sum::<u64>()
    }

    /// Returns the counts of nonzero values by magnitude, of either sign, and the width of a bin.
    pub(super) fn magnitudes(&self) -> (Vec<u64>, f64) {
        let pairs = self.positive.iter().zip(&self.negative);
        (pairs.map(|(above, below)| above + below).collect(), self.limit / BINS as f64)
    }

    /// Returns the value that a share of all values do not exceed, to the width of a bin; `None`
    /// when the histogram is empty.
    pub fn quantile(&self, share: f64) -> Option<f32> {
        let (lowest, highest) = self.bounds()?;
        let width = self.limit / BINS as f64;
        let below = self.negative.iter().enumerate().rev();
        let below = below.map(|(bin, count)| (-(bin as f64) * width, *count));
        let above = self.positive.iter().enumerate();
        let above = above.map(|(bin, count)| ((bin + 1) as f64 * width, *count));
        let wanted = share.clamp(0.0, 1.0) * self.count() as f64;
        let mut passed = 0;
        for (edge, count) in below.chain([(0.0, self.zeros)]).chain(above) {
            passed += count;
            if count > 0 && passed as f64 >= wanted {
                return Some((edge as f32).clamp(lowest, highest));
            }
        }
        Some(highest)
    }

    /// Widens the bins until they reach this magnitude.
    fn extend_to(&mut self, size: f64) {
        if self.limit == 0.0 {
            self.limit = size;
        }
        while self.limit < size {
            self.limit *= 2.0;
            for bins in [&mut self.positive, &mut self.negative] {
                let joined: Vec<u64> = bins.chunks(2).map(|pair| pair.iter().sum()).collect();
                bins.fill(0);
                bins[..joined.len()].copy_from_slice(&joined);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(batches: &[&[f32]]) -> Histogram {
        let mut histogram = Histogram::default();
        batches.iter().for_each(|values| histogram.add(values, &[]));
        histogram
    }

    #[test]
    fn an_empty_histogram_has_no_bounds() {
        let empty = histogram(&[&[]]);
        assert_eq!((empty.bounds(), empty.quantile(0.5), empty.count()), (None, None, 0));
        let zeros = histogram(&[&[0.0, -0.0]]);
        assert_eq!((zeros.bounds(), zeros.quantile(1.0)), (Some((0.0, 0.0)), Some(0.0)));
    }

    #[test]
    fn the_range_grows_with_larger_values() {
        let grown = histogram(&[&[0.5, -0.25], &[0.0, 100.0]]);
        assert_eq!((grown.bounds(), grown.count()), (Some((-0.25, 100.0)), 4));
        assert_eq!(grown.quantile(1.0), Some(100.0));
        // The tolerance is the width of a bin, 128 / 2048.
        assert!((grown.quantile(0.75).unwrap() - 0.5).abs() <= 0.0625);
        assert_eq!(grown.quantile(0.5), Some(0.0));
    }

    proptest! {
        #[test]
        fn quantiles_are_exact_to_a_bin(
            values in prop::collection::vec(-8.0_f32..8.0, 1..200), share in 0.01..=1.0_f64,
        ) {
            let (first, second) = values.split_at(values.len() / 2);
            let found = histogram(&[first, second]).quantile(share).unwrap();
            let mut sorted = values.clone();
            sorted.sort_by(f32::total_cmp);
            let position = (share * values.len() as f64).ceil() as usize - 1;
            prop_assert!((found - sorted[position]).abs() <= 16.0 / BINS as f32 + 1e-6);
        }
    }
}
