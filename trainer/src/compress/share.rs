//! Second part of compression: weight sharing and fine-tuning.

use super::prune::Pruned;
use super::shared::{SharedLearner, Sharing};
use super::{CompressionError, Compressor, Phase};
use crate::error::TrainError;
use crate::job::{NetworkTask, TrainTask};
use crate::layout::Layout;
use crate::learner::Learner;
use skysail_compression::{ClusterSettings, PerLayer, SharedLayer, share_values};
use skysail_graph::Model;

/// A model with shared values.
pub(super) struct SharedModel {
    pub(super) model: Model,
    pub(super) accuracy: f32,
    pub(super) bits: Vec<(String, u8)>,
    pub(super) density: Vec<(String, f64)>,
}

/// Shares values and fine-tunes them. While too much accuracy is lost, each layer gets one more
/// bit. Returns the best model.
pub(super) fn share(
    compressor: &mut Compressor<'_, '_>,
    task: &NetworkTask,
    pruned: &Pruned,
) -> Result<SharedModel, CompressionError> {
    let mut best = fine_tune(compressor, task, pruned, 0)?;
    for more in 1..=compressor.settings.attempts {
        if compressor.is_accurate(best.accuracy) {
            break;
        }
        let again = fine_tune(compressor, task, pruned, more)?;
        if again.accuracy > best.accuracy {
            best = again;
        }
    }
    Ok(best)
}

/// Shares values with `more` additional bits, and trains them.
fn fine_tune(
    compressor: &mut Compressor<'_, '_>,
    task: &NetworkTask,
    pruned: &Pruned,
    more: u32,
) -> Result<SharedModel, CompressionError> {
    let bits = with_extra_bits(&compressor.settings.bits, more);
    let settings = ClusterSettings { bits, init: compressor.settings.start };
    let layers = share_values(&pruned.model, &settings)?;
    let values = SharedTask::new(task, &pruned.model, &layers)?;
    let (parameters, accuracy) =
        compressor.train(Phase::FineTune { attempt: more + 1 }, &values)?;
    let codes: usize = layers.iter().map(|layer| layer.codebook.centroids.len()).sum();
    let what = format!("{} layers share {codes} values", layers.len());
    compressor.record(what, pruned.density(), accuracy);
    let mut shared = SharedLearner::new(task.learner()?, values.sharings.clone());
    let model = task.trained(shared.weights(&parameters))?;
    let bits = layers.iter().map(|layer| (layer.layer.clone(), layer.report.bits)).collect();
    let density = layers.iter().map(|layer| {
        let share = layer.mask.kept() as f64 / layer.mask.len().max(1) as f64;
        (layer.layer.clone(), share)
    });
    Ok(SharedModel { model, accuracy, bits, density: density.collect() })
}

fn with_extra_bits(bits: &PerLayer<u8>, more: u32) -> PerLayer<u8> {
    /// Upper limit of the bits of a code.
    const BITS_MAX: u32 = 16;
    let add = |bits: &u8| (u32::from(*bits) + more).min(BITS_MAX) as u8;
    let named = bits.named.iter().map(|(name, bits)| (name.clone(), bits.as_ref().map(add)));
    PerLayer {
        convolution: bits.convolution.as_ref().map(add),
        fully_connected: bits.fully_connected.as_ref().map(add),
        named: named.collect(),
    }
}

/// A task whose parameters are the shared values.
struct SharedTask<'a> {
    task: &'a NetworkTask,
    layout: Layout,
    start: Vec<f32>,
    sharings: Vec<Option<Sharing>>,
}

impl<'a> SharedTask<'a> {
    fn new(
        task: &'a NetworkTask,
        model: &Model,
        layers: &[SharedLayer],
    ) -> Result<Self, TrainError> {
        let weights = NetworkTask::new(model.clone())?.initial_parameters();
        let (mut start, mut sharings) = (Vec::new(), Vec::new());
        for entry in task.layout().entries() {
            let layer = layers.iter().find(|layer| layer.layer == entry.name);
            match layer {
                Some(layer) => start.extend(&layer.codebook.centroids),
                None => start.extend(&weights[entry.range.clone()]),
            }
            sharings.push(layer.map(|layer| Sharing::of(&layer.mask, &layer.codebook)));
        }
        let layout = SharedLearner::new(task.learner()?, sharings.clone()).layout().clone();
        Ok(Self { task, layout, start, sharings })
    }
}

impl TrainTask for SharedTask<'_> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn initial_parameters(&self) -> Vec<f32> {
        self.start.clone()
    }

    fn learner(&self) -> Result<Box<dyn Learner>, TrainError> {
        Ok(Box::new(SharedLearner::new(self.task.learner()?, self.sharings.clone())))
    }

    fn outputs_probabilities(&self) -> bool {
        self.task.outputs_probabilities()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_bit_applies_to_every_layer_up_to_sixteen() {
        let bits = PerLayer {
            convolution: Some(15),
            named: [("a".to_owned(), Some(4)), ("b".to_owned(), None)].into(),
            ..PerLayer::none()
        };
        let more = with_extra_bits(&bits, 2);
        assert_eq!((more.convolution, more.fully_connected), (Some(16), None));
        assert_eq!((more.named["a"], more.named["b"]), (Some(6), None));
    }
}
