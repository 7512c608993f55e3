//! Deep Compression of a trained model (Han et al., ICLR 2016): prune and retrain in rounds, share
//! values, fine-tune them; each until the accuracy holds.

mod masked;
mod shared;
mod prune;
mod share;
mod train;
mod describe;
#[cfg(test)]
mod stub;

pub use describe::{Known, describe};

use crate::error::TrainError;
use crate::job::{NetworkTrainee, Outcome, StepNews, Trainee};
use crate::network::Distillation;
use skysail_compression::{CompressError, PerLayer, Start};
use skysail_graph::Model;
use std::fmt;

/// What is done to a model, and what that may cost.
#[derive(Debug, Clone, PartialEq)]
pub struct CompressSettings {
    /// The share of its weights that each layer keeps in the end.
    pub density: PerLayer<f64>,
    /// Pruning goes there in so many rounds, each of which retrains.
    pub rounds: u32,
    /// Bits of a layer's codes to begin with.
    pub bits: PerLayer<u8>,
    /// Where shared values start.
    pub start: Start,
    /// How much is learned from the model that is compressed, besides the labels.
    pub distill: Option<Distillation>,
    /// The accuracy that may be lost, from 0 to 1.
    pub loss_max: f32,
    /// How often a step that loses more is tried again: more training, then more bits.
    pub attempts: u32,
}

/// A part of the work that trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// After a round of pruning; the rounds that are done, and how many there are.
    Retrain {
        /// From 1.
        round: u32,
        /// The last of them.
        rounds: u32,
    },
    /// At the last density, where the accuracy does not hold yet.
    Settle {
        /// From 1.
        attempt: u32,
    },
    /// Of the shared values.
    FineTune {
        /// From 1.
        attempt: u32,
    },
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retrain { round, rounds } => write!(f, "pruning, round {round} of {rounds}"),
            Self::Settle { attempt } => write!(f, "more training, attempt {attempt}"),
            Self::FineTune { attempt: 1 } => write!(f, "sharing values"),
            Self::FineTune { attempt } => write!(f, "sharing more values, attempt {attempt}"),
        }
    }
}

/// Trains what a phase leaves to train, as its recipe says.
pub type Train<'a> = dyn FnMut(Phase, &dyn Trainee) -> Result<Outcome, TrainError> + 'a;

/// Who is told what was done.
pub type Tell<'a> = dyn FnMut(&Done) + 'a;

/// Who watches all of it.
pub trait Witness: Sync {
    /// A part that trains begins, which takes so many steps.
    fn begins(&self, phase: Phase, steps: u64);

    /// A step of it was taken.
    fn step(&self, step: &StepNews);

    /// A part is done.
    fn done(&self, done: &Done);
}

/// A step that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// In words, such as `pruned to 8 %`.
    pub what: String,
    /// The share of all weights that is not zero.
    pub density: f64,
    /// The share that is classified right of the examples that the work goes by.
    pub accuracy: f32,
}

/// A model that was compressed.
#[derive(Debug)]
pub struct Compressed {
    /// The graph, whose weights are zeros and shared values.
    pub model: Model,
    /// The accuracy before and after.
    pub accuracy: [f32; 2],
    /// The bits of each layer's codes.
    pub bits: Vec<(String, u8)>,
    /// The share of its weights that each layer kept.
    pub density: Vec<(String, f64)>,
    /// All steps.
    pub steps: Vec<Done>,
}

/// Why a model can not be compressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// A setting can not be met.
    #[error(transparent)]
    Setting(#[from] CompressError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The data has no classes to count.
    #[error("the data has no classes, so that no accuracy can be held")]
    NoAccuracy,
    /// Too much was lost.
    #[error(
        "it gets {:.2} % right, and {:.2} % are to be kept: allow a larger loss, a higher density, \
         more epochs or more bits",
        accuracy * 100.0,
        wanted * 100.0
    )]
    Lost {
        /// What is left.
        accuracy: f32,
        /// What was asked for.
        wanted: f32,
    },
    /// It was told to stop.
    #[error("stopped; nothing was written")]
    Stopped,
}

/// Compresses a trained model, whose accuracy is `before`. Where more is lost than may be, it is
/// tried again, and the best that was found counts, whatever it is.
///
/// # Errors
/// When a setting can not be met, or training fails.
pub fn compress(
    model: &Model,
    before: f32,
    settings: &CompressSettings,
    train: &mut Train<'_>,
    tell: &mut Tell<'_>,
) -> Result<Compressed, CompressionError> {
    let wanted = before - settings.loss_max;
    let mut work = Work { settings, wanted, train, tell, steps: Vec::new() };
    work.tell("as it was".to_owned(), 1.0, before);
    let mut trainee = NetworkTrainee::new(model.clone())?;
    if let Some(how) = settings.distill {
        trainee = trainee.taught_by(model, how)?;
    }
    let pruned = prune::prune(&mut work, &trainee)?;
    let shared = share::share(&mut work, &trainee, &pruned)?;
    Ok(Compressed {
        model: shared.model,
        accuracy: [before, shared.accuracy],
        bits: shared.bits,
        density: shared.density,
        steps: work.steps,
    })
}

/// What both halves of the work share.
struct Work<'w, 't> {
    settings: &'w CompressSettings,
    wanted: f32,
    train: &'w mut Train<'t>,
    tell: &'w mut Tell<'t>,
    steps: Vec<Done>,
}

impl Work<'_, '_> {
    /// Trains, and gives the parameters and the accuracy at the end.
    fn train(
        &mut self,
        phase: Phase,
        trainee: &dyn Trainee,
    ) -> Result<(Vec<f32>, f32), CompressionError> {
        let outcome = (self.train)(phase, trainee)?;
        if outcome.stopped {
            return Err(CompressionError::Stopped);
        }
        let accuracy = outcome.history.last().and_then(|measured| measured.accuracy);
        Ok((outcome.parameters, accuracy.ok_or(CompressionError::NoAccuracy)?))
    }

    fn tell(&mut self, what: String, density: f64, accuracy: f32) {
        let done = Done { what, density, accuracy };
        (self.tell)(&done);
        self.steps.push(done);
    }

    fn holds(&self, accuracy: f32) -> bool {
        accuracy >= self.wanted
    }
}
