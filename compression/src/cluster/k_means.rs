//! k-means in one dimension (Lloyd 1982).
//!
//! On sorted values a cluster is a range, found by searching for the middles between the centroids.
//! Its mean follows from prefix sums. So an iteration takes `k log n` steps for `k` clusters of `n`
//! values.

use super::ClusterInit;
use rayon::prelude::*;

/// Limit of iterations, far above those seen: rounding might let clusters alternate for ever.
const ITERATIONS_MAX: usize = 10_000;

/// Values in ascending order.
pub(super) struct Sorted {
    values: Vec<f32>,
    /// Prefix sums: the sum of the values before each index, and of all.
    sums: Vec<f64>,
}

/// Clusters that have converged.
pub(super) struct Clusters {
    /// Means of the clusters that hold values, ascending.
    pub(super) centroids: Vec<f64>,
    /// Number of iterations.
    pub(super) iterations: usize,
}

impl Sorted {
    /// Sorts finite values.
    pub(super) fn of(mut values: Vec<f32>) -> Self {
        values.par_sort_unstable_by(f32::total_cmp);
        let mut sums = Vec::with_capacity(values.len() + 1);
        sums.push(0.0);
        let mut sum = 0.0;
        for value in &values {
            sum += f64::from(*value);
            sums.push(sum);
        }
        Self { values, sums }
    }

    /// Returns the values, ascending.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Finds `count` clusters, or one for each value where there are fewer.
    ///
    /// Some initializations leave centroids without values for good: a pruned layer has a wide gap
    /// around zero. Once the clusters converge, those centroids move to where the error is largest,
    /// and the iteration goes on.
    pub(super) fn cluster(&self, count: usize, init: ClusterInit) -> Clusters {
        if let Some(centroids) = self.distinct(count) {
            return Clusters { centroids, iterations: 0 };
        }
        let mut clusters = Clusters { centroids: init.centroids(self, count), iterations: 0 };
        loop {
            self.iterate(&mut clusters);
            let missing = count - clusters.centroids.len();
            if missing == 0 || !self.split(&mut clusters.centroids, missing) {
                return clusters;
            }
        }
    }

    /// Iterates until the clusters stay the same, and drops those without values.
    fn iterate(&self, clusters: &mut Clusters) {
        let mut ends = self.ends(&clusters.centroids);
        while clusters.iterations < ITERATIONS_MAX {
            clusters.iterations += 1;
            self.move_to_means(&mut clusters.centroids, &ends);
            let moved = self.ends(&clusters.centroids);
            if moved == ends {
                break;
            }
            ends = moved;
        }
        clusters.centroids = non_empty(&clusters.centroids, &ends);
    }

    /// Splits the `count` clusters of the largest errors at their means, which never increases the
    /// error. Returns true if any could be split.
    fn split(&self, centroids: &mut Vec<f64>, count: usize) -> bool {
        let ends = self.ends(centroids);
        let ranges: Vec<(usize, usize)> =
            [0].iter().chain(&ends).copied().zip(ends.iter().copied()).collect();
        let mut errors: Vec<(f64, usize)> = ranges
            .iter()
            .enumerate()
            .map(|(index, range)| (self.error_of(*range, centroids[index]), index))
            .collect();
        errors.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let before = centroids.len();
        for (_, index) in errors.into_iter().take(count) {
            if let Some((lower, upper)) = self.halves(ranges[index]) {
                centroids[index] = lower;
                centroids.push(upper);
            }
        }
        centroids.sort_unstable_by(f64::total_cmp);
        centroids.len() > before
    }

    /// Returns the sum of the squared distances of a range from its centroid.
    fn error_of(&self, (begin, end): (usize, usize), centroid: f64) -> f64 {
        // Sequential, so that the sum is the same on any number of threads.
        let values = self.values[begin..end].iter();
        values.map(|value| (f64::from(*value) - centroid).powi(2)).sum()
    }

    /// Returns the means of the values below and above the mean of a range; `None` when all are
    /// equal.
    fn halves(&self, (begin, end): (usize, usize)) -> Option<(f64, f64)> {
        let values = &self.values[begin..end];
        let mean = self.mean(begin, end);
        let middle = begin + values.partition_point(|value| f64::from(*value) < mean);
        let both = begin < middle && middle < end && values.first() < values.last();
        both.then(|| (self.mean(begin, middle), self.mean(middle, end)))
    }

    fn mean(&self, begin: usize, end: usize) -> f64 {
        (self.sums[end] - self.sums[begin]) / (end - begin) as f64
    }

    /// Returns the distinct values if they are at most `count`.
    fn distinct(&self, count: usize) -> Option<Vec<f64>> {
        let mut distinct: Vec<f64> = Vec::new();
        let mut rest = self.values.as_slice();
        while let Some(value) = rest.first() {
            if distinct.len() == count {
                return None;
            }
            distinct.push(f64::from(*value));
            rest = &rest[rest.partition_point(|other| other <= value)..];
        }
        Some(distinct)
    }

    /// Returns the end of each centroid's range: the values nearer to it than to the next.
    fn ends(&self, centroids: &[f64]) -> Vec<usize> {
        let middles = centroids.windows(2).map(|pair| f64::midpoint(pair[0], pair[1]));
        let ends =
            middles.map(|middle| self.values.partition_point(|value| f64::from(*value) < middle));
        ends.chain([self.values.len()]).collect()
    }

    /// Moves each centroid to the mean of its values. An empty one stays: it may get values when
    /// its neighbours move away.
    fn move_to_means(&self, centroids: &mut [f64], ends: &[usize]) {
        let mut begin = 0;
        for (centroid, end) in centroids.iter_mut().zip(ends) {
            if *end > begin {
                *centroid = self.mean(begin, *end);
            }
            begin = *end;
        }
    }
}

/// Returns the centroids that hold values.
fn non_empty(centroids: &[f64], ends: &[usize]) -> Vec<f64> {
    let begins = [0].iter().chain(ends);
    let ranges = begins.zip(ends).map(|(begin, end)| end > begin);
    centroids.iter().zip(ranges).filter(|(_, holds)| *holds).map(|(value, _)| *value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Sorted {
        /// Returns the sum of the squared distances of the values from their centroids.
        fn error(&self, centroids: &[f64], ends: &[usize]) -> f64 {
            let mut begin = 0;
            let mut error = 0.0;
            for (centroid, end) in centroids.iter().zip(ends) {
                let squares = self.values[begin..*end].iter();
                error += squares.map(|value| (f64::from(*value) - centroid).powi(2)).sum::<f64>();
                begin = *end;
            }
            error
        }
    }

    fn inits() -> impl Strategy<Value = ClusterInit> {
        prop_oneof![
            Just(ClusterInit::Linear),
            Just(ClusterInit::Density),
            any::<u64>().prop_map(|seed| ClusterInit::Forgy { seed }),
        ]
    }

    proptest! {
        #[test]
        fn no_iteration_makes_the_error_larger(
            values in prop::collection::vec(-10.0_f32..10.0, 1..300),
            init in inits(), count in 1_usize..20,
        ) {
            let sorted = Sorted::of(values);
            let mut centroids = init.centroids(&sorted, count);
            prop_assert_eq!(centroids.len(), count);
            prop_assert!(centroids.is_sorted());
            let mut ends = sorted.ends(&centroids);
            let mut before = sorted.error(&centroids, &ends);
            for _ in 0..20 {
                sorted.move_to_means(&mut centroids, &ends);
                ends = sorted.ends(&centroids);
                let after = sorted.error(&centroids, &ends);
                prop_assert!(after <= before * (1.0 + 1e-12) + 1e-12, "{after} after {before}");
                before = after;
            }
        }

        #[test]
        fn converged_values_are_with_the_nearest_mean(
            values in prop::collection::vec(-10.0_f32..10.0, 1..300),
            init in inits(), count in 1_usize..20,
        ) {
            let sorted = Sorted::of(values);
            let found = sorted.cluster(count, init);
            prop_assert!(found.centroids.len() <= count && found.iterations < ITERATIONS_MAX);
            let ends = sorted.ends(&found.centroids);
            let mut moved = found.centroids.clone();
            sorted.move_to_means(&mut moved, &ends);
            let mut distinct: Vec<f32> = sorted.values.clone();
            distinct.dedup();
            prop_assert_eq!(found.centroids.len(), count.min(distinct.len()));
            let distances = moved.iter().zip(&found.centroids).map(|(a, b)| (a - b).abs());
            prop_assert!(distances.fold(0.0, f64::max) < 1e-9);
        }
    }

    #[test]
    fn clear_clusters_are_found() {
        let values = vec![1.0, 9.0, 1.2, 5.0, 0.8, 5.2, 9.2, 8.8, 4.8];
        let found = Sorted::of(values).cluster(3, ClusterInit::Linear);
        let expected = [1.0, 5.0, 9.0];
        let near = found.centroids.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(found.centroids.len() == 3 && near, "{:?}", found.centroids);
    }

    #[test]
    fn no_centroid_is_empty_after_pruning() {
        let values: Vec<f32> = (0..1000).map(|position| 5.0 + position as f32 / 1e3).collect();
        let mirrored = values.iter().map(|value| -value);
        let sorted = Sorted::of(values.iter().copied().chain(mirrored).collect());
        let found = sorted.cluster(16, ClusterInit::Linear);
        assert_eq!(found.centroids.len(), 16);
        let error = sorted.error(&found.centroids, &sorted.ends(&found.centroids));
        // The best is eight even steps on each side, each of width 1/8 and variance 1/12 of its
        // square.
        assert!(error / 2000.0 < 1.3 / (12.0 * 64.0), "{error}");
    }

    #[test]
    fn few_values_stay_as_they_are() {
        let found = Sorted::of(vec![3.0, -1.0, 3.0, 7.5, -1.0]).cluster(4, ClusterInit::Linear);
        assert_eq!((found.centroids, found.iterations), (vec![-1.0, 3.0, 7.5], 0));
        assert!(Sorted::of(vec![]).cluster(4, ClusterInit::Density).centroids.is_empty());
    }
}
