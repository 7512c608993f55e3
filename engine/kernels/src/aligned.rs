//! Buffers that start at a cache line, for aligned loads.

use std::ops::{Deref, DerefMut};

/// A cache line: sixteen numbers, one register of AVX-512.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Line<T>(pub(crate) [T; LINE]);

/// Numbers in a line.
pub(crate) const LINE: usize = 16;

/// A growing buffer of floats that starts at a cache line.
#[derive(Debug, Default)]
pub(crate) struct Floats {
    lines: Vec<Line<f32>>,
}

impl Floats {
    /// Grows the buffer to at least `len`. New numbers are zero, old ones stay.
    pub(crate) fn grow(&mut self, len: usize) {
        let lines = len.div_ceil(LINE);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0.0; LINE]));
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line<f32>>()
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        let len = self.lines.len() * LINE;
        // SAFETY: a line is sixteen numbers without padding, and the lines lie side by side.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), len) }
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        let len = self.lines.len() * LINE;
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) }
    }
}
