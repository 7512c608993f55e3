//! Deep Compression of a trained model (Han et al., ICLR 2016): prunes and retrains in rounds, then
//! shares weights and fine-tunes them. Each part repeats until the accuracy is restored.

mod masked;
mod shared;
mod prune;
mod share;
mod train;
mod describe;
#[cfg(test)]
mod stub;

pub use describe::{PackageInfo, describe};

use crate::error::TrainError;
use crate::job::{NetworkTask, Outcome, StepEvent, TrainTask};
use crate::network::Distillation;
use skysail_compression::{ClusterInit, CompressError, PerLayer};
use skysail_graph::Model;
use std::fmt;

/// Settings of compression.
#[derive(Debug, Clone, PartialEq)]
pub struct CompressSettings {
    /// Share of its weights that each layer keeps in the end.
    pub density: PerLayer<f64>,
    /// Number of pruning rounds, each of which retrains.
    pub rounds: u32,
    /// Initial bits per code of each layer.
    pub bits: PerLayer<u8>,
    /// Initialization of the shared values.
    pub start: ClusterInit,
    /// Distillation from the uncompressed model, in addition to the labels.
    pub distill: Option<Distillation>,
    /// Largest allowed loss of accuracy, from 0 to 1.
    pub loss_max: f32,
    /// Number of attempts at a step that loses more: more training, then more bits.
    pub attempts: u32,
}

/// A phase of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Training after a round of pruning.
    Retrain {
        /// Round, from 1.
        round: u32,
        /// Number of rounds.
        rounds: u32,
    },
    /// Training at the last density, until the accuracy is restored.
    Settle {
        /// Attempt, from 1.
        attempt: u32,
    },
    /// Training of the shared values.
    FineTune {
        /// Attempt, from 1.
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

/// Function that trains a task in a phase.
pub type TrainPhase<'a> = dyn FnMut(Phase, &dyn TrainTask) -> Result<Outcome, TrainError> + 'a;

/// Function that receives each finished step.
pub type OnStep<'a> = dyn FnMut(&CompressionStep) + 'a;

/// Receives the progress of compression.
pub trait CompressObserver: Sync {
    /// Called when a phase of training starts.
    fn phase_started(&self, phase: Phase, steps: u64);

    /// Called after each step of training.
    fn step(&self, step: &StepEvent);

    /// Called when a step of compression is finished.
    fn step_done(&self, step: &CompressionStep);
}

/// A finished step of compression.
#[derive(Debug, Clone, PartialEq)]
pub struct CompressionStep {
    /// Description, such as `pruned to 8 %`.
    pub what: String,
    /// Share of all weights that is not zero.
    pub density: f64,
    /// Accuracy on the validation data.
    pub accuracy: f32,
}

/// A compressed model.
#[derive(Debug)]
pub struct CompressedModel {
    /// The graph, whose weights are zeros and shared values.
    pub model: Model,
    /// Accuracy before and after compression.
    pub accuracy: [f32; 2],
    /// Bits per code of each layer.
    pub bits: Vec<(String, u8)>,
    /// Share of its weights that each layer kept.
    pub density: Vec<(String, f64)>,
    /// All steps.
    pub steps: Vec<CompressionStep>,
}

/// An error of compression.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// A setting cannot be met.
    #[error(transparent)]
    Setting(#[from] CompressError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The data has no classes, so there is no accuracy.
    #[error("the data has no classes, so accuracy cannot be measured")]
    NoAccuracy,
    /// Too much accuracy was lost.
    #[error(
        "the accuracy is {:.2} %, below the required {:.2} %: allow a larger loss, a higher density, \
         more epochs or more bits",
        accuracy * 100.0,
        wanted * 100.0
    )]
    AccuracyLost {
        /// Accuracy of the compressed model.
        accuracy: f32,
        /// Required accuracy.
        wanted: f32,
    },
    /// Compression was stopped by the stop flag.
    #[error("stopped; nothing was written")]
    Stopped,
}

/// Compresses a trained model of accuracy `before`. Steps that lose more than allowed are repeated;
/// the best attempt counts, even if it misses the required accuracy.
///
/// # Errors
/// Fails when a setting cannot be met, or training fails.
pub fn compress(
    model: &Model,
    before: f32,
    settings: &CompressSettings,
    train: &mut TrainPhase<'_>,
    on_step: &mut OnStep<'_>,
) -> Result<CompressedModel, CompressionError> {
    let wanted = before - settings.loss_max;
    let mut compressor = Compressor { settings, wanted, train, on_step, steps: Vec::new() };
    compressor.record("original".to_owned(), 1.0, before);
    let mut task = NetworkTask::new(model.clone())?;
    if let Some(settings) = settings.distill {
        task = task.with_teacher(model, settings)?;
    }
    let pruned = prune::prune(&mut compressor, &task)?;
    let shared = share::share(&mut compressor, &task, &pruned)?;
    Ok(CompressedModel {
        model: shared.model,
        accuracy: [before, shared.accuracy],
        bits: shared.bits,
        density: shared.density,
        steps: compressor.steps,
    })
}

/// State that both parts of compression share.
struct Compressor<'w, 't> {
    settings: &'w CompressSettings,
    wanted: f32,
    train: &'w mut TrainPhase<'t>,
    on_step: &'w mut OnStep<'t>,
    steps: Vec<CompressionStep>,
}

impl Compressor<'_, '_> {
    /// Trains, and returns the parameters and the final accuracy.
    fn train(
        &mut self,
        phase: Phase,
        task: &dyn TrainTask,
    ) -> Result<(Vec<f32>, f32), CompressionError> {
        let outcome = (self.train)(phase, task)?;
        if outcome.stopped {
            return Err(CompressionError::Stopped);
        }
        let accuracy = outcome.history.last().and_then(|measured| measured.accuracy);
        Ok((outcome.parameters, accuracy.ok_or(CompressionError::NoAccuracy)?))
    }

    fn record(&mut self, what: String, density: f64, accuracy: f32) {
        let step = CompressionStep { what, density, accuracy };
        (self.on_step)(&step);
        self.steps.push(step);
    }

    fn is_accurate(&self, accuracy: f32) -> bool {
        accuracy >= self.wanted
    }
}
