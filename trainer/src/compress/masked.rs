//! Training under masks: what was pruned stays zero (Han et al., "Deep Compression", ICLR 2016,
//! section 2).

use skysail_compression::Mask;

use crate::batch::{Batch, Input};
use crate::error::TrainError;
use crate::layout::Layout;
use crate::learner::Learner;

/// A learner whose pruned weights have no gradient, so that no strategy moves them.
pub(super) struct Masked<L> {
    learner: L,
    /// By entries of the layout.
    masks: Vec<Option<Mask>>,
    gradient: Vec<f32>,
}

impl<L: Learner> Masked<L> {
    /// A learner under masks, one for each entry of its layout that has any.
    pub(super) fn new(learner: L, masks: Vec<Option<Mask>>) -> Self {
        Self { learner, masks, gradient: Vec::new() }
    }
}

impl<L: Learner> Learner for Masked<L> {
    fn layout(&self) -> &Layout {
        self.learner.layout()
    }

    fn gradients_as_ready(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<f32, TrainError> {
        let (masks, masked) = (&self.masks, &mut self.gradient);
        let mut mask = |entry: usize, gradient: &[f32]| match masks.get(entry) {
            Some(Some(mask)) => {
                masked.clear();
                masked.extend_from_slice(gradient);
                mask.apply(masked);
                ready(entry, masked);
            }
            _ => ready(entry, gradient),
        };
        self.learner.gradients_as_ready(parameters, batch, &mut mask)
    }

    fn predict(&mut self, parameters: &[f32], input: &Input) -> Result<Vec<f32>, TrainError> {
        self.learner.predict(parameters, input)
    }
}
