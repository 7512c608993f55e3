//! The first half: less weights, round by round.

use skysail_compression::{LayerMask, Mask, PerLayer, PruneRule, PruneSettings, masks};
use skysail_graph::Model;

use super::masked::Masked;
use super::{CompressionError, Phase, Work};
use crate::error::TrainError;
use crate::job::{NetworkTrainee, Trainee};
use crate::layout::Layout;
use crate::learner::Learner;

/// A model under masks.
pub(super) struct Pruned {
    pub(super) trainee: NetworkTrainee,
    pub(super) model: Model,
    pub(super) accuracy: f32,
    pub(super) masks: Vec<LayerMask>,
}

impl Pruned {
    /// The share of the weights of these layers that is kept.
    pub(super) fn density(&self) -> f64 {
        let kept: usize = self.masks.iter().map(|layer| layer.mask.kept()).sum();
        let all: usize = self.masks.iter().map(|layer| layer.mask.len()).sum();
        kept as f64 / all.max(1) as f64
    }
}

/// Prunes in rounds. Of those that hold the accuracy, the last one counts: the settings' densities,
/// or those of a round before.
pub(super) fn prune(
    work: &mut Work<'_, '_>,
    trainee: NetworkTrainee,
    before: f32,
) -> Result<Pruned, CompressionError> {
    let (rounds, model) = (work.settings.rounds.max(1), trainee.model().clone());
    let mut now = Pruned { trainee, model, accuracy: before, masks: Vec::new() };
    for round in 1..=rounds {
        let rules = rules(&work.settings.density, f64::from(round) / f64::from(rounds));
        now.masks = masks(&now.model, &PruneSettings::Apart(rules))?;
        now.train(work, Phase::Retrain { round, rounds })?;
    }
    for _ in 0..work.settings.attempts {
        if work.holds(now.accuracy) {
            break;
        }
        now.train(work, Phase::Settle)?;
    }
    if work.holds(now.accuracy) {
        return Ok(now);
    }
    let what = format!("pruning to {:.1} %", now.density() * 100.0);
    Err(CompressionError::Lost { what, accuracy: now.accuracy, wanted: work.wanted })
}

/// Fast at first, while there is much to spare, and slower towards the end (Zhu and Gupta, "To
/// prune, or not to prune", 2017, equation 1).
fn rules(last: &PerLayer<f64>, done: f64) -> PerLayer<PruneRule> {
    let rule = |last: &f64| PruneRule::Density(last + (1.0 - last) * (1.0 - done).powi(3));
    let named = last.named.iter().map(|(name, last)| (name.clone(), last.as_ref().map(rule)));
    PerLayer {
        convolution: last.convolution.as_ref().map(rule),
        fully_connected: last.fully_connected.as_ref().map(rule),
        named: named.collect(),
    }
}

impl Pruned {
    /// Trains under the masks.
    fn train(&mut self, work: &mut Work<'_, '_>, phase: Phase) -> Result<(), CompressionError> {
        let under = UnderMasks::new(&self.trainee, &self.model, &self.masks)?;
        let (parameters, accuracy) = work.train(phase, &under)?;
        self.model = self.trainee.trained(&parameters)?;
        self.accuracy = accuracy;
        work.tell(format!("pruned to {:.2} %", self.density() * 100.0), self.density(), accuracy);
        Ok(())
    }
}

/// A model of which some weights stay zero.
struct UnderMasks<'a> {
    trainee: &'a NetworkTrainee,
    start: Vec<f32>,
    masks: Vec<Option<Mask>>,
}

impl<'a> UnderMasks<'a> {
    fn new(
        trainee: &'a NetworkTrainee,
        model: &Model,
        masks: &[LayerMask],
    ) -> Result<Self, TrainError> {
        let mut start = NetworkTrainee::new(model.clone())?.start();
        let entries = trainee.layout().entries();
        let of = |name: &str| masks.iter().find(|layer| layer.layer == name);
        let masks: Vec<Option<Mask>> =
            entries.iter().map(|entry| Some(of(&entry.name)?.mask.clone())).collect();
        for (entry, mask) in entries.iter().zip(&masks) {
            if let Some(mask) = mask {
                mask.apply(&mut start[entry.range.clone()]);
            }
        }
        Ok(Self { trainee, start, masks })
    }
}

impl Trainee for UnderMasks<'_> {
    fn layout(&self) -> &Layout {
        self.trainee.layout()
    }

    fn start(&self) -> Vec<f32> {
        self.start.clone()
    }

    fn learner(&self) -> Result<Box<dyn Learner>, TrainError> {
        Ok(Box::new(Masked::new(self.trainee.learner()?, self.masks.clone())))
    }

    fn gives_probabilities(&self) -> bool {
        self.trainee.gives_probabilities()
    }
}
