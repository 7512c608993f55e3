//! First part of compression: pruning in rounds.

use super::masked::MaskedLearner;
use super::{CompressionError, Compressor, Phase};
use crate::error::TrainError;
use crate::job::{NetworkTask, TrainTask};
use crate::layout::Layout;
use crate::learner::Learner;
use skysail_compression::{LayerMask, Mask, PerLayer, PruneRule, PruneSettings, masks};
use skysail_graph::Model;

/// A pruned model and its masks.
pub(super) struct Pruned {
    pub(super) model: Model,
    pub(super) accuracy: f32,
    pub(super) masks: Vec<LayerMask>,
}

impl Pruned {
    /// Share of the weights of the pruned layers that is kept.
    pub(super) fn density(&self) -> f64 {
        let kept: usize = self.masks.iter().map(|layer| layer.mask.kept()).sum();
        let all: usize = self.masks.iter().map(|layer| layer.mask.len()).sum();
        kept as f64 / all.max(1) as f64
    }
}

/// Prunes in rounds. Then it trains until the accuracy is restored, and returns the best model.
pub(super) fn prune(
    compressor: &mut Compressor<'_, '_>,
    task: &NetworkTask,
) -> Result<Pruned, CompressionError> {
    let (rounds, attempts) = (compressor.settings.rounds.max(1), compressor.settings.attempts);
    let mut best = round(compressor, task, task.model(), (1, rounds))?;
    for now in 2..=rounds {
        best = round(compressor, task, &best.model, (now, rounds))?;
    }
    for attempt in 1..=attempts {
        if compressor.is_accurate(best.accuracy) {
            break;
        }
        let phase = Phase::Settle { attempt };
        let again = retrain(compressor, task, &best.model, best.masks.clone(), phase)?;
        if again.accuracy > best.accuracy {
            best = again;
        }
    }
    Ok(best)
}

/// Prunes the model of the round before, and trains it.
fn round(
    compressor: &mut Compressor<'_, '_>,
    task: &NetworkTask,
    model: &Model,
    (round, rounds): (u32, u32),
) -> Result<Pruned, CompressionError> {
    let rules = rules(&compressor.settings.density, f64::from(round) / f64::from(rounds));
    let masks = masks(model, &PruneSettings::PerLayer(rules))?;
    retrain(compressor, task, model, masks, Phase::Retrain { round, rounds })
}

/// Trains the model under masks.
fn retrain(
    compressor: &mut Compressor<'_, '_>,
    task: &NetworkTask,
    model: &Model,
    masks: Vec<LayerMask>,
    phase: Phase,
) -> Result<Pruned, CompressionError> {
    let masked = MaskedTask::new(task, model, &masks)?;
    let (parameters, accuracy) = compressor.train(phase, &masked)?;
    let pruned = Pruned { model: task.trained(&parameters)?, accuracy, masks };
    let density = pruned.density();
    compressor.record(format!("pruned to {:.2} %", density * 100.0), density, accuracy);
    Ok(pruned)
}

/// Pruning rules of a round. Density falls fast at first and slower towards the end (Zhu and Gupta,
/// "To prune, or not to prune", 2017, equation 1).
fn rules(last: &PerLayer<f64>, done: f64) -> PerLayer<PruneRule> {
    let rule = |last: &f64| PruneRule::Density(last + (1.0 - last) * (1.0 - done).powi(3));
    let named = last.named.iter().map(|(name, last)| (name.clone(), last.as_ref().map(rule)));
    PerLayer {
        convolution: last.convolution.as_ref().map(rule),
        fully_connected: last.fully_connected.as_ref().map(rule),
        named: named.collect(),
    }
}

/// A task in which some weights stay zero.
struct MaskedTask<'a> {
    task: &'a NetworkTask,
    start: Vec<f32>,
    masks: Vec<Option<Mask>>,
}

impl<'a> MaskedTask<'a> {
    fn new(task: &'a NetworkTask, model: &Model, masks: &[LayerMask]) -> Result<Self, TrainError> {
        let mut start = NetworkTask::new(model.clone())?.initial_parameters();
        let entries = task.layout().entries();
        let of = |name: &str| masks.iter().find(|layer| layer.layer == name);
        let masks: Vec<Option<Mask>> =
            entries.iter().map(|entry| Some(of(&entry.name)?.mask.clone())).collect();
        for (entry, mask) in entries.iter().zip(&masks) {
            if let Some(mask) = mask {
                mask.apply(&mut start[entry.range.clone()]);
            }
        }
        Ok(Self { task, start, masks })
    }
}

impl TrainTask for MaskedTask<'_> {
    fn layout(&self) -> &Layout {
        self.task.layout()
    }

    fn initial_parameters(&self) -> Vec<f32> {
        self.start.clone()
    }

    fn learner(&self) -> Result<Box<dyn Learner>, TrainError> {
        Ok(Box::new(MaskedLearner::new(self.task.learner()?, self.masks.clone())))
    }

    fn outputs_probabilities(&self) -> bool {
        self.task.outputs_probabilities()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn density_falls_fast_at_first_and_ends_at_its_target() {
        let last = PerLayer { named: [("w".to_owned(), Some(0.1))].into(), ..PerLayer::none() };
        let at = |done: f64| match rules(&last, done).named["w"] {
            Some(PruneRule::Density(density)) => density,
            other => panic!("{other:?}"),
        };
        assert_eq!((at(0.0), at(1.0)), (1.0, 0.1));
        assert!((at(0.5) - (0.1 + 0.9 / 8.0)).abs() < 1e-12);
        let all: Vec<f64> = (0..=10).map(|tenth| at(f64::from(tenth) / 10.0)).collect();
        let falls: Vec<f64> = all.windows(2).map(|pair| pair[0] - pair[1]).collect();
        assert!(falls.windows(2).all(|pair| pair[0] > pair[1]), "{falls:?}");
    }
}
