//! Errors of checkpoints.

use skysail_graph::GraphError;
use std::path::PathBuf;

/// An error of reading or writing a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// Writing failed. Earlier checkpoints are unchanged.
    #[error("the checkpoint was not written, the previous one is unchanged: {0}")]
    Write(#[source] GraphError),
    /// The description cannot be encoded.
    #[error("the checkpoint cannot be encoded: {0}")]
    Unwritable(String),
    /// The file is not a checkpoint.
    #[error("{} is not a checkpoint: {problem}", path.display())]
    NotACheckpoint {
        /// Path of the file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The checkpoint is damaged.
    #[error("the checkpoint {} is damaged: {problem}", path.display())]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The version of the format is unknown.
    #[error("the checkpoint {} has version {version}, but this program reads 1", path.display())]
    Version {
        /// Path of the file.
        path: PathBuf,
        /// Version of the file.
        version: u32,
    },
    /// The checkpoint belongs to another model.
    #[error(
        "the checkpoint belongs to another model: its parameter {number} is {found}, but the \
         recipe's model has {wanted}"
    )]
    OtherModel {
        /// Index of the parameter, from 0.
        number: usize,
        /// Parameter of the checkpoint.
        found: String,
        /// Parameter of the model.
        wanted: String,
    },
    /// The checkpoint belongs to other data.
    #[error("the checkpoint belongs to other data; use another folder, or the same data")]
    OtherData,
    /// The checkpoint belongs to another recipe.
    #[error(
        "the checkpoint belongs to another recipe: model, data, seed, batch, strategy, optimizer and \
         schedule must be the same; use another folder, or the original recipe"
    )]
    OtherRecipe,
    /// There is no checkpoint to resume from.
    #[error("there is no checkpoint in {} to resume from; start without --resume", folder.display())]
    NotFound {
        /// The folder of checkpoints.
        folder: PathBuf,
    },
}
