//! How ranks work together, as a recipe says it.

use super::{RecipeError, checks};
use crate::data::{DataError, Dataset, by_label, evenly};
use crate::optimizer::SgdSettings;
use crate::strategy::{
    DeepGradientSettings, DownpourSettings, FederatedSettings, Precision, Sparsity, Staleness,
};
use serde::{Deserialize, Serialize};

/// How ranks work together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyRecipe {
    /// All take the same step, by the mean of their gradients.
    Synchronous(SynchronousRecipe),
    /// The same, where only the greatest gradients are sent.
    DeepGradient(DeepGradientRecipe),
    /// Each at its own pace, over a parameter server.
    Downpour(DownpourRecipe),
    /// Each alone, and together now and then.
    Local(LocalRecipe),
    /// Clients with data of their own.
    Federated(FederatedRecipe),
}

impl Default for StrategyRecipe {
    fn default() -> Self {
        Self::Synchronous(SynchronousRecipe::default())
    }
}

/// Synchronous data parallel training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SynchronousRecipe {
    /// Gradients are sent in buckets of at least so many bytes.
    pub bucket_bytes: usize,
}

/// Deep Gradient Compression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DeepGradientRecipe {
    /// What part of the gradients is held back.
    #[serde(deserialize_with = "checks::share")]
    pub sparsity: f64,
    /// The same, in each epoch of the warm-up.
    #[serde(deserialize_with = "checks::shares")]
    pub warm_up: Vec<f64>,
    /// The largest norm of the gradient of all ranks together.
    #[serde(deserialize_with = "checks::positive_if_any")]
    pub clip: Option<f32>,
    /// Whether a value that is sent takes its velocity with it.
    pub factor_masking: bool,
    /// Whether values are sent as half floats.
    pub half: bool,
}

/// Downpour SGD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DownpourRecipe {
    /// How far ranks may drift apart.
    pub staleness: StalenessRecipe,
    /// Added to the roots that Adagrad divides by.
    #[serde(deserialize_with = "checks::positive")]
    pub epsilon: f32,
}

/// How far ranks may drift apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum StalenessRecipe {
    /// Not at all.
    Synchronous,
    /// By so many steps.
    Bounded(u64),
    /// Without bounds.
    #[default]
    Asynchronous,
}

/// Local SGD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LocalRecipe {
    /// Ranks meet after so many steps.
    pub period: u64,
}

/// Federated averaging; the letters are those of McMahan et al. (2017).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FederatedRecipe {
    /// How many clients there are (K).
    #[serde(deserialize_with = "checks::one_or_more")]
    pub clients: usize,
    /// Which part of them takes part in a round (C).
    pub fraction: f64,
    /// How often a client goes through its data in a round (E).
    #[serde(deserialize_with = "checks::one_or_more")]
    pub client_epochs: usize,
    /// Whether a client's batch is all its data (B = infinity).
    #[serde(default)]
    pub whole_batch: bool,
    /// Who has what.
    #[serde(default)]
    pub split: ClientsRecipe,
}

/// Which data clients have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum ClientsRecipe {
    /// Any: IID.
    #[default]
    Evenly,
    /// Sorted by label, and cut into shards, so many for each client: most have few classes.
    ByLabel(usize),
}

/// How gradients move parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct OptimizerRecipe {
    /// How much of the last step's velocity stays.
    #[serde(deserialize_with = "checks::not_negative")]
    pub momentum: f32,
    /// Whether the gradient counts as if the velocity had already moved the parameters.
    pub nesterov: bool,
    /// How much of each weight is added to its gradient.
    #[serde(deserialize_with = "checks::not_negative")]
    pub weight_decay: f32,
}

impl Default for SynchronousRecipe {
    fn default() -> Self {
        Self { bucket_bytes: 1 << 20 }
    }
}

impl Default for DeepGradientRecipe {
    fn default() -> Self {
        let warm_up = vec![0.75, 0.9375, 0.984_375, 0.996];
        Self { sparsity: 0.999, warm_up, clip: None, factor_masking: true, half: false }
    }
}

impl Default for DownpourRecipe {
    fn default() -> Self {
        Self { staleness: StalenessRecipe::default(), epsilon: 1e-7 }
    }
}

impl DownpourRecipe {
    /// The settings.
    pub fn settings(&self) -> DownpourSettings {
        let staleness = match self.staleness {
            StalenessRecipe::Synchronous => Staleness::Synchronous,
            StalenessRecipe::Bounded(steps) => Staleness::Bounded(steps),
            StalenessRecipe::Asynchronous => Staleness::Asynchronous,
        };
        DownpourSettings { staleness, epsilon: self.epsilon }
    }
}

impl OptimizerRecipe {
    /// The settings.
    pub fn settings(&self) -> SgdSettings {
        let (momentum, nesterov) = (self.momentum, self.nesterov);
        SgdSettings { momentum, nesterov, weight_decay: self.weight_decay }
    }
}

impl DeepGradientRecipe {
    /// The settings, where an epoch has so many steps.
    pub fn settings(&self, sgd: SgdSettings, epoch_steps: u64) -> DeepGradientSettings {
        let sparsity = Sparsity {
            stages: self.warm_up.clone(),
            stage_steps: epoch_steps,
            last: self.sparsity,
        };
        let precision = if self.half { Precision::Half } else { Precision::Single };
        let (clip, factor_masking) = (self.clip, self.factor_masking);
        DeepGradientSettings { sgd, clip, sparsity, factor_masking, precision }
    }
}

impl FederatedRecipe {
    /// The settings, with this batch of a client.
    pub fn settings(&self, sgd: SgdSettings, batch: usize, seed: u64) -> FederatedSettings {
        let batch = (!self.whole_batch).then_some(batch);
        FederatedSettings { fraction: self.fraction, epochs: self.client_epochs, batch, sgd, seed }
    }

    /// The rows of each client.
    ///
    /// # Errors
    /// When a client would be without data.
    pub fn clients(&self, data: &Dataset, seed: u64) -> Result<Vec<Vec<u32>>, DataError> {
        match self.split {
            ClientsRecipe::Evenly => evenly(data, self.clients, seed),
            ClientsRecipe::ByLabel(shards) => by_label(data, self.clients, shards, seed),
        }
    }

    /// Refuses what can not work.
    pub(super) fn check(&self) -> Result<(), RecipeError> {
        if self.fraction > 0.0 && self.fraction <= 1.0 {
            return Ok(());
        }
        let text = "strategy.federated: fraction is a share of the clients, above 0 and up to 1";
        Err(RecipeError(text.to_owned()))
    }
}
