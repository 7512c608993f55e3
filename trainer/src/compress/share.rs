//! The second half: few values for all weights of a layer, and these fine-tuned.

use super::prune::Pruned;
use super::shared::{Shared, Sharing};
use super::{CompressionError, Phase, Work};
use crate::error::TrainError;
use crate::job::{NetworkTrainee, Trainee};
use crate::layout::Layout;
use crate::learner::Learner;
use skysail_compression::{ClusterSettings, PerLayer, SharedLayer, share as share_values};
use skysail_graph::Model;

/// A model of shared values.
pub(super) struct SharedModel {
    pub(super) model: Model,
    pub(super) accuracy: f32,
    pub(super) bits: Vec<(String, u8)>,
    pub(super) density: Vec<(String, f64)>,
}

/// Shares values and fine-tunes them; with a bit more for each layer, while too much is lost. The
/// best counts.
pub(super) fn share(
    work: &mut Work<'_, '_>,
    trainee: &NetworkTrainee,
    pruned: &Pruned,
) -> Result<SharedModel, CompressionError> {
    let mut best = fine_tune(work, trainee, pruned, 0)?;
    for more in 1..=work.settings.attempts {
        if work.holds(best.accuracy) {
            break;
        }
        let again = fine_tune(work, trainee, pruned, more)?;
        if again.accuracy > best.accuracy {
            best = again;
        }
    }
    Ok(best)
}

/// Shares values in so many bits more than the settings say, and trains these.
fn fine_tune(
    work: &mut Work<'_, '_>,
    trainee: &NetworkTrainee,
    pruned: &Pruned,
    more: u32,
) -> Result<SharedModel, CompressionError> {
    let bits = with_more(&work.settings.bits, more);
    let settings = ClusterSettings { bits, start: work.settings.start };
    let layers = share_values(&pruned.model, &settings)?;
    let values = OfValues::new(trainee, &pruned.model, &layers)?;
    let (parameters, accuracy) = work.train(Phase::FineTune { attempt: more + 1 }, &values)?;
    let codes: usize = layers.iter().map(|layer| layer.codebook.centroids.len()).sum();
    let what = format!("{} layers share {codes} values", layers.len());
    work.tell(what, pruned.density(), accuracy);
    let mut shared = Shared::new(trainee.learner()?, values.sharings.clone());
    let model = trainee.trained(shared.weights(&parameters))?;
    let bits = layers.iter().map(|layer| (layer.layer.clone(), layer.report.bits)).collect();
    let density = layers.iter().map(|layer| {
        let share = layer.mask.kept() as f64 / layer.mask.len().max(1) as f64;
        (layer.layer.clone(), share)
    });
    Ok(SharedModel { model, accuracy, bits, density: density.collect() })
}

fn with_more(bits: &PerLayer<u8>, more: u32) -> PerLayer<u8> {
    /// A code has no more.
    const BITS_MAX: u32 = 16;
    let add = |bits: &u8| (u32::from(*bits) + more).min(BITS_MAX) as u8;
    let named = bits.named.iter().map(|(name, bits)| (name.clone(), bits.as_ref().map(add)));
    PerLayer {
        convolution: bits.convolution.as_ref().map(add),
        fully_connected: bits.fully_connected.as_ref().map(add),
        named: named.collect(),
    }
}

/// A model whose parameters are the values that weights share.
struct OfValues<'a> {
    trainee: &'a NetworkTrainee,
    layout: Layout,
    start: Vec<f32>,
    sharings: Vec<Option<Sharing>>,
}

impl<'a> OfValues<'a> {
    fn new(
        trainee: &'a NetworkTrainee,
        model: &Model,
        layers: &[SharedLayer],
    ) -> Result<Self, TrainError> {
        let weights = NetworkTrainee::new(model.clone())?.start();
        let (mut start, mut sharings) = (Vec::new(), Vec::new());
        for entry in trainee.layout().entries() {
            let layer = layers.iter().find(|layer| layer.layer == entry.name);
            match layer {
                Some(layer) => start.extend(&layer.codebook.centroids),
                None => start.extend(&weights[entry.range.clone()]),
            }
            sharings.push(layer.map(|layer| Sharing::of(&layer.mask, &layer.codebook)));
        }
        let layout = Shared::new(trainee.learner()?, sharings.clone()).layout().clone();
        Ok(Self { trainee, layout, start, sharings })
    }
}

impl Trainee for OfValues<'_> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn start(&self) -> Vec<f32> {
        self.start.clone()
    }

    fn learner(&self) -> Result<Box<dyn Learner>, TrainError> {
        Ok(Box::new(Shared::new(self.trainee.learner()?, self.sharings.clone())))
    }

    fn gives_probabilities(&self) -> bool {
        self.trainee.gives_probabilities()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_more_is_for_every_layer_and_no_code_has_more_than_sixteen() {
        let bits = PerLayer {
            convolution: Some(15),
            named: [("a".to_owned(), Some(4)), ("b".to_owned(), None)].into(),
            ..PerLayer::none()
        };
        let more = with_more(&bits, 2);
        assert_eq!((more.convolution, more.fully_connected), (Some(16), None));
        assert_eq!((more.named["a"], more.named["b"]), (Some(6), None));
    }
}
