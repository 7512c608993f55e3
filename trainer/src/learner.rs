//! What strategies ask of a model.

use crate::batch::{Batch, Input};
use crate::error::TrainError;
use crate::layout::Layout;

/// A model that gives gradients. The parameters are the caller's.
pub trait Learner: Send {
    /// Where the parameters lie.
    fn layout(&self) -> &Layout;

    /// The mean loss of a batch, and its gradient by each parameter, written over `gradients`.
    ///
    /// # Errors
    /// When the batch does not fit the model, or the loss or a gradient is not finite.
    fn gradients(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        gradients: &mut [f32],
    ) -> Result<f32, TrainError> {
        let layout = self.layout().clone();
        let mut keep = |entry: usize, gradient: &[f32]| {
            gradients[layout.entries()[entry].range.clone()].copy_from_slice(gradient);
        };
        self.gradients_as_ready(parameters, batch, &mut keep)
    }

    /// The same, but each gradient is given to `ready`, with the index of its entry, as soon as
    /// the backward pass has it; the last layer's come first. Each entry comes once.
    ///
    /// # Errors
    /// As [`Learner::gradients`].
    fn gradients_as_ready(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<f32, TrainError>;

    /// The model's first output for some rows, row by row, as it is when it serves.
    ///
    /// # Errors
    /// When the input does not fit the model.
    fn predict(&mut self, parameters: &[f32], input: &Input) -> Result<Vec<f32>, TrainError>;
}

impl<L: Learner + ?Sized> Learner for Box<L> {
    fn layout(&self) -> &Layout {
        (**self).layout()
    }

    fn gradients(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        gradients: &mut [f32],
    ) -> Result<f32, TrainError> {
        (**self).gradients(parameters, batch, gradients)
    }

    fn gradients_as_ready(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<f32, TrainError> {
        (**self).gradients_as_ready(parameters, batch, ready)
    }

    fn predict(&mut self, parameters: &[f32], input: &Input) -> Result<Vec<f32>, TrainError> {
        (**self).predict(parameters, input)
    }
}
