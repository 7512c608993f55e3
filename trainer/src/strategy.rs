//! Strategies: updates of parameters from the gradients of all ranks.

mod deep_gradient;
mod downpour;
mod federated;
mod local;
mod state;
mod synchronous;

pub use deep_gradient::{DeepGradient, DeepGradientSettings, Precision, Sparsity, coding};
pub use downpour::{Downpour, DownpourSettings, Staleness};
pub use federated::{ClientData, FederatedAveraging, FederatedSettings, RoundReport};
pub use local::LocalSgd;
pub use state::State;
pub use synchronous::Synchronous;

use crate::batch::Batch;
use crate::error::TrainError;
use crate::learner::Learner;

/// The part of one rank in distributed training.
///
/// All ranks start with the same parameters, and call the same methods in the same order. A
/// strategy that has failed cannot be used any more.
pub trait Strategy: Send {
    /// Trains on this rank's batch.
    ///
    /// # Errors
    /// Fails when the batch does not fit the model, the loss is not finite, or a rank is late or
    /// gone.
    fn step(
        &mut self,
        learner: &mut dyn Learner,
        parameters: &mut [f32],
        batch: &Batch,
        rate: f32,
    ) -> Result<StepReport, TrainError>;

    /// Returns true if all ranks have the same parameters between steps at present.
    fn is_synchronized(&self) -> bool {
        true
    }

    /// Stops waiting for other ranks, after the job has failed elsewhere. No step follows.
    fn abort(&mut self) {}

    /// Makes the parameters of all ranks equal, where they drift apart between steps. Called before
    /// parameters are evaluated, and before [`Strategy::state`].
    ///
    /// # Errors
    /// Fails when a rank is late or gone.
    fn synchronize(&mut self, _parameters: &mut [f32]) -> Result<(), TrainError> {
        Ok(())
    }

    /// Gathers the state of all ranks for a checkpoint, on rank 0.
    ///
    /// # Errors
    /// Fails when a rank is late or gone.
    fn state(&mut self) -> Result<Option<State>, TrainError>;

    /// Restores a state, which is the same on every rank. The number of ranks may differ; with the
    /// same number, training continues bitwise identically.
    ///
    /// # Errors
    /// Fails when the state belongs to another strategy or model.
    fn restore(&mut self, state: &State) -> Result<(), TrainError>;
}

/// Result of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Mean loss before the step, over the ranks. It is this rank's loss if ranks do not wait for
    /// each other.
    pub loss: f32,
    /// Bytes sent to other ranks.
    pub bytes_sent: u64,
}
