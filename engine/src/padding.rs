//! Requests of different sizes share a run: the smaller ones are padded to the longest of their
//! batch, and their outputs are cut back. Which models allow that is found out while loading.

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

/// How a model's inputs are padded and its outputs cut back.
///
/// An axis is what dimensions that have one size in a request have in common, such as the number
/// of its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Of each input of the model; `None` where it is never padded.
    pub(crate) inputs: Vec<Option<PaddedInput>>,
    /// Of each output of the model.
    pub(crate) outputs: Vec<Axes>,
    /// How many axes there are.
    pub(crate) axes: usize,
}

/// The axis of each dimension, the batch dimension included; `None` where its size stays.
pub(crate) type Axes = SmallVec<[Option<usize>; 4]>;

/// The size of each axis.
pub(crate) type Sizes = SmallVec<[usize; 2]>;

/// An input that is padded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PaddedInput {
    pub(crate) axes: Axes,
    /// The bytes of the element that fills it up.
    pub(crate) fill: SmallVec<[u8; 8]>,
}

impl Padding {
    /// The sizes of a request's axes; `None` when its dimensions of one axis differ. Then it must
    /// not be padded: that could make it right.
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

    /// The size that stands for a dimension's own in the request's batch key.
    pub(crate) fn key_size(&self, input: usize, dim: usize, size: usize) -> usize {
        let padded = self.inputs.get(input).and_then(Option::as_ref);
        let axis = padded.and_then(|padded| padded.axes.get(dim).copied().flatten());
        if axis.is_some() { bucket(size) } else { size }
    }
}

/// The largest size that shares runs with this one: 1, 2, 4, 8, 16, and then four to each
/// doubling: 20, 24, 28, 32, 40, 48, ... A member is padded to the longest of its batch, so each
/// padded dimension gets at most a quarter more elements, and below 16 less than as many again:
/// there a run costs more for reading the model's weights than for the elements.
///
/// Padding to the longest and not to the bucket itself wastes less. It makes more different
/// shapes, but with every number of rows those are many more than an executor keeps buffers for
/// in both cases, and new buffers cost microseconds.
fn bucket(size: usize) -> usize {
    match size {
        // Nothing is padded to be something.
        0 => 0,
        1..=16 => size.next_power_of_two(),
        _ => {
            let step = 1 << ((size - 1).ilog2() - 2);
            size.checked_next_multiple_of(step).unwrap_or(size)
        }
    }
}
