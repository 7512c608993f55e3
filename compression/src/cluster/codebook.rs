//! The values that weights share, and the code of each weight.

use crate::Mask;
use rayon::prelude::*;

/// A few values, and the codes of the weights that are not zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Codebook {
    /// Values, ascending, at most 2^16.
    pub centroids: Vec<f32>,
    /// Index into the values for each weight that is not zero, in row-major order.
    pub codes: Vec<u16>,
}

impl Codebook {
    /// Assigns the nearest of `centroids` to each of `values` that is not zero. Half-way between
    /// two, the upper one is chosen.
    ///
    /// `centroids` must ascend, and be at most 2^16.
    pub fn nearest(values: &[f32], centroids: Vec<f32>) -> Self {
        let middles: Vec<f64> = centroids
            .windows(2)
            .map(|pair| f64::midpoint(f64::from(pair[0]), f64::from(pair[1])))
            .collect();
        let code = |value: &f32| {
            // There are at most 2^16 - 1 middles, so the code fits.
            middles.partition_point(|middle| *middle <= f64::from(*value)) as u16
        };
        let nonzero = values.par_iter().filter(|value| **value != 0.0);
        let codes = nonzero.map(code).collect();
        Self { centroids, codes }
    }

    /// Returns the weights: shared values where `mask` keeps one, else zero. A code without a value
    /// is zero.
    pub fn decode(&self, mask: &Mask) -> Vec<f32> {
        let mut codes = self.codes.iter();
        let mut weight = |kept: &bool| {
            let code = if *kept { codes.next() } else { None };
            code.and_then(|code| self.centroids.get(usize::from(*code))).copied().unwrap_or(0.0)
        };
        mask.as_slice().iter().map(&mut weight).collect()
    }

    /// Returns the number of weights for each code.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.centroids.len()];
        for code in &self.codes {
            if let Some(count) = counts.get_mut(usize::from(*code)) {
                *count += 1;
            }
        }
        counts
    }

    /// Removes the values that no weight has.
    pub(super) fn without_unused(self) -> Self {
        let counts = self.counts();
        let mut used = 0_usize;
        let renumbered: Vec<u16> = counts
            .iter()
            .map(|count| {
                let code = used as u16;
                used += usize::from(*count > 0);
                code
            })
            .collect();
        let centroids = self.centroids.into_iter().zip(counts);
        let centroids = centroids.filter(|(_, count)| *count > 0).map(|(value, _)| value);
        let codes = self.codes.into_iter().map(|code| renumbered[usize::from(code)]);
        Self { centroids: centroids.collect(), codes: codes.collect() }
    }

    /// Returns the mean squared difference from `values`, zeros left out; 0 when all are zero.
    pub(super) fn mean_squared_error(&self, values: &[f32]) -> f64 {
        let nonzero = values.iter().filter(|value| **value != 0.0);
        let squares = nonzero.zip(&self.codes).map(|(value, code)| {
            (f64::from(*value) - f64::from(self.centroids[usize::from(*code)])).powi(2)
        });
        squares.sum::<f64>() / self.codes.len().max(1) as f64
    }

    /// Returns Shannon's entropy of the codes, in bits per code.
    pub fn entropy_bits(&self) -> f64 {
        let total = self.codes.len() as f64;
        let used = self.counts().into_iter().filter(|count| *count > 0);
        let terms = used.map(|count| {
            let share = count as f64 / total;
            -share * share.log2()
        });
        // The sum of no terms is -0, so it is added to 0.
        0.0 + terms.sum::<f64>()
    }
}
