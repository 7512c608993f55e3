//! Runs by the size of their batch. Usual sizes are counted without a lock.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Batch sizes that are told apart. Callers choose the sizes of requests that run alone.
const SIZES_MAX: usize = 1024;

/// Sizes up to this, and 0, have a place of their own.
const USUAL_MAX: usize = 128;

/// Runs of one batch size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchStatistics {
    /// Runs.
    pub count: u64,
    /// Gathering inputs.
    pub input_ns: u64,
    /// Running the model.
    pub infer_ns: u64,
    /// Giving members their outputs.
    pub output_ns: u64,
}

#[derive(Default)]
pub(super) struct Sizes {
    usual: OnceLock<Box<[Size]>>,
    /// They run for so long that a lock is nothing beside it.
    large: Mutex<BTreeMap<usize, BatchStatistics>>,
}

#[derive(Default)]
struct Size {
    count: AtomicU64,
    ns: [AtomicU64; 3],
}

impl Sizes {
    /// Counts a run: its times of gathering, running and splitting, in nanoseconds.
    pub(super) fn record(&self, rows: usize, ns: [u64; 3]) {
        let usual = || (0..=USUAL_MAX).map(|_| Size::default()).collect();
        let Some(size) = self.usual.get_or_init(usual).get(rows) else {
            return self.record_large(rows, ns);
        };
        size.count.fetch_add(1, Relaxed);
        for (sum, ns) in size.ns.iter().zip(ns) {
            sum.fetch_add(ns, Relaxed);
        }
    }

    fn record_large(&self, rows: usize, [input_ns, infer_ns, output_ns]: [u64; 3]) {
        let mut large = self.large.lock();
        if large.len() + USUAL_MAX >= SIZES_MAX && !large.contains_key(&rows) {
            return;
        }
        let size = large.entry(rows).or_default();
        size.count += 1;
        size.input_ns += input_ns;
        size.infer_ns += infer_ns;
        size.output_ns += output_ns;
    }

    /// Sizes that were run.
    pub(super) fn all(&self) -> BTreeMap<usize, BatchStatistics> {
        let mut all = self.large.lock().clone();
        let usual = self.usual.get().into_iter().flatten().enumerate();
        all.extend(usual.map(|(rows, size)| (rows, size.get())).filter(|(_, size)| size.count > 0));
        all
    }
}

impl Size {
    fn get(&self) -> BatchStatistics {
        let [input_ns, infer_ns, output_ns] = self.ns.each_ref().map(|ns| ns.load(Relaxed));
        BatchStatistics { count: self.count.load(Relaxed), input_ns, infer_ns, output_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_limit_to_the_batch_sizes_told_apart() {
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
