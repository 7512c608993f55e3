//! The shape of nested lists, whose lengths must be equal on each level.

use crate::decode::elements::Nesting;
use crate::decode::fault::Fault;
use skysail_engine::tensor::Shape;
use smallvec::SmallVec;

/// The shape of a value, as far as it is read.
#[derive(Clone, Debug, Default)]
pub(super) struct NestedShape {
    /// Length of the lists on each level, once the first of them has ended.
    lengths: SmallVec<[Option<usize>; 4]>,
    /// Entries so far of the list that is open on each level.
    counts: SmallVec<[usize; 4]>,
    /// Lists around each element, once there is one.
    rank: Option<usize>,
}

impl NestedShape {
    /// True once a value has begun.
    pub(super) fn is_given(&self) -> bool {
        !self.counts.is_empty() || self.rank.is_some()
    }

    /// Entries so far on the outermost level, if a list has begun.
    pub(super) fn rows(&self) -> Option<usize> {
        self.counts.first().copied()
    }

    /// The shape of the whole value.
    pub(super) fn shape(&self) -> Shape {
        self.lengths.iter().map(|length| length.unwrap_or(0)).collect()
    }

    /// Counts an entry of the list around this depth.
    fn count(&mut self, depth: usize) {
        if let Some(count) = depth.checked_sub(1).and_then(|around| self.counts.get_mut(around)) {
            *count += 1;
        }
    }
}

impl Nesting for NestedShape {
    fn open(&mut self, depth: usize) -> Result<(), Fault> {
        if self.rank.is_some_and(|rank| depth >= rank) {
            return Err(uneven());
        }
        self.count(depth);
        match self.counts.get_mut(depth) {
            Some(count) => *count = 0,
            None => self.counts.push(0),
        }
        Ok(())
    }

    fn close(&mut self, depth: usize) -> Result<(), Fault> {
        while self.lengths.len() <= depth {
            self.lengths.push(None);
        }
        match *self.lengths[depth].get_or_insert(self.counts[depth]) == self.counts[depth] {
            true => Ok(()),
            false => Err(uneven()),
        }
    }

    fn element(&mut self, depth: usize) -> Result<(), Fault> {
        self.count(depth);
        match *self.rank.get_or_insert(depth) == depth && self.counts.len() == depth {
            true => Ok(()),
            false => Err(uneven()),
        }
    }
}

fn uneven() -> Fault {
    Fault::value("lists inside each other must have equal lengths, as a tensor has")
}

/// The shape of the entries of an open list.
pub(super) struct Inner<'s>(pub(super) &'s mut NestedShape);

impl Nesting for Inner<'_> {
    fn open(&mut self, depth: usize) -> Result<(), Fault> {
        self.0.open(depth + 1)
    }

    fn close(&mut self, depth: usize) -> Result<(), Fault> {
        self.0.close(depth + 1)
    }

    fn element(&mut self, depth: usize) -> Result<(), Fault> {
        self.0.element(depth + 1)
    }
}
