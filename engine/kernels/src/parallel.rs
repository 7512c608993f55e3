//! Parallel parts of a kernel, which write to one slice.

use crate::KernelError;
use std::marker::PhantomData;
use std::ops::Range;

/// A runner of parts of work, several at a time if it can.
///
/// # Safety
/// [`run`](Self::run) runs each part at most once, none that is not below `parts`, and none after
/// it has returned. Parts write to one slice, and nothing checks that they are disjoint.
pub unsafe trait Parallel {
    /// Runs `part(0)`, `part(1)`, ... `part(parts - 1)`, each once, and returns when all have
    /// ended.
    ///
    /// # Errors
    /// When parts cannot be started.
    fn run(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) -> Result<(), KernelError>;
}

/// Runs all parts on the calling thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct Serial;

// SAFETY: a range has each number once.
unsafe impl Parallel for Serial {
    fn run(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) -> Result<(), KernelError> {
        (0..parts).for_each(part);
        Ok(())
    }
}

/// The `part`-th of `parts` nearly equal ranges that cover `0..count`.
pub(crate) fn split_range(count: usize, parts: usize, part: usize) -> Range<usize> {
    count * part / parts..count * (part + 1) / parts
}

/// A slice that several threads write to, each in other positions.
pub(crate) struct SharedSlice<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a mutable slice, and the caller of its unsafe methods ensures that parts are
// disjoint.
unsafe impl Sync for SharedSlice<'_> {}

impl<'a> SharedSlice<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn start(&self) -> *mut f32 {
        self.start
    }

    /// Writes one number, if it lies in the slice.
    ///
    /// # Safety
    /// No part in use contains it, and no other thread writes it.
    #[inline(always)]
    pub(crate) unsafe fn write(&self, index: usize, value: f32) {
        debug_assert!(index < self.len, "{index} of {}", self.len);
        if index < self.len {
            // SAFETY: it lies in the slice, and the caller owns it.
            unsafe { self.start.add(index).write(value) };
        }
    }

    /// Borrows a part of the slice mutably; empty if the range is not in the slice.
    ///
    /// # Safety
    /// No other part in use overlaps the range.
    #[allow(clippy::mut_from_ref, reason = "the caller ensures that parts are disjoint")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [f32] {
        if range.start > range.end || range.end > self.len {
            debug_assert!(false, "{range:?} of {}", self.len);
            return &mut [];
        }
        // SAFETY: the range lies in the slice, which is borrowed for as long as `self` is, and is
        // no one else's as the caller says.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_in_order_and_cover_the_whole() {
        for (count, parts) in [(10, 3), (2, 5), (0, 4), (64, 64)] {
            let shares: Vec<_> = (0..parts).map(|part| split_range(count, parts, part)).collect();
            let all: Vec<usize> = shares.into_iter().flatten().collect();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
