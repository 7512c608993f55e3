//! One training, from its first step to its last: the same for ranks that are threads and for
//! ranks that are processes.

mod evaluate;
mod pulse;
mod rank;
mod rounds;
mod trainee;

pub use evaluate::{Evaluation, evaluate};
pub use trainee::{NetworkTrainee, Trainee};

use crate::checkpoint::{Checkpoint, Measured, Store};
use crate::collective::Collective;
use crate::data::{DataError, Dataset, Shard, Shift};
use crate::error::TrainError;
use crate::layout::Layout;
use crate::schedule::Schedule;
use crate::strategy::{FederatedAveraging, Strategy};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// One training. All ranks are given the same.
pub struct Job<'a> {
    /// What is trained.
    pub trainee: &'a dyn Trainee,
    /// What with.
    pub train: Arc<Dataset>,
    /// What is measured with.
    pub test: Arc<Dataset>,
    /// How ranks work together.
    pub work: &'a Work<'a>,
    /// The learning rate.
    pub schedule: Schedule,
    /// The rest.
    pub settings: Settings,
    /// Who is told how it goes; asked on rank 0 alone.
    pub watcher: &'a dyn Watcher,
    /// Where checkpoints go; rank 0 alone writes them.
    pub store: Option<&'a Store>,
    /// What to go on from; that of rank 0 counts.
    pub resume: Option<&'a Checkpoint>,
    /// Set when the training is to stop: it ends soon, with a checkpoint.
    pub stop: &'a AtomicBool,
}

/// How ranks work together.
pub enum Work<'a> {
    /// Batch by batch: makes a rank's part.
    Steps(&'a MakeStrategy<'a>),
    /// Round by round, on clients' own data.
    Rounds {
        /// Makes a rank's part.
        make: &'a MakeFederated<'a>,
        /// The rows of each client.
        clients: &'a [Vec<u32>],
    },
}

/// Makes a rank's part of a strategy.
pub type MakeStrategy<'a> =
    dyn Fn(&Layout, Box<dyn Collective>) -> Result<Box<dyn Strategy>, TrainError> + Sync + 'a;

/// Makes a rank's part of federated averaging.
pub type MakeFederated<'a> =
    dyn Fn(&Layout, Box<dyn Collective>) -> Result<FederatedAveraging, TrainError> + Sync + 'a;

/// Numbers of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What all that is random comes from.
    pub seed: u64,
    /// Examples of a step over all ranks.
    pub batch: usize,
    /// When it ends.
    pub steps: u64,
    /// A checkpoint every so many steps, as well as after each epoch.
    pub checkpoint_steps: Option<u64>,
    /// How images are shifted, if they are.
    pub shift: Option<Shift>,
    /// The accuracy at which it ends early, if at any.
    pub enough: Option<f32>,
    /// Tells recipes apart.
    pub recipe: String,
    /// Tells data apart.
    pub data: String,
}

/// Says at which step a loss was no number.
fn at_step(error: TrainError, step: u64, epoch: u64) -> TrainError {
    match error {
        error @ TrainError::NotFinite { .. } => {
            TrainError::Step { step, epoch, source: Box::new(error) }
        }
        error => error,
    }
}

/// Who is told how a training goes.
pub trait Watcher: Sync {
    /// A step was taken.
    ///
    /// # Errors
    /// When it can not be written down; the training then ends.
    fn step(&self, step: &StepNews) -> Result<(), TrainError>;

    /// An epoch, or a round, was measured.
    ///
    /// # Errors
    /// As [`Watcher::step`].
    fn measured(&self, measured: &Measured) -> Result<(), TrainError>;
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepNews {
    /// Steps that were taken, this one among them.
    pub steps: u64,
    /// The epoch it is of, from 0.
    pub epoch: u64,
    /// Its mean loss.
    pub loss: f32,
    /// Its learning rate.
    pub rate: f32,
    /// Bytes that rank 0 has sent so far.
    pub bytes_sent: u64,
    /// Rows that were learned from in this step, over all ranks.
    pub rows: usize,
}

/// What came of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What the model has learned.
    pub parameters: Vec<f32>,
    /// What was measured, epoch by epoch.
    pub history: Vec<Measured>,
    /// Steps that were taken.
    pub steps: u64,
    /// Whether it was told to stop before its end.
    pub stopped: bool,
}

impl Job<'_> {
    /// Refuses what can not work, before any work starts.
    ///
    /// # Errors
    /// When a rank would be without data, or the checkpoint is of another job.
    pub fn check(&self, layout: &Layout, world: usize) -> Result<(), TrainError> {
        match self.work {
            Work::Steps(_) => {
                Shard::of(&self.train, self.settings.batch, 0, world)?;
            }
            Work::Rounds { clients: [], .. } => {
                let (data, rows) = (self.train.name().to_owned(), self.train.rows());
                let problem = "there are no clients".to_owned();
                return Err(DataError::TooFew { data, rows, problem }.into());
            }
            Work::Rounds { .. } => {}
        }
        if let Some(checkpoint) = self.resume {
            checkpoint.check(layout, &self.settings.data, &self.settings.recipe)?;
        }
        Ok(())
    }

    /// Steps of an epoch, where `world` ranks share it; a round is one step.
    ///
    /// # Errors
    /// When a rank would be without data.
    pub fn epoch_steps(&self, world: usize) -> Result<u64, TrainError> {
        match self.work {
            Work::Steps(_) => Ok(Shard::of(&self.train, self.settings.batch, 0, world)?.steps()),
            Work::Rounds { .. } => Ok(1),
        }
    }

    /// One rank's part; all ranks call it.
    ///
    /// # Errors
    /// When it can not go on: the model or the data do not fit, a loss is no number, another rank
    /// is gone, a checkpoint can not be written.
    pub fn run(&self, collective: Box<dyn Collective>) -> Result<Outcome, TrainError> {
        let (rank, world) = (collective.rank(), collective.world());
        let run = match self.work {
            Work::Steps(make) => rank::run(self, *make, collective),
            Work::Rounds { make, clients } => rounds::run(self, *make, clients, collective),
        };
        run.map_err(|error| match error {
            // These say already who is meant.
            TrainError::Collective(_) | TrainError::Panicked { .. } => error,
            error if world > 1 => TrainError::Rank { rank, source: Box::new(error) },
            error => error,
        })
    }
}
