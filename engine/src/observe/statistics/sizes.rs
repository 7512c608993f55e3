//! Statistics of runs by batch size. Common sizes are counted without a lock.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Batch sizes that are counted separately. Limited, as clients choose the sizes of requests that
/// run alone.
const SIZES_MAX: usize = 1024;

/// Largest size that is counted without a lock.
const COMMON_MAX: usize = 128;

/// Runs of one batch size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchStatistics {
    /// Number of runs.
    pub count: u64,
    /// Time of gathering inputs.
    pub input_ns: u64,
    /// Time of running the model.
    pub infer_ns: u64,
    /// Time of splitting outputs among requests.
    pub output_ns: u64,
}

#[derive(Default)]
pub(super) struct Sizes {
    common: OnceLock<Box<[SizeCounters]>>,
    /// Sizes above [`COMMON_MAX`]. Their runs are so long that a lock does not matter.
    large: Mutex<BTreeMap<usize, BatchStatistics>>,
}

#[derive(Default)]
struct SizeCounters {
    count: AtomicU64,
    ns: [AtomicU64; 3],
}

impl Sizes {
    /// Counts a run with its times of gathering, running and splitting, in nanoseconds.
    pub(super) fn record(&self, rows: usize, ns: [u64; 3]) {
        let common = || (0..=COMMON_MAX).map(|_| SizeCounters::default()).collect();
        let Some(size) = self.common.get_or_init(common).get(rows) else {
            return self.record_large(rows, ns);
        };
        size.count.fetch_add(1, Relaxed);
        for (sum, ns) in size.ns.iter().zip(ns) {
            sum.fetch_add(ns, Relaxed);
        }
    }

    fn record_large(&self, rows: usize, [input_ns, infer_ns, output_ns]: [u64; 3]) {
        let mut large = self.large.lock();
        if large.len() + COMMON_MAX >= SIZES_MAX && !large.contains_key(&rows) {
            return;
        }
        let size = large.entry(rows).or_default();
        size.count += 1;
        size.input_ns += input_ns;
        size.infer_ns += infer_ns;
        size.output_ns += output_ns;
    }

    /// Statistics of all sizes that were run.
    pub(super) fn all(&self) -> BTreeMap<usize, BatchStatistics> {
        let mut all = self.large.lock().clone();
        let common = self.common.get().into_iter().flatten().enumerate();
        all.extend(
            common.map(|(rows, size)| (rows, size.get())).filter(|(_, size)| size.count > 0),
        );
        all
    }
}

impl SizeCounters {
    fn get(&self) -> BatchStatistics {
        let [input_ns, infer_ns, output_ns] = self.ns.each_ref().map(|ns| ns.load(Relaxed));
        BatchStatistics { count: self.count.load(Relaxed), input_ns, infer_ns, output_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_batch_sizes_is_limited() {
        let sizes = Sizes::default();
        for rows in (1..=SIZES_MAX + 5).chain([1, SIZES_MAX]) {
            sizes.record(rows, [0, 3, 2]);
        }
        let all = sizes.all();
        assert_eq!(all.len(), SIZES_MAX);
        let twice = BatchStatistics { count: 2, input_ns: 0, infer_ns: 6, output_ns: 4 };
        assert_eq!((all[&1], all[&SIZES_MAX]), (twice, twice));
    }
}
