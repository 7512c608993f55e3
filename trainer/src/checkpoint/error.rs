//! Why a checkpoint can not be used, or written.

use skysail_graph::GraphError;
use std::path::PathBuf;

/// Why a checkpoint can not be used, or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The system refused to read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It could not be written. The ones before are as they were.
    #[error("the checkpoint was not written, the last one is as it was: {0}")]
    Write(#[source] GraphError),
    /// It can not be put into words.
    #[error("the checkpoint can not be written: {0}")]
    Unwritable(String),
    /// The file is none.
    #[error("{} is no checkpoint: {problem}", path.display())]
    None {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The file was one.
    #[error("the checkpoint {} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It is of a version that this program does not know.
    #[error("the checkpoint {} is of version {version}, and this program knows 1", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// It is of another model.
    #[error(
        "the checkpoint is of another model: parameter {number} is {found}, and the recipe's model \
         has {wanted} there"
    )]
    OtherModel {
        /// Which parameter, from 0.
        number: usize,
        /// What the checkpoint has.
        found: String,
        /// What the model has.
        wanted: String,
    },
    /// It is of other data.
    #[error("the checkpoint is of a training on other data; use another folder, or the same data")]
    OtherData,
    /// It is of another recipe.
    #[error(
        "the checkpoint is of another recipe: model, data, seed, batch, strategy, optimizer and \
         schedule must be the same; use another folder, or the recipe it came from"
    )]
    OtherRecipe,
    /// There is none to go on with.
    #[error("there is no checkpoint in {} to go on with; start without --resume", folder.display())]
    Nowhere {
        /// Where it was looked for.
        folder: PathBuf,
    },
}
