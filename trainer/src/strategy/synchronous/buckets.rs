//! Gradients in buckets, the last layers' first.

use crate::layout::Layout;
use std::ops::Range;

/// The gradients of some neighbouring entries, and behind them the rows and the loss of the batch.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Its place among all gradients.
    pub(super) range: Range<usize>,
    pub(super) numbers: Vec<f32>,
    /// Entries that have not come.
    missing: usize,
}

/// What goes with the gradients of each bucket: rows, and the loss times the rows.
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

/// All buckets of a model. They leave in order, so that all ranks send the same.
#[derive(Debug)]
pub(super) struct Buckets {
    /// Each at home, or an empty one in its place.
    home: Vec<Bucket>,
    /// How many entries each has.
    entries: Vec<usize>,
    /// For each entry its bucket and its place in it.
    places: Vec<(usize, Range<usize>)>,
    /// The first that has not left.
    next: usize,
    returned: usize,
}

impl Buckets {
    /// Buckets of at least `bytes`, but for the last.
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
        let place = |(entry, bucket): (&crate::layout::Entry, usize)| {
            let start = ranges[bucket].0.start;
            (bucket, entry.range.start - start..entry.range.end - start)
        };
        let places = layout.entries().iter().zip(of_entry).map(place).collect();
        let entries = ranges.iter().map(|(_, entries)| *entries).collect();
        let bucket = |(range, missing): (Range<usize>, usize)| {
            let numbers = vec![0.0; range.len() + EXTRA];
            Bucket { range, numbers, missing }
        };
        let home = ranges.into_iter().map(bucket).collect();
        Self { home, entries, places, next: 0, returned: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.home.len()
    }

    /// Starts a step with a batch of so many rows; without any there will be no gradients.
    pub(super) fn start(&mut self, rows: usize) {
        (self.next, self.returned) = (0, 0);
        for (bucket, entries) in self.home.iter_mut().zip(&self.entries) {
            bucket.missing = *entries;
            let len = bucket.range.len();
            if rows == 0 {
                bucket.numbers.fill(0.0);
            }
            bucket.numbers[len..].copy_from_slice(&[rows as f32, 0.0]);
        }
    }

    /// Puts an entry's gradient, times `factor`, into its bucket. Gives the buckets that can
    /// leave: full ones, of which all earlier ones have left. The last one waits for the loss.
    pub(super) fn fill(
        &mut self,
        entry: usize,
        gradient: &[f32],
        factor: f32,
    ) -> impl Iterator<Item = Bucket> + '_ {
        let (bucket, place) = &self.places[entry];
        let bucket = &mut self.home[*bucket];
        let to = &mut bucket.numbers[place.clone()];
        to.iter_mut().zip(gradient).for_each(|(to, gradient)| *to = gradient * factor);
        bucket.missing = bucket.missing.saturating_sub(1);
        std::iter::from_fn(|| {
            let full = self.home.get(self.next).is_some_and(|bucket| bucket.missing == 0);
            (full && self.next + 1 < self.home.len()).then(|| self.leave())
        })
    }

    /// Sets the loss, times the rows, in the last bucket.
    pub(super) fn set_loss(&mut self, loss: f32) {
        if let Some(last) = self.home.last_mut() {
            let len = last.range.len();
            last.numbers[len + 1] = loss;
        }
    }

    /// The buckets that have not left.
    pub(super) fn rest(&mut self) -> impl Iterator<Item = Bucket> + '_ {
        std::iter::from_fn(|| (self.next < self.home.len()).then(|| self.leave()))
    }

    fn leave(&mut self) -> Bucket {
        self.next += 1;
        std::mem::take(&mut self.home[self.next - 1])
    }

    /// Takes back a bucket; they come back in the order in which they left.
    pub(super) fn take_back(&mut self, bucket: Bucket) {
        self.home[self.returned] = bucket;
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
        assert_eq!(ranges(buckets.rest()), [(5, 8), (0, 5)]);
    }

    #[test]
    fn a_bucket_leaves_when_it_is_full_and_all_earlier_ones_have_left() {
        let mut buckets = Buckets::new(&layout(), 1);
        buckets.start(1);
        assert!(ranges(buckets.fill(2, &[1.0, 2.0], 1.0)).is_empty());
        assert_eq!(ranges(buckets.fill(3, &[3.0], 1.0)), [(7, 8), (5, 7)]);
        assert!(ranges(buckets.fill(0, &[0.0; 4], 1.0)).is_empty());
        // The last waits for the loss.
        assert_eq!(ranges(buckets.fill(1, &[0.0], 1.0)), [(4, 5)]);
        assert_eq!(ranges(buckets.rest()), [(0, 4)]);
    }

    #[test]
    fn gradients_lie_in_their_places_times_the_factor() {
        let mut buckets = Buckets::new(&layout(), 1000);
        buckets.start(3);
        assert!(ranges(buckets.fill(0, &[0.0; 4], 3.0)).is_empty());
        assert!(ranges(buckets.fill(3, &[0.0], 3.0)).is_empty());
        assert!(ranges(buckets.fill(1, &[1.0], 3.0)).is_empty());
        assert!(ranges(buckets.fill(2, &[2.0, 3.0], 3.0)).is_empty());
        buckets.set_loss(7.0);
        let whole: Vec<_> = buckets.rest().collect();
        assert_eq!(whole[0].gradients(), [0.0, 0.0, 0.0, 0.0, 3.0, 6.0, 9.0, 0.0]);
        assert_eq!((whole[0].rows(), whole[0].loss()), (3.0, 7.0));
    }
}
