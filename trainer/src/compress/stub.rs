//! A learner for tests, with fixed gradients.

use crate::batch::{Batch, Input, Targets, Values};
use crate::error::TrainError;
use crate::layout::{EntryKind, Layout};
use crate::learner::Learner;

/// Returns fixed gradients, and predicts its parameters.
pub(super) struct Stub {
    layout: Layout,
    gradients: Vec<f32>,
}

impl Stub {
    /// A learner with four weights and a bias.
    pub(super) fn new(gradients: [f32; 5]) -> Self {
        let mut layout = Layout::default();
        layout.push("weight", &[2, 2], EntryKind::Weight);
        layout.push("bias", &[1], EntryKind::Bias);
        Self { layout, gradients: gradients.to_vec() }
    }
}

impl Learner for Stub {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn gradients_as_ready(
        &mut self,
        _: &[f32],
        _: &Batch,
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<f32, TrainError> {
        for (entry, known) in self.layout.entries().iter().enumerate().rev() {
            ready(entry, &self.gradients[known.range.clone()]);
        }
        Ok(1.5)
    }

    fn predict(&mut self, parameters: &[f32], _: &Input) -> Result<Vec<f32>, TrainError> {
        Ok(parameters.to_vec())
    }
}

/// An empty batch.
pub(super) fn batch() -> Batch {
    let input = Input { shape: vec![0], values: Values::Float32(Vec::new()) };
    Batch { input, targets: Targets::Classes(Vec::new()) }
}
