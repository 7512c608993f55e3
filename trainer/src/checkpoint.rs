//! Checkpoints: all that training needs to go on, in one file.
//!
//! Nothing in one depends on how many workers wrote it. The file: the eight bytes `SKYCHECK`, the
//! format's version (u32), the bytes of the whole file (u64) and of the header (u32), all
//! little-endian; the header, in JSON; the parameters and the strategy's slices as float32,
//! little-endian, in the order of the header; and SHA-256 over all before it.

mod file;
mod store;
mod error;

pub use error::CheckpointError;
pub use store::{Found, Store};

use crate::data::Position;
use crate::layout::{Entry, EntryKind, Layout};
use crate::strategy::State;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// All that training needs to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// What it says of the job.
    pub about: About,
    /// What the model had learned.
    pub parameters: Vec<f32>,
    /// What the strategy, its optimizer and its ranks remember.
    pub state: State,
}

/// What a checkpoint says of its job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Tells recipes apart.
    pub recipe: String,
    /// Tells data apart.
    pub data: String,
    /// The model's parameters, in their order.
    pub layout: Vec<Parameter>,
    /// Steps that were taken.
    pub steps: u64,
    /// Where the next batch is. Shuffles come from the seed and this alone: it is the whole
    /// random state.
    pub position: Position,
    /// The seed.
    pub seed: u64,
    /// Bytes that rank 0 sent, so far.
    pub bytes_sent: u64,
    /// What was measured so far.
    pub history: Vec<Measured>,
}

/// A parameter as a checkpoint names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// The initializer's name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// What moves it: `weight`, `bias` or `statistic`.
    pub kind: String,
}

/// What was measured at the end of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Epochs, or rounds, that were done.
    pub epoch: u64,
    /// Steps that were taken.
    pub steps: u64,
    /// The learning rate of the last step.
    pub rate: f32,
    /// The mean loss of the epoch's batches; where a resumed job began within the epoch, of those
    /// that it saw.
    pub train_loss: f32,
    /// The mean loss of what is tested with.
    pub test_loss: f32,
    /// The share of rows that were classified right; `None` where targets are numbers.
    pub accuracy: Option<f32>,
    /// Bytes that rank 0 had sent.
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

impl About {
    /// The parameters of a layout.
    pub fn parameters(layout: &Layout) -> Vec<Parameter> {
        layout.entries().iter().map(Parameter::from).collect()
    }
}

impl Checkpoint {
    /// As the bytes of its file.
    ///
    /// # Errors
    /// `Unwritable` when what it says of the job is no JSON: never, by its types.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        file::encode(self).map_err(|error| CheckpointError::Unwritable(error.to_string()))
    }

    /// The checkpoint of these bytes.
    ///
    /// # Errors
    /// `None`, `Damaged` or `Version` when they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        file::decode(bytes).map_err(|refusal| refusal.of(Path::new("from rank 0")))
    }

    /// Refuses a checkpoint of another model, other data or another recipe.
    ///
    /// # Errors
    /// `OtherModel` with the first parameter that differs, `OtherData`, `OtherRecipe`.
    pub fn check(&self, layout: &Layout, data: &str, recipe: &str) -> Result<(), CheckpointError> {
        let (own, wanted) = (&self.about.layout, About::parameters(layout));
        let differs = (0..own.len().max(wanted.len())).find(|at| own.get(*at) != wanted.get(*at));
        if let Some(at) = differs {
            let told = |parameter: Option<&Parameter>| match parameter {
                Some(Parameter { name, shape, kind }) => format!("the {kind} '{name}' {shape:?}"),
                None => "nothing".to_owned(),
            };
            let (found, wanted) = (told(own.get(at)), told(wanted.get(at)));
            return Err(CheckpointError::OtherModel { number: at, found, wanted });
        }
        if self.about.data != data {
            return Err(CheckpointError::OtherData);
        }
        if self.about.recipe != recipe {
            return Err(CheckpointError::OtherRecipe);
        }
        Ok(())
    }
}
