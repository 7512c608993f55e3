//! Fine-tuning of shared values by the gradients of all weights that share them (Han et al., "Deep
//! Compression", ICLR 2016, section 3.3 and equation 3).

use crate::batch::{Batch, Input};
use crate::error::TrainError;
use crate::layout::{EntryKind, Layout};
use crate::learner::Learner;
use skysail_compression::{Codebook, Mask};

/// A learner whose parameters are the centroids of shared weights, and all unshared parameters.
/// Zeros stay zero.
pub(super) struct SharedLearner<L> {
    learner: L,
    layout: Layout,
    /// Sharings by entry of both layouts.
    sharings: Vec<Option<Sharing>>,
    /// Parameters of the inner learner.
    weights: Vec<f32>,
    /// Gradients of the inner learner's parameters.
    gradients: Vec<f32>,
    sums: Vec<f32>,
}

/// Assignment of weights to shared values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sharing {
    /// Index of each non-zero weight.
    indices: Vec<u32>,
    /// Centroid of each of these weights.
    codes: Vec<u16>,
    centroids: usize,
}

impl Sharing {
    /// The sharing of a layer.
    pub(super) fn of(mask: &Mask, codebook: &Codebook) -> Self {
        let indices = (0..).zip(mask.as_slice()).filter(|(_, kept)| **kept);
        Self {
            indices: indices.map(|(index, _)| index).collect(),
            codes: codebook.codes.clone(),
            centroids: codebook.centroids.len(),
        }
    }

    fn members(&self) -> impl Iterator<Item = (usize, usize)> {
        let codes = self.codes.iter().map(|code| usize::from(*code));
        self.indices.iter().map(|index| *index as usize).zip(codes)
    }

    fn expand(&self, centroids: &[f32], weights: &mut [f32]) {
        weights.fill(0.0);
        for (index, code) in self.members() {
            weights[index] = centroids[code];
        }
    }

    /// Sums gradients by centroid (equation 3). Sums, and the curvature of the loss, grow with the
    /// number of weights. Dividing by the mean number of members lets one learning rate suit layers
    /// of all sizes.
    fn sum_gradients(&self, gradient: &[f32], sums: &mut Vec<f32>) {
        sums.clear();
        sums.resize(self.centroids, 0.0);
        for (index, code) in self.members() {
            sums[code] += gradient[index];
        }
        let scale = self.centroids as f32 / self.indices.len().max(1) as f32;
        sums.iter_mut().for_each(|sum| *sum *= scale);
    }
}

impl<L: Learner> SharedLearner<L> {
    /// A learner with a sharing for each entry of its layout that has one.
    pub(super) fn new(learner: L, sharings: Vec<Option<Sharing>>) -> Self {
        let mut layout = Layout::default();
        for (entry, sharing) in learner.layout().entries().iter().zip(&sharings) {
            match sharing {
                // Centroids do not decay, as their size is that of their weights.
                Some(sharing) => layout.push(&entry.name, &[sharing.centroids], EntryKind::Bias),
                None => layout.push(&entry.name, &entry.shape, entry.kind),
            }
        }
        let weights = vec![0.0; learner.layout().len()];
        Self { learner, layout, sharings, gradients: weights.clone(), weights, sums: Vec::new() }
    }

    /// Expands parameters to those of the inner learner.
    pub(super) fn weights(&mut self, parameters: &[f32]) -> &[f32] {
        let entries = self.learner.layout().entries().iter().zip(self.layout.entries());
        for ((below, above), sharing) in entries.zip(&self.sharings) {
            let (weights, values) =
                (&mut self.weights[below.range.clone()], &parameters[above.range.clone()]);
            match sharing {
                Some(sharing) => sharing.expand(values, weights),
                None => weights.copy_from_slice(values),
            }
        }
        &self.weights
    }
}

impl<L: Learner> Learner for SharedLearner<L> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn gradients(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        gradients: &mut [f32],
    ) -> Result<f32, TrainError> {
        self.weights(parameters);
        let loss = self.learner.gradients(&self.weights, batch, &mut self.gradients)?;
        let entries = self.learner.layout().entries().iter().zip(self.layout.entries());
        for ((below, above), sharing) in entries.zip(&self.sharings) {
            let found = &self.gradients[below.range.clone()];
            let target = &mut gradients[above.range.clone()];
            match sharing {
                Some(sharing) => {
                    sharing.sum_gradients(found, &mut self.sums);
                    target.copy_from_slice(&self.sums);
                }
                None => target.copy_from_slice(found),
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
        self.weights(parameters);
        let (sharings, sums) = (&self.sharings, &mut self.sums);
        let mut gather = |entry: usize, gradient: &[f32]| match sharings.get(entry) {
            Some(Some(sharing)) => {
                sharing.sum_gradients(gradient, sums);
                ready(entry, sums);
            }
            _ => ready(entry, gradient),
        };
        self.learner.gradients_as_ready(&self.weights, batch, &mut gather)
    }

    fn predict(&mut self, parameters: &[f32], input: &Input) -> Result<Vec<f32>, TrainError> {
        self.weights(parameters);
        self.learner.predict(&self.weights, input)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Stub, batch};
    use super::*;

    /// The first and the last weight share one of two values, the second has the other, and the
    /// third is zero.
    fn shared(gradients: [f32; 5]) -> SharedLearner<Stub> {
        let mask = Mask::new(vec![true, true, false, true]);
        let codebook = Codebook { centroids: vec![-1.0, 2.0], codes: vec![1, 0, 1] };
        let sharing = Sharing::of(&mask, &codebook);
        SharedLearner::new(Stub::new(gradients), vec![Some(sharing), None])
    }

    #[test]
    fn weights_expand_from_shared_values_and_zeros_stay() {
        let mut learner = shared([0.0; 5]);
        assert_eq!(learner.weights(&[-1.0, 2.0, 7.0]), [2.0, -1.0, 0.0, 2.0, 7.0]);
        let made = learner.predict(&[0.5, 0.25, 0.0], &batch().input).unwrap();
        assert_eq!(made, [0.25, 0.5, 0.0, 0.25, 0.0]);
    }

    #[test]
    fn a_value_moves_by_the_sum_of_its_weights_gradients() {
        let mut learner = shared([1.0, 2.0, 30.0, 4.0, 5.0]);
        let mut gradients = [0.0; 3];
        learner.gradients(&[-1.0, 2.0, 7.0], &batch(), &mut gradients).unwrap();
        // Two values for three weights: sums of 2 and of 1 + 4, by two thirds.
        let wanted = [2.0 * 2.0 / 3.0, 5.0 * 2.0 / 3.0, 5.0];
        assert!(gradients.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-6));
        let mut emitted = Vec::new();
        let mut collect = |_, values: &[f32]| emitted.extend_from_slice(values);
        learner.gradients_as_ready(&[-1.0, 2.0, 7.0], &batch(), &mut collect).unwrap();
        assert_eq!(emitted, [gradients[2], gradients[0], gradients[1]]);
    }

    #[test]
    fn values_do_not_decay() {
        let learner = shared([0.0; 5]);
        let entries = learner.layout().entries();
        assert_eq!((entries[0].kind, entries[0].range.clone()), (EntryKind::Bias, 0..2));
        assert_eq!((entries[1].kind, entries[1].range.clone()), (EntryKind::Bias, 2..3));
    }
}
