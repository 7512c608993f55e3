//! The section `[compress]` of a recipe.

use super::{RecipeError, checks};
use crate::compress::{CompressSettings, Phase};
use crate::network::Distillation;
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};
use skysail_compression::{ClusterInit, PerLayer};
use std::collections::BTreeMap;

/// Deep Compression of the trained model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CompressRecipe {
    /// Share of its weights that each layer keeps.
    pub density: LayersRecipe<f64>,
    /// Number of pruning rounds.
    #[serde(deserialize_with = "checks::one_or_more")]
    pub rounds: usize,
    /// Training after each round.
    pub retrain: PhaseRecipe,
    /// Training at the last density, until the accuracy is restored.
    pub settle: PhaseRecipe,
    /// Bits per code of each layer.
    pub bits: LayersRecipe<u8>,
    /// Initialization of the shared values.
    #[serde(default)]
    pub start: StartRecipe,
    /// Training of the shared values.
    pub fine_tune: PhaseRecipe,
    /// Distillation from the uncompressed model in all these phases; by default they train on
    /// labels only.
    pub distill: Option<DistillRecipe>,
    /// Largest allowed loss of accuracy, from 0 to 1.
    #[serde(default)]
    pub loss_max: f32,
    /// Number of attempts at a step that loses more.
    #[serde(default = "three")]
    pub attempts: u32,
}

/// Values for kinds of layers, and for single layers by the names of their weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LayersRecipe<T> {
    /// Value for convolutions; without one they are left unchanged.
    pub convolution: Option<T>,
    /// Value for fully connected layers; without one they are left unchanged.
    pub fully_connected: Option<T>,
    /// Values for single layers, by name.
    #[serde(default = "BTreeMap::new")]
    pub layers: BTreeMap<String, T>,
}

/// A phase of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PhaseRecipe {
    /// Passes over the training data.
    #[serde(deserialize_with = "checks::one_or_more")]
    pub epochs: usize,
    /// Initial learning rate.
    #[serde(deserialize_with = "checks::positive")]
    pub rate: f32,
    /// Final learning rate of a cosine schedule; without it the rate is constant.
    #[serde(default, deserialize_with = "checks::not_negative_if_any")]
    pub cosine: Option<f32>,
}

/// Distillation (Hinton, Vinyals and Dean 2015).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DistillRecipe {
    /// Temperature that softens the teacher's outputs; 1 leaves them unchanged.
    #[serde(deserialize_with = "checks::positive")]
    pub temperature: f32,
    /// Share of the distillation loss from 0 to 1; the rest is the loss on labels.
    pub share: f32,
}

/// Initialization of shared values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartRecipe {
    /// Evenly spaced from the smallest weight to the largest.
    #[default]
    Linear,
    /// By the density of the weights.
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
    /// The settings of compression.
    pub fn settings(&self) -> CompressSettings {
        CompressSettings {
            density: self.density.per_layer(),
            rounds: u32::try_from(self.rounds).unwrap_or(u32::MAX),
            bits: self.bits.per_layer(),
            start: match self.start {
                StartRecipe::Linear => ClusterInit::Linear,
                StartRecipe::Density => ClusterInit::Density,
            },
            distill: self.distill.as_ref().map(|distill| Distillation {
                temperature: distill.temperature,
                share: distill.share,
            }),
            loss_max: self.loss_max,
            attempts: self.attempts,
        }
    }

    /// Rejects impossible settings.
    pub(super) fn check(&self) -> Result<(), RecipeError> {
        match &self.distill {
            Some(distill) if !(0.0..=1.0).contains(&distill.share) => {
                Err(RecipeError("compress.distill: share must be from 0 to 1".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// The training of a phase.
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
    /// Steps of the phase, with `epoch_steps` steps an epoch.
    pub fn steps(&self, epoch_steps: u64) -> u64 {
        (self.epochs as u64).saturating_mul(epoch_steps)
    }

    /// Learning rate at each step of the phase.
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
    fn the_last_round_trains_like_a_settling_phase() {
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
    fn distillation_is_off_by_default() {
        assert_eq!(recipe("").unwrap().settings().distill, None);
        let taught = recipe("distill = { temperature = 4, share = 0.5 }").unwrap();
        let wanted = Distillation { temperature: 4.0, share: 0.5 };
        assert_eq!(taught.settings().distill, Some(wanted));
        let message = recipe("distill = { temperature = 4, share = 1.5 }").unwrap_err().to_string();
        assert!(message.contains("distill: share"), "{message}");
        assert!(recipe("distill = { temperature = 0, share = 0.5 }").is_err());
    }
}
