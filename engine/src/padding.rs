//! Padding, with which requests of different sizes share a run. Shorter requests are padded to the
//! longest of their batch, and their outputs are cut back. A test while loading finds the models
//! that allow it.

use crate::tensor::Shape;
use smallvec::{SmallVec, smallvec};

mod arrays;
mod members;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use arrays::{cut, pad};
pub(crate) use members::Members;
pub(crate) use settings::{Ties, read};

/// Padding of a model's inputs, and cutting of its outputs.
///
/// An axis is a set of dimensions that have the same size in a request, such as its number of
/// tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Padding of each input; `None` for inputs that are never padded.
    pub(crate) inputs: Vec<Option<PaddedInput>>,
    /// Axes of each output.
    pub(crate) outputs: Vec<Axes>,
    /// Number of axes.
    pub(crate) axes: usize,
}

/// Axis of each dimension, including the batch dimension; `None` if its size stays.
pub(crate) type Axes = SmallVec<[Option<usize>; 4]>;

/// Sizes of the axes.
pub(crate) type Sizes = SmallVec<[usize; 2]>;

/// An input that is padded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PaddedInput {
    pub(crate) axes: Axes,
    /// Bytes of the fill element.
    pub(crate) fill: SmallVec<[u8; 8]>,
}

impl Padding {
    /// Sizes of a request's axes; `None` if dimensions of one axis differ. Such a request must not be
    /// padded, as that could make it valid.
    pub(crate) fn sizes<'a>(&self, shapes: impl Iterator<Item = &'a Shape>) -> Option<Sizes> {
        let mut sizes: SmallVec<[Option<usize>; 2]> = smallvec![None; self.axes];
        for (padded, shape) in self.inputs.iter().zip(shapes) {
            let Some(padded) = padded else { continue };
            for (axis, &size) in padded.axes.iter().zip(shape) {
                let Some(axis) = *axis else { continue };
                if *sizes[axis].get_or_insert(size) != size {
                    return None;
                }
            }
        }
        sizes.into_iter().collect()
    }

    /// The size that stands for a dimension in the request's batch key.
    pub(crate) fn key_size(&self, input: usize, dim: usize, size: usize) -> usize {
        let padded = self.inputs.get(input).and_then(Option::as_ref);
        let axis = padded.and_then(|padded| padded.axes.get(dim).copied().flatten());
        if axis.is_some() { bucket(size) } else { size }
    }
}

/// The largest size that shares runs with this one. Buckets are 1, 2, 4, 8, 16, and then four for
/// each doubling, such as 20, 24, 28, 32.
///
/// A request is padded to the longest of its batch. So each padded dimension grows by a quarter at
/// most, and below 16 by less than double. There a run costs more for reading the model's weights
/// than for the elements.
///
/// Padding to the longest request wastes less than padding to the bucket. It makes more shapes. But
/// with all numbers of rows, both make many more than an executor keeps buffers for, and new
/// buffers cost microseconds.
fn bucket(size: usize) -> usize {
    match size {
        // An empty dimension is never padded.
        0 => 0,
        1..=16 => size.next_power_of_two(),
        _ => {
            let step = 1 << ((size - 1).ilog2() - 2);
            size.checked_next_multiple_of(step).unwrap_or(size)
        }
    }
}
