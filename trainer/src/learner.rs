//! The interface of a model to strategies.

use crate::batch::{Batch, Input};
use crate::error::TrainError;
use crate::layout::Layout;

/// A model that computes gradients. The parameters belong to the caller.
pub trait Learner: Send {
    /// Layout of the parameters.
    fn layout(&self) -> &Layout;

    /// Returns the mean loss of a batch, and writes its gradient by each parameter to `gradients`.
    ///
    /// # Errors
    /// Fails when the batch does not fit the model, or the loss or a gradient is not finite.
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

    /// Computes the same, but passes each gradient to `ready` with the index of its entry. The
    /// backward pass does so as soon as it is final, so the last layer comes first. Each entry
    /// comes once.
    ///
    /// # Errors
    /// Same as [`Learner::gradients`].
    fn gradients_as_ready(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<f32, TrainError>;

    /// Predicts the model's first output for some rows, as in serving.
    ///
    /// # Errors
    /// Fails when the input does not fit the model.
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
