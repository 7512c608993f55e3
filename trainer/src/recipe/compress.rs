//! How a trained model is compressed, as a recipe says it.

use super::{RecipeError, checks};
use crate::compress::{CompressSettings, Phase};
use crate::network::Distillation;
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};
use skysail_compression::{PerLayer, Start};
use std::collections::BTreeMap;

/// Deep Compression of the trained model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CompressRecipe {
    /// The share of its weights that each layer keeps.
    pub density: LayersRecipe<f64>,
    /// Pruning gets there in so many rounds.
    #[serde(deserialize_with = "checks::one_or_more")]
    pub rounds: usize,
    /// The training of each round.
    pub retrain: PhaseRecipe,
    /// The training at the last density, until the accuracy holds.
    pub settle: PhaseRecipe,
    /// Bits of each layer's codes.
    pub bits: LayersRecipe<u8>,
    /// Where shared values start.
    #[serde(default)]
    pub start: StartRecipe,
    /// The training of the shared values.
    pub fine_tune: PhaseRecipe,
    /// How much all these learn from the model that is compressed; from labels alone where it does
    /// not say.
    pub distill: Option<DistillRecipe>,
    /// The accuracy that may be lost, from 0 to 1.
    #[serde(default)]
    pub loss_max: f32,
    /// How often a step that loses more is tried again.
    #[serde(default = "three")]
    pub attempts: u32,
}

/// A number for layers by kind, and others by the names of their weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LayersRecipe<T> {
    /// For convolutions; none leaves them as they are.
    pub convolution: Option<T>,
    /// For fully connected layers; none leaves them as they are.
    pub fully_connected: Option<T>,
    /// For single layers.
    #[serde(default = "BTreeMap::new")]
    pub layers: BTreeMap<String, T>,
}

/// A part that trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PhaseRecipe {
    /// How often all data are seen.
    #[serde(deserialize_with = "checks::one_or_more")]
    pub epochs: usize,
    /// The rate to begin with.
    #[serde(deserialize_with = "checks::positive")]
    pub rate: f32,
    /// What it comes to at the end along a cosine; the same rate always where it does not say.
    #[serde(default, deserialize_with = "checks::not_negative_if_any")]
    pub cosine: Option<f32>,
}

/// Learning from a model (Hinton, Vinyals and Dean 2015).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DistillRecipe {
    /// How soft its answers are made: 1 leaves them as they are.
    #[serde(deserialize_with = "checks::positive")]
    pub temperature: f32,
    /// The part of the loss that goes by its answers, from 0 to 1; the rest goes by the labels.
    pub share: f32,
}

/// Where shared values start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartRecipe {
    /// Evenly from the smallest weight to the largest.
    #[default]
    Linear,
    /// Where most weights are.
    Density,
}

fn three() -> u32 {
    3
}

impl<T: Clone> LayersRecipe<T> {
    fn per_layer(&self) -> PerLayer<T> {
        let named = self.layers.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
        PerLayer {
            convolution: self.convolution.clone(),
            fully_connected: self.fully_connected.clone(),
            named: named.collect(),
        }
    }
}

impl CompressRecipe {
    /// What is done.
    pub fn settings(&self) -> CompressSettings {
        CompressSettings {
            density: self.density.per_layer(),
            rounds: u32::try_from(self.rounds).unwrap_or(u32::MAX),
            bits: self.bits.per_layer(),
            start: match self.start {
                StartRecipe::Linear => Start::Linear,
                StartRecipe::Density => Start::Density,
            },
            distill: self.distill.as_ref().map(|distill| Distillation {
                temperature: distill.temperature,
                share: distill.share,
            }),
            loss_max: self.loss_max,
            attempts: self.attempts,
        }
    }

    /// Refuses what can not work.
    pub(super) fn check(&self) -> Result<(), RecipeError> {
        match &self.distill {
            Some(distill) if !(0.0..=1.0).contains(&distill.share) => {
                Err(RecipeError("compress.distill: share is a part, from 0 to 1".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// How a phase trains.
    pub fn phase(&self, phase: Phase) -> &PhaseRecipe {
        match phase {
            Phase::Retrain { round, rounds } if round == rounds => &self.settle,
            Phase::Retrain { .. } => &self.retrain,
            Phase::Settle { .. } => &self.settle,
            Phase::FineTune { .. } => &self.fine_tune,
        }
    }
}

impl PhaseRecipe {
    /// Its steps, where an epoch has so many.
    pub fn steps(&self, epoch_steps: u64) -> u64 {
        (self.epochs as u64).saturating_mul(epoch_steps)
    }

    /// The rate at each of its steps.
    pub fn schedule(&self, epoch_steps: u64) -> Schedule {
        match self.cosine {
            Some(last) => Schedule::cosine(self.rate, last, self.steps(epoch_steps)),
            None => Schedule::constant(self.rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Recipe;
    use super::*;

    const RECIPE: &str = "epochs = 1\nbatch = 8\nmodel.mlp = [784, 10]\n[data.digits]\n\
        [schedule]\nrate = 0.1\n[compress]\nrounds = 3\ndensity = { fully-connected = 0.1 }\n\
        retrain = { epochs = 1, rate = 0.1 }\nsettle = { epochs = 2, rate = 0.2, cosine = 0.1 }\n\
        bits = { fully-connected = 5 }\nfine-tune = { epochs = 4, rate = 0.4 }\n";

    fn recipe(more: &str) -> Result<CompressRecipe, RecipeError> {
        Ok(Recipe::parse(&format!("{RECIPE}{more}"), &[])?.compress.unwrap())
    }

    #[test]
    fn the_last_round_trains_as_long_as_what_comes_after_it() {
        let recipe = recipe("").unwrap();
        let epochs = |phase| recipe.phase(phase).epochs;
        assert_eq!(epochs(Phase::Retrain { round: 2, rounds: 3 }), 1);
        assert_eq!(epochs(Phase::Retrain { round: 3, rounds: 3 }), 2);
        assert_eq!(epochs(Phase::Settle { attempt: 1 }), 2);
        assert_eq!(epochs(Phase::FineTune { attempt: 2 }), 4);
        let schedule = recipe.settle.schedule(10);
        assert_eq!((schedule.rate(0), schedule.rate(20)), (0.2, 0.1));
        assert_eq!(recipe.retrain.schedule(10).rate(9), 0.1);
    }

    #[test]
    fn a_teacher_has_a_part_of_the_loss_if_it_is_named() {
        assert_eq!(recipe("").unwrap().settings().distill, None);
        let taught = recipe("distill = { temperature = 4, share = 0.5 }").unwrap();
        let wanted = Distillation { temperature: 4.0, share: 0.5 };
        assert_eq!(taught.settings().distill, Some(wanted));
        let said = recipe("distill = { temperature = 4, share = 1.5 }").unwrap_err().to_string();
        assert!(said.contains("distill: share"), "{said}");
        assert!(recipe("distill = { temperature = 0, share = 0.5 }").is_err());
    }
}
