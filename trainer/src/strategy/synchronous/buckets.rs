//! Buckets of gradients, the last layers' first.

use crate::layout::Layout;
use std::ops::Range;

/// Gradients of neighbouring entries, followed by the rows and the loss of the batch.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Range in the slice of all gradients.
    pub(super) range: Range<usize>,
    pub(super) numbers: Vec<f32>,
    /// Number of entries without a gradient yet.
    missing: usize,
}

/// Numbers after the gradients of each bucket: rows, and the loss times the rows.
const EXTRA: usize = 2;

impl Bucket {
    pub(super) fn gradients(&self) -> &[f32] {
        &self.numbers[..self.range.len()]
    }

    pub(super) fn rows(&self) -> f32 {
        self.numbers[self.range.len()]
    }

    pub(super) fn loss(&self) -> f32 {
        self.numbers[self.range.len() + 1]
    }
}

/// All buckets of a model. They are sent in order, so that all ranks send the same.
#[derive(Debug)]
pub(super) struct Buckets {
    /// The buckets; an empty one stands in for each that is being sent.
    buckets: Vec<Bucket>,
    /// Number of entries of each bucket.
    entries: Vec<usize>,
    /// Bucket and range in it, for each entry.
    positions: Vec<(usize, Range<usize>)>,
    /// Index of the next bucket to send.
    next: usize,
    returned: usize,
}

impl Buckets {
    /// Creates buckets of at least `bytes`, except the last.
    pub(super) fn new(layout: &Layout, bytes: usize) -> Self {
        let mut ranges: Vec<(Range<usize>, usize)> = Vec::new();
        let mut of_entry = Vec::new();
        for entry in layout.entries().iter().rev() {
            match ranges.last_mut() {
                Some((range, entries)) if 4 * range.len() < bytes => {
                    range.start = entry.range.start;
                    *entries += 1;
                }
                _ => ranges.push((entry.range.clone(), 1)),
            }
            of_entry.push(ranges.len() - 1);
        }
        of_entry.reverse();
        if ranges.is_empty() {
            ranges.push((0..0, 0)); // For the loss.
        }
        let position = |(entry, bucket): (&crate::layout::Entry, usize)| {
            let start = ranges[bucket].0.start;
            (bucket, entry.range.start - start..entry.range.end - start)
        };
        let positions = layout.entries().iter().zip(of_entry).map(position).collect();
        let entries = ranges.iter().map(|(_, entries)| *entries).collect();
        let bucket = |(range, missing): (Range<usize>, usize)| {
            let numbers = vec![0.0; range.len() + EXTRA];
            Bucket { range, numbers, missing }
        };
        let buckets = ranges.into_iter().map(bucket).collect();
        Self { buckets, entries, positions, next: 0, returned: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.buckets.len()
    }

    /// Starts a step with a batch of `rows` rows; without rows all gradients are 0.
    pub(super) fn start(&mut self, rows: usize) {
        (self.next, self.returned) = (0, 0);
        for (bucket, entries) in self.buckets.iter_mut().zip(&self.entries) {
            bucket.missing = *entries;
            let len = bucket.range.len();
            if rows == 0 {
                bucket.numbers.fill(0.0);
            }
            bucket.numbers[len..].copy_from_slice(&[rows as f32, 0.0]);
        }
    }

    /// Stores an entry's gradient, times `factor`, in its bucket. Returns the buckets that can be
    /// sent: full ones whose predecessors are sent. The last one waits for the loss.
    pub(super) fn fill(
        &mut self,
        entry: usize,
        gradient: &[f32],
        factor: f32,
    ) -> impl Iterator<Item = Bucket> + '_ {
        let (bucket, position) = &self.positions[entry];
        let bucket = &mut self.buckets[*bucket];
        let to = &mut bucket.numbers[position.clone()];
        to.iter_mut().zip(gradient).for_each(|(to, gradient)| *to = gradient * factor);
        bucket.missing = bucket.missing.saturating_sub(1);
        std::iter::from_fn(|| {
            let full = self.buckets.get(self.next).is_some_and(|bucket| bucket.missing == 0);
            (full && self.next + 1 < self.buckets.len()).then(|| self.next_bucket())
        })
    }

    /// Stores the loss, times the rows, in the last bucket.
    pub(super) fn set_loss(&mut self, loss: f32) {
        if let Some(last) = self.buckets.last_mut() {
            let len = last.range.len();
            last.numbers[len + 1] = loss;
        }
    }

    /// The buckets that are not sent yet.
    pub(super) fn remaining(&mut self) -> impl Iterator<Item = Bucket> + '_ {
        std::iter::from_fn(|| (self.next < self.buckets.len()).then(|| self.next_bucket()))
    }

    fn next_bucket(&mut self) -> Bucket {
        self.next += 1;
        std::mem::take(&mut self.buckets[self.next - 1])
    }

    /// Puts back a bucket; they return in the order in which they were sent.
    pub(super) fn put_back(&mut self, bucket: Bucket) {
        self.buckets[self.returned] = bucket;
        self.returned += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::EntryKind;

    fn layout() -> Layout {
        let mut layout = Layout::default();
        for (name, len) in [("a", 4), ("b", 1), ("c", 2), ("d", 1)] {
            layout.push(name, &[len], EntryKind::Weight);
        }
        layout
    }

    fn ranges(buckets: impl Iterator<Item = Bucket>) -> Vec<(usize, usize)> {
        buckets.map(|bucket| (bucket.range.start, bucket.range.end)).collect()
    }

    #[test]
    fn buckets_are_filled_from_the_last_entry_to_the_first() {
        let mut buckets = Buckets::new(&layout(), 9);
        assert_eq!(ranges(buckets.remaining()), [(5, 8), (0, 5)]);
    }

    #[test]
    fn a_bucket_is_sent_when_it_and_all_earlier_ones_are_full() {
        let mut buckets = Buckets::new(&layout(), 1);
        buckets.start(1);
        assert!(ranges(buckets.fill(2, &[1.0, 2.0], 1.0)).is_empty());
        assert_eq!(ranges(buckets.fill(3, &[3.0], 1.0)), [(7, 8), (5, 7)]);
        assert!(ranges(buckets.fill(0, &[0.0; 4], 1.0)).is_empty());
        // The last bucket waits for the loss.
        assert_eq!(ranges(buckets.fill(1, &[0.0], 1.0)), [(4, 5)]);
        assert_eq!(ranges(buckets.remaining()), [(0, 4)]);
    }

    #[test]
    fn gradients_are_scaled_and_stored_at_their_positions() {
        let mut buckets = Buckets::new(&layout(), 1000);
        buckets.start(3);
        assert!(ranges(buckets.fill(0, &[0.0; 4], 3.0)).is_empty());
        assert!(ranges(buckets.fill(3, &[0.0], 3.0)).is_empty());
        assert!(ranges(buckets.fill(1, &[1.0], 3.0)).is_empty());
        assert!(ranges(buckets.fill(2, &[2.0, 3.0], 3.0)).is_empty());
        buckets.set_loss(7.0);
        let whole: Vec<_> = buckets.remaining().collect();
        assert_eq!(whole[0].gradients(), [0.0, 0.0, 0.0, 0.0, 3.0, 6.0, 9.0, 0.0]);
        assert_eq!((whole[0].rows(), whole[0].loss()), (3.0, 7.0));
    }
}
