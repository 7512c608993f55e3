//! Trains ONNX graphs on many workers, and compresses what it trained.
//!
//! A [`Learner`] knows one model: it gives the loss and the gradients of a [`Batch`] for any
//! parameters, which lie in one flat slice as the [`Layout`] says. A strategy moves parameters by
//! gradients, its own and those of other ranks, over a [`Collective`]. Neither knows the other.

mod batch;
mod layout;
mod learner;
mod network;
pub mod data;
mod collective;
mod optimizer;
mod schedule;
mod strategy;
mod checkpoint;
pub mod recipe;
mod job;
mod compress;
mod report;
mod random;
mod memory;
mod error;

pub use batch::{Batch, Input, Targets, Values};
pub use checkpoint::{About, Checkpoint, CheckpointError, Found, Measured, Parameter, Store};
#[cfg(feature = "mpi")]
pub use collective::mpi;
pub use collective::{
    Collective, CollectiveError, Outbox, on_gpus, ring_all_gather, ring_all_reduce, threads,
};
pub use compress::{
    CompressSettings, Compressed, CompressionError, Done, Known, Phase, Tell, Train, Witness,
    compress, describe,
};
pub use data::{
    Column, DIGIT_PIXELS, DataError, Dataset, Inputs, Loader, Order, Place, Plan, Position,
    Scaling, Shard, Shift, Source, Split, by_label, digits, evenly,
};
pub use error::TrainError;
pub use job::{
    Evaluation, Job, MakeFederated, MakeStrategy, NetworkTrainee, Outcome, Settings, StepNews,
    Trainee, Watcher, Work, evaluate,
};
pub use layout::{Entry, EntryKind, Layout};
pub use learner::Learner;
pub use network::{Distillation, Network};
pub use optimizer::{Adagrad, Sgd, SgdSettings};
pub use recipe::{Prepared, Recipe, RecipeError, Surroundings};
pub use report::{CompressionReport, Report};
pub use schedule::Schedule;
pub use strategy::{
    ClientData, DeepGradient, DeepGradientSettings, Downpour, DownpourSettings, FederatedAveraging,
    FederatedSettings, LocalSgd, Precision, RoundReport, Sparsity, Staleness, State, StepReport,
    Strategy, Synchronous, coding,
};

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
