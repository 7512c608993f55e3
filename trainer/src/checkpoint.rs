//! Checkpoints: everything needed to resume training, in one file.
//!
//! The content does not depend on the number of workers that wrote it. The file consists of:
//! - the eight bytes `SKYCHECK`;
//! - the version of the format (u32), the size of the file (u64) and of the header (u32) in bytes;
//! - the header, in JSON;
//! - the parameters and the strategy's slices as float32, in the order of the header;
//! - SHA-256 over everything before it.
//!
//! All numbers are little endian.

mod file;
mod store;
mod error;

pub use error::CheckpointError;
pub use store::{LatestCheckpoint, Store};

use crate::data::Position;
use crate::layout::{Entry, EntryKind, Layout};
use crate::strategy::State;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Everything needed to resume training.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Description of the job.
    pub info: CheckpointInfo,
    /// The trained parameters.
    pub parameters: Vec<f32>,
    /// State of the strategy, its optimizer and its ranks.
    pub state: State,
}

/// Description of a checkpoint's job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// Fingerprint of the recipe.
    pub recipe: String,
    /// Fingerprint of the data.
    pub data: String,
    /// Parameters of the model, in their order.
    pub layout: Vec<Parameter>,
    /// Number of steps.
    pub steps: u64,
    /// Position of the next batch. With the seed it is the whole random state.
    pub position: Position,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Bytes that rank 0 has sent so far.
    pub bytes_sent: u64,
    /// Measurements so far.
    pub history: Vec<Measurement>,
}

/// Description of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Name of the initializer.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Kind of its update: `weight`, `bias` or `statistic`.
    pub kind: String,
}

/// Measurement at the end of an epoch or round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Number of finished epochs or rounds.
    pub epoch: u64,
    /// Number of steps.
    pub steps: u64,
    /// Learning rate of the last step.
    pub rate: f32,
    /// Mean loss of the epoch's batches. A job that was resumed within the epoch counts only its
    /// own batches.
    pub train_loss: f32,
    /// Mean loss on the test data.
    pub test_loss: f32,
    /// Share of test rows classified correctly; `None` for numeric targets.
    pub accuracy: Option<f32>,
    /// Bytes that rank 0 has sent.
    pub bytes_sent: u64,
}

impl From<&Entry> for Parameter {
    fn from(entry: &Entry) -> Self {
        let kind = match entry.kind {
            EntryKind::Weight => "weight",
            EntryKind::Bias => "bias",
            EntryKind::Statistic => "statistic",
        };
        Self { name: entry.name.clone(), shape: entry.shape.clone(), kind: kind.to_owned() }
    }
}

impl CheckpointInfo {
    /// Descriptions of the parameters of a layout.
    pub fn parameters(layout: &Layout) -> Vec<Parameter> {
        layout.entries().iter().map(Parameter::from).collect()
    }
}

impl Checkpoint {
    /// Encodes the checkpoint as the bytes of its file.
    ///
    /// # Errors
    /// `Unwritable` when the description cannot be encoded as JSON, which its types exclude.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        file::encode(self).map_err(|error| CheckpointError::Unwritable(error.to_string()))
    }

    /// Decodes the bytes of a file.
    ///
    /// # Errors
    /// `Invalid`, `Damaged` or `Version`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        file::decode(bytes).map_err(|error| error.at(Path::new("from rank 0")))
    }

    /// Checks that the checkpoint belongs to this model, data and recipe.
    ///
    /// # Errors
    /// `OtherModel` with the first parameter that differs, `OtherData` or `OtherRecipe`.
    pub fn check(&self, layout: &Layout, data: &str, recipe: &str) -> Result<(), CheckpointError> {
        let (own, wanted) = (&self.info.layout, CheckpointInfo::parameters(layout));
        let differs = (0..own.len().max(wanted.len())).find(|at| own.get(*at) != wanted.get(*at));
        if let Some(at) = differs {
            let describe = |parameter: Option<&Parameter>| match parameter {
                Some(Parameter { name, shape, kind }) => format!("the {kind} '{name}' {shape:?}"),
                None => "nothing".to_owned(),
            };
            let (found, wanted) = (describe(own.get(at)), describe(wanted.get(at)));
            return Err(CheckpointError::OtherModel { number: at, found, wanted });
        }
        if self.info.data != data {
            return Err(CheckpointError::OtherData);
        }
        if self.info.recipe != recipe {
            return Err(CheckpointError::OtherRecipe);
        }
        Ok(())
    }
}
