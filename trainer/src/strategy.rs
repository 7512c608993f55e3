//! How parameters move: by a rank's own gradients and those of others.

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

/// One rank's part of training together.
///
/// All ranks start with the same parameters, and call the same methods in the same order. A
/// strategy that has failed is of no further use.
pub trait Strategy: Send {
    /// Learns from one batch: this rank's.
    ///
    /// # Errors
    /// When the batch does not fit the model, the loss is not finite, or a rank is late or gone.
    fn step(
        &mut self,
        learner: &mut dyn Learner,
        parameters: &mut [f32],
        batch: &Batch,
        rate: f32,
    ) -> Result<StepReport, TrainError>;

    /// Whether all ranks have the same parameters between steps, now or always.
    fn is_together(&self) -> bool {
        true
    }

    /// The job has failed elsewhere: this will not step any more, nor wait for other ranks.
    fn abandon(&mut self) {}

    /// Makes the parameters of all ranks the same, where they drift apart between steps. To be
    /// called before parameters are evaluated, and before [`Strategy::state`].
    ///
    /// # Errors
    /// When a rank is late or gone.
    fn agree(&mut self, _parameters: &mut [f32]) -> Result<(), TrainError> {
        Ok(())
    }

    /// What must be remembered to go on later, of all ranks together; rank 0 gets it.
    ///
    /// # Errors
    /// When a rank is late or gone.
    fn state(&mut self) -> Result<Option<State>, TrainError>;

    /// Goes on from a state; every rank is given the same. The number of ranks may be another
    /// one; with the same number all goes on to the bit.
    ///
    /// # Errors
    /// When it is another strategy's or another model's.
    fn restore(&mut self, state: &State) -> Result<(), TrainError>;
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The mean loss before the step, over the ranks; where ranks do not wait for each other, this
    /// rank's.
    pub loss: f32,
    /// What this rank sent to others.
    pub bytes_sent: u64,
}
