//! The sections `[strategy]` and `[optimizer]` of a recipe.

use super::{RecipeError, checks};
use crate::data::{DataError, Dataset, split_by_label, split_evenly};
use crate::optimizer::SgdSettings;
use crate::strategy::{
    DeepGradientSettings, DownpourSettings, FederatedSettings, Precision, Sparsity, Staleness,
};
use serde::{Deserialize, Serialize};

/// Strategy by which ranks train together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyRecipe {
    /// Synchronous SGD: all ranks take the same step, by the mean of their gradients.
    Synchronous(SynchronousRecipe),
    /// Synchronous SGD that sends only the largest gradients.
    DeepGradient(DeepGradientRecipe),
    /// Asynchronous SGD over a parameter server.
    Downpour(DownpourRecipe),
    /// Local steps with periodic averaging.
    Local(LocalRecipe),
    /// Federated averaging over clients with data of their own.
    Federated(FederatedRecipe),
}

impl Default for StrategyRecipe {
    fn default() -> Self {
        Self::Synchronous(SynchronousRecipe::default())
    }
}

/// Settings of synchronous data-parallel training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SynchronousRecipe {
    /// Least bytes of a bucket of gradients.
    pub bucket_bytes: usize,
}

/// Settings of Deep Gradient Compression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DeepGradientRecipe {
    /// Share of the gradients held back, from 0 to below 1.
    #[serde(deserialize_with = "checks::share")]
    pub sparsity: f64,
    /// Sparsity in each epoch of the warm-up.
    #[serde(deserialize_with = "checks::shares")]
    pub warm_up: Vec<f64>,
    /// Largest norm of the summed gradient of all ranks.
    #[serde(deserialize_with = "checks::positive_if_any")]
    pub clip: Option<f32>,
    /// True to clear the velocity of each value that is sent.
    pub factor_masking: bool,
    /// True to send values as half floats.
    pub half: bool,
}

/// Settings of Downpour SGD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DownpourRecipe {
    /// Bound on how far ranks may drift apart.
    pub staleness: StalenessRecipe,
    /// Constant added to the roots that Adagrad divides by.
    #[serde(deserialize_with = "checks::positive")]
    pub epsilon: f32,
}

/// Bound on how far ranks may drift apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum StalenessRecipe {
    /// No drift.
    Synchronous,
    /// Largest drift in steps.
    Bounded(u64),
    /// No bound.
    #[default]
    Asynchronous,
}

/// Settings of local SGD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LocalRecipe {
    /// Steps between two averagings.
    pub period: u64,
}

/// Settings of federated averaging; letters are those of McMahan et al. (2017).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FederatedRecipe {
    /// Number of clients (K).
    #[serde(deserialize_with = "checks::one_or_more")]
    pub clients: usize,
    /// Fraction of the clients in a round, above 0 and up to 1 (C).
    pub fraction: f64,
    /// Passes of a client over its data in a round (E).
    #[serde(deserialize_with = "checks::one_or_more")]
    pub client_epochs: usize,
    /// True if a client's batch is all its data (B = infinity).
    #[serde(default)]
    pub whole_batch: bool,
    /// Distribution of the data over the clients.
    #[serde(default)]
    pub split: ClientsRecipe,
}

/// Distribution of the data over the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum ClientsRecipe {
    /// Randomly: IID.
    #[default]
    Evenly,
    /// Sorted by label and cut into shards. The number is shards per client: most clients have few
    /// classes.
    ByLabel(usize),
}

/// Settings of SGD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct OptimizerRecipe {
    /// Share of the last step's velocity that is kept.
    #[serde(deserialize_with = "checks::not_negative")]
    pub momentum: f32,
    /// True for Nesterov momentum: the gradient counts as if the velocity had been applied.
    pub nesterov: bool,
    /// Share of each weight that is added to its gradient.
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
    /// The settings of the strategy.
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
    /// The settings of the optimizer.
    pub fn settings(&self) -> SgdSettings {
        let (momentum, nesterov) = (self.momentum, self.nesterov);
        SgdSettings { momentum, nesterov, weight_decay: self.weight_decay }
    }
}

impl DeepGradientRecipe {
    /// The settings of the strategy, for `epoch_steps` steps an epoch.
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
    /// The settings of the strategy; `batch` is that of a client.
    pub fn settings(&self, sgd: SgdSettings, batch: usize, seed: u64) -> FederatedSettings {
        let batch = (!self.whole_batch).then_some(batch);
        FederatedSettings { fraction: self.fraction, epochs: self.client_epochs, batch, sgd, seed }
    }

    /// The row indices of each client.
    ///
    /// # Errors
    /// Fails when a client would have no data.
    pub fn clients(&self, data: &Dataset, seed: u64) -> Result<Vec<Vec<u32>>, DataError> {
        match self.split {
            ClientsRecipe::Evenly => split_evenly(data, self.clients, seed),
            ClientsRecipe::ByLabel(shards) => split_by_label(data, self.clients, shards, seed),
        }
    }

    /// Rejects impossible settings.
    pub(super) fn check(&self) -> Result<(), RecipeError> {
        if self.fraction > 0.0 && self.fraction <= 1.0 {
            return Ok(());
        }
        let text = "strategy.federated: fraction is a share of the clients, above 0 and up to 1";
        Err(RecipeError(text.to_owned()))
    }
}
