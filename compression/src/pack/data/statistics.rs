//! Statistics of an input or an output, a reference to detect drift.

use super::files::integers;
use half::{bf16, f16};
use skysail_compression::Statistics;
use skysail_graph::{ElementType, Tensor};

/// Limit of the sample for quantiles: of more elements, evenly spaced ones are kept.
const SAMPLE_MAX: usize = 1 << 18;
/// Number of equal parts that the quantiles divide the elements into.
const PARTS: usize = 10;

/// Running statistics of elements, batch by batch (mean and variance after Welford 1962).
#[derive(Debug, Default)]
pub(crate) struct RunningStatistics {
    count: u64,
    mean: f64,
    /// Sum of the squared differences from the mean.
    squares: f64,
    range: Option<(f64, f64)>,
    sample: Vec<f64>,
    /// Logarithm to base 2 of the sampling interval.
    every: u32,
}

impl RunningStatistics {
    /// Adds the finite elements of a tensor.
    pub(crate) fn add(&mut self, tensor: &Tensor) {
        for value in numbers(tensor).into_iter().filter(|value| value.is_finite()) {
            if self.count & ((1 << self.every) - 1) == 0 {
                self.pick(value);
            }
            self.count += 1;
            let apart = value - self.mean;
            self.mean += apart / self.count as f64;
            self.squares += apart * (value - self.mean);
            let (low, high) = self.range.unwrap_or((value, value));
            self.range = Some((low.min(value), high.max(value)));
        }
    }

    fn pick(&mut self, value: f64) {
        self.sample.push(value);
        if self.sample.len() == SAMPLE_MAX {
            // Every other element stays: those of the doubled interval.
            let mut position = 0;
            self.sample.retain(|_| {
                position += 1;
                position % 2 == 1
            });
            self.every += 1;
        }
    }

    /// Returns the statistics; `None` without elements.
    pub(crate) fn statistics(mut self) -> Option<Statistics> {
        let (min, max) = self.range?;
        self.sample.sort_by(f64::total_cmp);
        let last = self.sample.len().saturating_sub(1);
        let quantile = |part: usize| self.sample.get(last * part / PARTS).copied();
        Some(Statistics {
            count: self.count,
            mean: short(self.mean),
            deviation: short((self.squares / self.count as f64).sqrt()),
            min: short(min),
            max: short(max),
            quantiles: (1..PARTS).filter_map(quantile).map(short).collect(),
            ..Statistics::default()
        })
    }
}

/// Rounds to six digits: each digit takes a byte, and drift is larger.
fn short(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    fn read<T: bytemuck::Pod>(bytes: &[u8], widen: fn(T) -> f64) -> Vec<f64> {
        bytemuck::pod_collect_to_vec::<u8, T>(bytes).into_iter().map(widen).collect()
    }
    let bytes = tensor.bytes();
    match tensor.element() {
        ElementType::Float32 => read::<f32>(bytes, f64::from),
        ElementType::Float64 => read::<f64>(bytes, |value| value),
        ElementType::Float16 => read::<f16>(bytes, f16::to_f64),
        ElementType::BFloat16 => read::<bf16>(bytes, bf16::to_f64),
        ElementType::Bool => read::<u8>(bytes, f64::from),
        _ => integers(tensor).unwrap_or_default().into_iter().map(|value| value as f64).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_batches_count() {
        let mut seen = RunningStatistics::default();
        seen.add(&Tensor::new(&[2], &[1.0_f32, f32::NAN]).unwrap());
        seen.add(&Tensor::new(&[3], &[2_i64, 3, 6]).unwrap());
        let found = seen.statistics().unwrap();
        assert_eq!((found.count, found.mean, found.min, found.max), (4, 3.0, 1.0, 6.0));
        assert!((found.deviation - 3.5_f64.sqrt()).abs() < 1e-4);
        assert_eq!(found.quantiles.len(), 9);
        assert_eq!(found.quantiles[8], 3.0);
        assert_eq!(RunningStatistics::default().statistics(), None);
    }

    #[test]
    fn a_sample_of_very_many_elements_is_kept() {
        let values: Vec<u32> = (0..1_000_000).collect();
        let mut seen = RunningStatistics::default();
        seen.add(&Tensor::new(&[1_000_000], &values).unwrap());
        assert!(seen.sample.len() < SAMPLE_MAX);
        let median = seen.statistics().unwrap().quantiles[4];
        assert!((median - 500_000.0).abs() < 100.0, "{median}");
    }
}
