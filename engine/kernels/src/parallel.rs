//! How a kernel's parts are spread over threads, and how they write to one slice.

use crate::KernelError;
use std::marker::PhantomData;
use std::ops::Range;

/// Someone who runs parts of work, perhaps several at a time.
///
/// # Safety
/// [`run`](Self::run) runs each part no more than once, none that is not below `parts`, and none
/// once it has come back: parts write to one slice, and nobody checks that they do not meet.
pub unsafe trait Parallel {
    /// Runs `part(0)`, `part(1)`, ... `part(parts - 1)`, each once, and comes back when all have
    /// ended.
    ///
    /// # Errors
    /// When they could not be started.
    fn run(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) -> Result<(), KernelError>;
}

/// The calling thread alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Serial;

// SAFETY: a range has each number once.
unsafe impl Parallel for Serial {
    fn run(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) -> Result<(), KernelError> {
        (0..parts).for_each(part);
        Ok(())
    }
}

/// The `part`-th of `parts` nearly equal ranges that make up `0..count`.
pub(crate) fn share(count: usize, parts: usize, part: usize) -> Range<usize> {
    count * part / parts..count * (part + 1) / parts
}

/// A slice that several threads write to, each at other places.
pub(crate) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a mutable slice, and whoever takes a part of it vouches that no one else has it.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
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
    /// No part in use has it, and no one else writes it.
    #[inline(always)]
    pub(crate) unsafe fn write(&self, index: usize, value: f32) {
        debug_assert!(index < self.len, "{index} of {}", self.len);
        if index < self.len {
            // SAFETY: it lies in the slice, and is no one else's as the caller says.
            unsafe { self.start.add(index).write(value) };
        }
    }

    /// A part of the slice, to write to. Empty where the range does not lie in the slice.
    ///
    /// # Safety
    /// No other part in use has any of the range.
    #[allow(clippy::mut_from_ref, reason = "the caller vouches for it")]
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
    fn shares_are_in_order_and_make_up_the_whole() {
        for (count, parts) in [(10, 3), (2, 5), (0, 4), (64, 64)] {
            let shares: Vec<_> = (0..parts).map(|part| share(count, parts, part)).collect();
            let all: Vec<usize> = shares.into_iter().flatten().collect();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
