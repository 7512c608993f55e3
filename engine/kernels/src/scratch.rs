//! Scratch memory that runs reuse.

use crate::aligned::Floats;
use crate::panel::Segment;
use std::sync::{Mutex, PoisonError};

/// Scratch memory of kernels.
///
/// It grows to the need of the largest run, and can serve many kernels, one after the other.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Inputs of the whole run, in the layout of a format.
    pub(crate) inputs: Floats,
    /// Quantized inputs of the whole run.
    pub(crate) codes: Floats,
    /// Range of each quantized row.
    pub(crate) ranges: Floats,
    pub(crate) parts: Parts,
}

/// Memory of concurrent parts, on any threads.
#[derive(Debug, Default)]
pub(crate) struct Parts(Mutex<Vec<PartScratch>>);

/// Memory of one part of a run.
#[derive(Debug, Default)]
pub(crate) struct PartScratch {
    pub(crate) sums: Floats,
    pub(crate) segments: Vec<Segment>,
}

impl Scratch {
    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        let parts = self.parts.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_part = |part: &PartScratch| {
            part.sums.bytes() + part.segments.capacity() * size_of::<Segment>()
        };
        let inputs = self.inputs.bytes() + self.codes.bytes() + self.ranges.bytes();
        inputs + parts.iter().map(of_part).sum::<usize>()
    }
}

impl Parts {
    /// Lends memory that no other part uses.
    pub(crate) fn with(&self, work: impl FnOnce(&mut PartScratch)) {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = lock().pop();
        let mut part = free.unwrap_or_default();
        work(&mut part);
        lock().push(part);
    }
}
