//! Fine-tuning of shared values: a centroid moves by the gradients of all weights that share it
//! (Han et al., "Deep Compression", ICLR 2016, section 3.3 and equation 3).

use crate::batch::{Batch, Input};
use crate::error::TrainError;
use crate::layout::{EntryKind, Layout};
use crate::learner::Learner;
use skysail_compression::{Codebook, Mask};

/// A learner whose parameters are the centroids of shared weights, and all other parameters as
/// they are. Zeros stay zeros.
pub(super) struct Shared<L> {
    learner: L,
    layout: Layout,
    /// By entries of both layouts.
    sharings: Vec<Option<Sharing>>,
    /// The parameters of the learner below.
    weights: Vec<f32>,
    /// Gradients of those.
    gradients: Vec<f32>,
    sums: Vec<f32>,
}

/// Which weights share which values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sharing {
    /// The place of each weight that is not zero.
    places: Vec<u32>,
    /// The centroid of each of them.
    codes: Vec<u16>,
    centroids: usize,
}

impl Sharing {
    /// That of a layer.
    pub(super) fn of(mask: &Mask, codebook: &Codebook) -> Self {
        let places = (0..).zip(mask.as_slice()).filter(|(_, kept)| **kept);
        Self {
            places: places.map(|(place, _)| place).collect(),
            codes: codebook.codes.clone(),
            centroids: codebook.centroids.len(),
        }
    }

    fn members(&self) -> impl Iterator<Item = (usize, usize)> {
        let codes = self.codes.iter().map(|code| usize::from(*code));
        self.places.iter().map(|place| *place as usize).zip(codes)
    }

    fn spread(&self, centroids: &[f32], weights: &mut [f32]) {
        weights.fill(0.0);
        for (place, code) in self.members() {
            weights[place] = centroids[code];
        }
    }

    /// Equation 3. A layer's sums grow with its weights, and so does how the loss bends: divided by
    /// the mean number of members, one rate suits layers of all sizes.
    fn gather(&self, gradient: &[f32], sums: &mut Vec<f32>) {
        sums.clear();
        sums.resize(self.centroids, 0.0);
        for (place, code) in self.members() {
            sums[code] += gradient[place];
        }
        let scale = self.centroids as f32 / self.places.len().max(1) as f32;
        sums.iter_mut().for_each(|sum| *sum *= scale);
    }
}

impl<L: Learner> Shared<L> {
    /// A learner with shared values, one sharing for each entry of its layout that has any.
    pub(super) fn new(learner: L, sharings: Vec<Option<Sharing>>) -> Self {
        let mut layout = Layout::default();
        for (entry, sharing) in learner.layout().entries().iter().zip(&sharings) {
            match sharing {
                // Centroids do not decay: they stand for weights that have their size.
                Some(sharing) => layout.push(&entry.name, &[sharing.centroids], EntryKind::Bias),
                None => layout.push(&entry.name, &entry.shape, entry.kind),
            }
        }
        let weights = vec![0.0; learner.layout().len()];
        Self { learner, layout, sharings, gradients: weights.clone(), weights, sums: Vec::new() }
    }

    /// The parameters of the learner below, for centroids and all others.
    pub(super) fn weights(&mut self, parameters: &[f32]) -> &[f32] {
        let entries = self.learner.layout().entries().iter().zip(self.layout.entries());
        for ((below, above), sharing) in entries.zip(&self.sharings) {
            let (weights, values) =
                (&mut self.weights[below.range.clone()], &parameters[above.range.clone()]);
            match sharing {
                Some(sharing) => sharing.spread(values, weights),
                None => weights.copy_from_slice(values),
            }
        }
        &self.weights
    }
}

impl<L: Learner> Learner for Shared<L> {
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
            let given = &mut gradients[above.range.clone()];
            match sharing {
                Some(sharing) => {
                    sharing.gather(found, &mut self.sums);
                    given.copy_from_slice(&self.sums);
                }
                None => given.copy_from_slice(found),
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
                sharing.gather(gradient, sums);
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
    fn shared(gradients: [f32; 5]) -> Shared<Stub> {
        let mask = Mask::new(vec![true, true, false, true]);
        let codebook = Codebook { centroids: vec![-1.0, 2.0], codes: vec![1, 0, 1] };
        let sharing = Sharing::of(&mask, &codebook);
        Shared::new(Stub::new(gradients), vec![Some(sharing), None])
    }

    #[test]
    fn values_take_the_place_of_weights_and_zeros_stay() {
        let mut learner = shared([0.0; 5]);
        assert_eq!(learner.weights(&[-1.0, 2.0, 7.0]), [2.0, -1.0, 0.0, 2.0, 7.0]);
        let made = learner.predict(&[0.5, 0.25, 0.0], &batch().input).unwrap();
        assert_eq!(made, [0.25, 0.5, 0.0, 0.25, 0.0]);
    }

    #[test]
    fn a_value_moves_by_the_sum_over_those_that_share_it() {
        let mut learner = shared([1.0, 2.0, 30.0, 4.0, 5.0]);
        let mut gradients = [0.0; 3];
        learner.gradients(&[-1.0, 2.0, 7.0], &batch(), &mut gradients).unwrap();
        // Two values for three weights: sums of 2 and of 1 + 4, by two thirds.
        let wanted = [2.0 * 2.0 / 3.0, 5.0 * 2.0 / 3.0, 5.0];
        assert!(gradients.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-6));
        let mut given = Vec::new();
        let mut take = |_, values: &[f32]| given.extend_from_slice(values);
        learner.gradients_as_ready(&[-1.0, 2.0, 7.0], &batch(), &mut take).unwrap();
        assert_eq!(given, [gradients[2], gradients[0], gradients[1]]);
    }

    #[test]
    fn values_do_not_decay() {
        let learner = shared([0.0; 5]);
        let entries = learner.layout().entries();
        assert_eq!((entries[0].kind, entries[0].range.clone()), (EntryKind::Bias, 0..2));
        assert_eq!((entries[1].kind, entries[1].range.clone()), (EntryKind::Bias, 2..3));
    }
}
