//! The first half: less weights, round by round.

use super::masked::Masked;
use super::{CompressionError, Phase, Work};
use crate::error::TrainError;
use crate::job::{NetworkTrainee, Trainee};
use crate::layout::Layout;
use crate::learner::Learner;
use skysail_compression::{LayerMask, Mask, PerLayer, PruneRule, PruneSettings, masks};
use skysail_graph::Model;

/// A model under masks.
pub(super) struct Pruned {
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

/// Prunes in rounds. Where the accuracy does not hold then, it trains on, and the best counts.
pub(super) fn prune(
    work: &mut Work<'_, '_>,
    trainee: &NetworkTrainee,
) -> Result<Pruned, CompressionError> {
    let (rounds, attempts) = (work.settings.rounds.max(1), work.settings.attempts);
    let mut best = round(work, trainee, trainee.model(), (1, rounds))?;
    for now in 2..=rounds {
        best = round(work, trainee, &best.model, (now, rounds))?;
    }
    for attempt in 1..=attempts {
        if work.holds(best.accuracy) {
            break;
        }
        let phase = Phase::Settle { attempt };
        let again = retrain(work, trainee, &best.model, best.masks.clone(), phase)?;
        if again.accuracy > best.accuracy {
            best = again;
        }
    }
    Ok(best)
}

/// One round: prunes what the rounds before left, and trains.
fn round(
    work: &mut Work<'_, '_>,
    trainee: &NetworkTrainee,
    model: &Model,
    (round, rounds): (u32, u32),
) -> Result<Pruned, CompressionError> {
    let rules = rules(&work.settings.density, f64::from(round) / f64::from(rounds));
    let masks = masks(model, &PruneSettings::Apart(rules))?;
    retrain(work, trainee, model, masks, Phase::Retrain { round, rounds })
}

/// Trains the model under masks.
fn retrain(
    work: &mut Work<'_, '_>,
    trainee: &NetworkTrainee,
    model: &Model,
    masks: Vec<LayerMask>,
    phase: Phase,
) -> Result<Pruned, CompressionError> {
    let under = UnderMasks::new(trainee, model, &masks)?;
    let (parameters, accuracy) = work.train(phase, &under)?;
    let pruned = Pruned { model: trainee.trained(&parameters)?, accuracy, masks };
    let density = pruned.density();
    work.tell(format!("pruned to {:.2} %", density * 100.0), density, accuracy);
    Ok(pruned)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn density_falls_fast_at_first_and_ends_where_it_is_to() {
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
