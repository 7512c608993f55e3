//! Memory that runs leave behind for the next.

use crate::aligned::Floats;
use crate::conv::Run;
use std::sync::{Mutex, PoisonError};

/// Memory that kernels work in. It grows to what the largest run needs, and then stays; one can
/// serve many kernels, one after the other.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The inputs of the whole run, laid out anew.
    pub(crate) inputs: Floats,
    /// The inputs of the whole run as bytes.
    pub(crate) codes: Floats,
    /// What the bytes of each row stand for.
    pub(crate) ranges: Floats,
    pub(crate) parts: Parts,
}

/// Memory of parts that run at the same time, on threads that are not known before.
#[derive(Debug, Default)]
pub(crate) struct Parts(Mutex<Vec<PartScratch>>);

/// Memory of one part of a run.
#[derive(Debug, Default)]
pub(crate) struct PartScratch {
    pub(crate) sums: Floats,
    pub(crate) runs: Vec<Run>,
}

impl Scratch {
    /// What it holds, in bytes.
    pub fn bytes(&self) -> usize {
        let parts = self.parts.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_part =
            |part: &PartScratch| part.sums.bytes() + part.runs.capacity() * size_of::<Run>();
        let inputs = self.inputs.bytes() + self.codes.bytes() + self.ranges.bytes();
        inputs + parts.iter().map(of_part).sum::<usize>()
    }
}

impl Parts {
    /// Lends memory that no other part has.
    pub(crate) fn with(&self, work: impl FnOnce(&mut PartScratch)) {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = lock().pop();
        let mut part = free.unwrap_or_default();
        work(&mut part);
        lock().push(part);
    }
}
