//! The range of a tensor that its codes span.

use super::Histogram;
use super::entropy::entropy_limit;

/// Rule that chooses a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RangeRule {
    /// From the smallest observed value to the largest.
    MinMax,
    /// Percentage of the values in the range, above 0 to 100; as many are cut off at either end.
    Percentile(f64),
    /// Range of the smallest Kullback-Leibler divergence (Migacz, "8-bit Inference with TensorRT",
    /// GTC 2017).
    Entropy,
}

impl RangeRule {
    /// The usual percentile, 99.99.
    pub const PERCENTILE: Self = Self::Percentile(99.99);
}

/// A range of values that contains zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    low: f32,
    high: f32,
}

impl Range {
    /// Creates a range from `low` to `high`, widened to contain zero.
    pub fn new(low: f32, high: f32) -> Self {
        Self { low: low.min(0.0), high: high.max(0.0) }
    }

    /// Returns the lower end, 0 or less.
    pub fn low(self) -> f32 {
        self.low
    }

    /// Returns the upper end, 0 or more.
    pub fn high(self) -> f32 {
        self.high
    }
}

impl Histogram {
    /// Returns the range that `rule` chooses; `None` when the histogram is empty.
    pub fn range(&self, rule: RangeRule) -> Option<Range> {
        let (low, high) = self.bounds()?;
        Some(match rule {
            RangeRule::MinMax => Range::new(low, high),
            RangeRule::Percentile(percent) => {
                let cut = (1.0 - percent / 100.0) / 2.0;
                Range::new(self.quantile(cut)?, self.quantile(1.0 - cut)?)
            }
            RangeRule::Entropy => {
                let limit = entropy_limit(self, low < 0.0 && high > 0.0);
                Range::new(low.max(-limit), high.min(limit))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Summary;
    use super::*;

    fn histogram(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.add(values, &[]);
        histogram
    }

    /// A normal distribution with one outlier.
    fn bell_with_outlier() -> Histogram {
        // Fibonacci hashing, twice, so that neighbours have nothing in common.
        let mix = |seed: u64| (seed ^ seed >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let uniform =
            |seed: u64| (mix(mix(seed).wrapping_add(1)) >> 11) as f64 / (1_u64 << 53) as f64;
        let normal = |index: u64| (0..12).map(|part| uniform(index * 12 + part)).sum::<f64>() - 6.0;
        let mut values: Vec<f32> = (1..20_000).map(|index| normal(index) as f32).collect();
        values.push(50.0);
        histogram(&values)
    }

    #[test]
    fn ranges_hold_zero() {
        let above = histogram(&[2.0, 3.0]).range(RangeRule::MinMax).unwrap();
        assert_eq!((above.low(), above.high()), (0.0, 3.0));
        let below = histogram(&[-2.0, -3.0]).range(RangeRule::MinMax).unwrap();
        assert_eq!((below.low(), below.high()), (-3.0, 0.0));
        assert_eq!(Histogram::default().range(RangeRule::MinMax), None);
        let zeros = histogram(&[0.0; 4]).range(RangeRule::Entropy).unwrap();
        assert_eq!((zeros.low(), zeros.high()), (0.0, 0.0));
    }

    #[test]
    fn rules_cut_off_outliers_except_min_max() {
        let histogram = bell_with_outlier();
        let high = |rule| histogram.range(rule).unwrap().high();
        assert_eq!(high(RangeRule::MinMax), 50.0);
        assert_eq!(high(RangeRule::Percentile(100.0)), 50.0);
        let percentile = high(RangeRule::PERCENTILE);
        assert!((2.5..6.5).contains(&percentile), "{percentile}");
        let entropy = high(RangeRule::Entropy);
        assert!((2.5..10.0).contains(&entropy), "{entropy}");
    }
}
