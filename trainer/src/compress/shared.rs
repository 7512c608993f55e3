//! Fine-tuning of shared values: a centroid moves by the gradients of all weights that share it
//! (Han et al., "Deep Compression", ICLR 2016, section 3.3 and equation 3).

use skysail_compression::{Codebook, Mask};

use crate::batch::{Batch, Input};
use crate::error::TrainError;
use crate::layout::{EntryKind, Layout};
use crate::learner::Learner;

/// A learner whose parameters are the centroids of shared weights, and all other parameters as
/// they are. Zeros stay zeros.
pub(super) struct Shared<L> {
    learner: L,
    layout: Layout,
    /// By entries of both layouts.
    sharings: Vec<Option<Sharing>>,
    /// The parameters of the learner below.
    weights: Vec<f32>,
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
        Self { learner, layout, sharings, weights, sums: Vec::new() }
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
