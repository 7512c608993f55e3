//! Ragged batches: requests of different shapes are joined flat, without padding. The graph gets their
//! sizes as further inputs, which are made for each batch.
//!
//! A request is one item of a batch, however many rows it has. So a model that needs the size of
//! each row gets it as [`ItemShape`](crate::config::BatchInputKind::ItemShape).

use crate::tensor::{Shape, elements};
use smallvec::{SmallVec, smallvec};

mod batch_inputs;
mod executor;
mod plan;
#[cfg(test)]
mod tests;
mod version;

pub(crate) use plan::RaggedPlan;
pub(crate) use version::RaggedVersion;

/// Handling of a batch's inputs and outputs that are no rows of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ragged {
    /// True for each input that is joined flat.
    flat: Vec<bool>,
    /// For each output, its division by the shapes of an input; `None` if it is divided by rows.
    scattered: Vec<Option<Scatter>>,
}

/// Division of an output by the shapes of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scatter {
    /// Index of the input.
    source: usize,
    /// Dimensions of a part, with that of rows; `None` for the size that the input has there.
    dims: SmallVec<[Option<usize>; 4]>,
}

impl Ragged {
    /// True if an input is joined flat.
    pub(crate) fn is_flat(&self, input: usize) -> bool {
        self.flat.get(input).copied().unwrap_or(false)
    }

    /// Division of an output; `None` if it is divided by rows.
    pub(crate) fn scatter(&self, output: usize) -> Option<&Scatter> {
        self.scattered.get(output)?.as_ref()
    }

    /// Collects the members' shapes of an input. If it is joined flat, the whole gets one dimension.
    pub(crate) fn join<'s>(
        &self,
        input: usize,
        members: impl Iterator<Item = &'s Shape>,
        whole: &mut Shape,
    ) -> Vec<Shape> {
        let members: Vec<Shape> = members.cloned().collect();
        if self.is_flat(input) {
            // Each member brought its elements: their number is one.
            *whole = smallvec![members.iter().filter_map(|shape| elements(shape)).sum()];
        }
        members
    }
}

impl Scatter {
    /// Index of the input whose shapes count.
    pub(crate) fn source(&self) -> usize {
        self.source
    }

    /// Shape of the part of a member whose input has this shape.
    pub(crate) fn shape(&self, input: &Shape) -> Shape {
        let size = |(at, dim): (usize, &Option<usize>)| {
            dim.or_else(|| input.get(at).copied()).unwrap_or(1)
        };
        self.dims.iter().enumerate().map(size).collect()
    }
}
