//! Training under masks: pruned weights stay zero (Han et al., "Deep Compression", ICLR 2016,
//! section 2).

use crate::batch::{Batch, Input};
use crate::error::TrainError;
use crate::layout::Layout;
use crate::learner::Learner;
use skysail_compression::Mask;

/// A learner whose pruned weights have no gradient, so that no strategy moves them.
pub(super) struct MaskedLearner<L> {
    learner: L,
    /// Masks by entry of the layout.
    masks: Vec<Option<Mask>>,
    gradient: Vec<f32>,
}

impl<L: Learner> MaskedLearner<L> {
    /// A learner with a mask for each entry of its layout that has one.
    pub(super) fn new(learner: L, masks: Vec<Option<Mask>>) -> Self {
        Self { learner, masks, gradient: Vec::new() }
    }
}

impl<L: Learner> Learner for MaskedLearner<L> {
    fn layout(&self) -> &Layout {
        self.learner.layout()
    }

    fn gradients(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        gradients: &mut [f32],
    ) -> Result<f32, TrainError> {
        let loss = self.learner.gradients(parameters, batch, gradients)?;
        for (entry, mask) in self.learner.layout().entries().iter().zip(&self.masks) {
            if let Some(mask) = mask {
                mask.apply(&mut gradients[entry.range.clone()]);
            }
        }
        Ok(loss)
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

#[cfg(test)]
mod tests {
    use super::super::stub::{Stub, batch};
    use super::*;
    use crate::optimizer::{Sgd, SgdSettings};

    fn masked(gradients: [f32; 5]) -> MaskedLearner<Stub> {
        let mask = Mask::new(vec![true, false, false, true]);
        MaskedLearner::new(Stub::new(gradients), vec![Some(mask), None])
    }

    #[test]
    fn pruned_weights_have_no_gradient_and_others_keep_theirs() {
        let mut learner = masked([1.0, 2.0, 3.0, 4.0, 5.0]);
        let mut gradients = [9.0; 5];
        let loss = learner.gradients(&[0.0; 5], &batch(), &mut gradients).unwrap();
        assert_eq!((loss, gradients), (1.5, [1.0, 0.0, 0.0, 4.0, 5.0]));
        let mut emitted = Vec::new();
        let mut collect = |_, values: &[f32]| emitted.extend_from_slice(values);
        learner.gradients_as_ready(&[0.0; 5], &batch(), &mut collect).unwrap();
        assert_eq!(emitted, [5.0, 1.0, 0.0, 0.0, 4.0]);
    }

    #[test]
    fn momentum_and_decay_do_not_move_pruned_weights() {
        let mut learner = masked([0.5; 5]);
        let settings = SgdSettings { momentum: 0.9, nesterov: true, weight_decay: 0.1 };
        let mut sgd = Sgd::new(learner.layout(), settings);
        let (mut parameters, mut gradients) = ([1.0, 0.0, 0.0, -1.0, 0.0], [0.0; 5]);
        for _ in 0..10 {
            learner.gradients(&parameters, &batch(), &mut gradients).unwrap();
            sgd.step(&mut parameters, &gradients, 0.1);
        }
        assert_eq!(parameters[1..3], [0.0, 0.0]);
        assert!(parameters[0] < 1.0 && parameters[3] < -1.0 && parameters[4] < 0.0);
    }
}
