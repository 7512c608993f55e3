//! How a trained model is compressed, as a recipe says it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use skysail_compression::{PerLayer, Start};

use super::checks;
use crate::compress::{CompressSettings, Phase};
use crate::schedule::Schedule;

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
    pub cosine: Option<f32>,
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
            loss_max: self.loss_max,
            attempts: self.attempts,
        }
    }

    /// How a phase trains.
    pub fn phase(&self, phase: Phase) -> &PhaseRecipe {
        match phase {
            Phase::Retrain { round, rounds } if round == rounds => &self.settle,
            Phase::Retrain { .. } => &self.retrain,
            Phase::Settle => &self.settle,
            Phase::FineTune => &self.fine_tune,
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
