//! A training run from first step to last; the same for ranks that are threads or processes.

mod evaluate;
mod progress;
mod stop_consensus;
mod steps;
mod rounds;
mod task;

pub use evaluate::{Evaluation, evaluate};
pub use task::{NetworkTask, TrainTask};

use crate::checkpoint::{Checkpoint, Measurement, Store};
use crate::collective::Collective;
use crate::data::{DataError, Dataset, Shard, Shift};
use crate::error::TrainError;
use crate::layout::Layout;
use crate::schedule::Schedule;
use crate::strategy::{FederatedAveraging, Strategy};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A training run. All ranks receive the same.
pub struct Job<'a> {
    /// Model to train.
    pub task: &'a dyn TrainTask,
    /// Training data.
    pub train: Arc<Dataset>,
    /// Test data.
    pub test: Arc<Dataset>,
    /// Mode of training: by steps or by rounds.
    pub mode: &'a Mode<'a>,
    /// The learning rate at each step.
    pub schedule: Schedule,
    /// Numbers and identities of the run.
    pub settings: Settings,
    /// Receives progress, on rank 0 only.
    pub observer: &'a dyn TrainObserver,
    /// Store of checkpoints, written by rank 0 only.
    pub store: Option<&'a Store>,
    /// Checkpoint to resume from; only that of rank 0 is used.
    pub resume: Option<&'a Checkpoint>,
    /// Flag that stops training early, after a checkpoint.
    pub stop: &'a AtomicBool,
}

/// Mode of training.
pub enum Mode<'a> {
    /// Batch by batch; the function creates a rank's strategy.
    Steps(&'a MakeStrategy<'a>),
    /// Round by round, on each client's own data (federated averaging).
    Rounds {
        /// Creates a rank's strategy.
        make: &'a MakeFederated<'a>,
        /// Row indices of each client.
        clients: &'a [Vec<u32>],
    },
}

/// Creates the strategy of one rank.
pub type MakeStrategy<'a> =
    dyn Fn(&Layout, Box<dyn Collective>) -> Result<Box<dyn Strategy>, TrainError> + Sync + 'a;

/// Creates the federated averaging of one rank.
pub type MakeFederated<'a> =
    dyn Fn(&Layout, Box<dyn Collective>) -> Result<FederatedAveraging, TrainError> + Sync + 'a;

/// Numbers and identities of a training run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Seed of all random numbers.
    pub seed: u64,
    /// Rows of a step over all ranks.
    pub batch: usize,
    /// Number of steps.
    pub steps: u64,
    /// Steps between checkpoints, in addition to one after each epoch.
    pub checkpoint_steps: Option<u64>,
    /// Random shift of images, if any.
    pub shift: Option<Shift>,
    /// Accuracy that ends training early, if any.
    pub target_accuracy: Option<f32>,
    /// Fingerprint of the recipe.
    pub recipe: String,
    /// Fingerprint of the data.
    pub data: String,
}

impl Settings {
    /// Returns true if this accuracy ends training early.
    fn is_target_reached(&self, accuracy: Option<f32>) -> bool {
        self.target_accuracy.zip(accuracy).is_some_and(|(target, found)| found >= target)
    }
}

/// Adds the step and the epoch to an error about a non-finite number.
fn at_step(error: TrainError, step: u64, epoch: u64) -> TrainError {
    match error {
        error @ TrainError::NotFinite { .. } => {
            TrainError::Step { step, epoch, source: Box::new(error) }
        }
        error => error,
    }
}

/// Receives the progress of a training run.
pub trait TrainObserver: Sync {
    /// Called after each step.
    ///
    /// # Errors
    /// Fails when the event cannot be written; training then ends.
    fn step(&self, step: &StepEvent) -> Result<(), TrainError>;

    /// Called after each epoch or round is measured.
    ///
    /// # Errors
    /// Same as [`TrainObserver::step`].
    fn measured(&self, measured: &Measurement) -> Result<(), TrainError>;
}

/// A step of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepEvent {
    /// Number of steps so far, including this one.
    pub steps: u64,
    /// Epoch of the step, from 0.
    pub epoch: u64,
    /// Mean loss over the batch.
    pub loss: f32,
    /// Learning rate.
    pub rate: f32,
    /// Bytes that rank 0 has sent so far.
    pub bytes_sent: u64,
    /// Training rows of this step, over all ranks.
    pub rows: usize,
}

/// Result of a training run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The trained parameters.
    pub parameters: Vec<f32>,
    /// Measurements, one per epoch or round.
    pub history: Vec<Measurement>,
    /// Number of steps.
    pub steps: u64,
    /// True if training was stopped early by the stop flag.
    pub stopped: bool,
}

impl Job<'_> {
    /// Checks the job before any work starts.
    ///
    /// # Errors
    /// Fails when a rank would have no data, or the checkpoint belongs to another job.
    pub fn check(&self, layout: &Layout, world: usize) -> Result<(), TrainError> {
        match self.mode {
            Mode::Steps(_) => {
                Shard::of(&self.train, self.settings.batch, 0, world)?;
            }
            Mode::Rounds { clients: [], .. } => {
                let (data, rows) = (self.train.name().to_owned(), self.train.rows());
                let problem = "there are no clients".to_owned();
                return Err(DataError::TooFew { data, rows, problem }.into());
            }
            Mode::Rounds { .. } => {}
        }
        if let Some(checkpoint) = self.resume {
            checkpoint.check(layout, &self.settings.data, &self.settings.recipe)?;
        }
        Ok(())
    }

    /// Steps of an epoch over `world` ranks; a round is one step.
    ///
    /// # Errors
    /// Fails when a rank would have no data.
    pub fn epoch_steps(&self, world: usize) -> Result<u64, TrainError> {
        match self.mode {
            Mode::Steps(_) => Ok(Shard::of(&self.train, self.settings.batch, 0, world)?.steps()),
            Mode::Rounds { .. } => Ok(1),
        }
    }

    /// Runs one rank of the job; called by every rank.
    ///
    /// # Errors
    /// Fails when the model or the data do not fit, a loss is not finite, another rank is gone, or
    /// a checkpoint cannot be written.
    pub fn run(&self, collective: Box<dyn Collective>) -> Result<Outcome, TrainError> {
        let (rank, world) = (collective.rank(), collective.world());
        let run = match self.mode {
            Mode::Steps(make) => steps::run(self, *make, collective),
            Mode::Rounds { make, clients } => rounds::run(self, *make, clients, collective),
        };
        run.map_err(|error| match error {
            // These errors name the rank already.
            TrainError::Collective(_) | TrainError::Panicked { .. } => error,
            error if world > 1 => TrainError::Rank { rank, source: Box::new(error) },
            error => error,
        })
    }
}
