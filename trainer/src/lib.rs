//! Trains ONNX graphs on many workers, and compresses what it trained.
//!
//! A [`Learner`] knows one model. It computes the loss and the gradients of a [`Batch`] for any
//! parameters, which lie in one flat slice laid out by a [`Layout`]. A [`Strategy`] updates
//! parameters from the gradients of all ranks, over a [`Collective`]. Neither knows the other.

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
pub use checkpoint::{
    Checkpoint, CheckpointError, CheckpointInfo, LatestCheckpoint, Measurement, Parameter, Store,
};
#[cfg(feature = "mpi")]
pub use collective::mpi;
pub use collective::{
    Collective, CollectiveError, MessageSender, ring_all_gather, ring_all_reduce, threads,
    with_nccl,
};
pub use compress::{
    CompressObserver, CompressSettings, CompressedModel, CompressionError, CompressionStep, OnStep,
    PackageInfo, Phase, TrainPhase, compress, describe,
};
pub use data::{
    Column, DIGIT_PIXELS, DataError, Dataset, Inputs, Loader, Location, Order, Plan, Position,
    Scaling, Shard, Shift, Source, Split, digits, split_by_label, split_evenly,
};
pub use error::TrainError;
pub use job::{
    Evaluation, Job, MakeFederated, MakeStrategy, Mode, NetworkTask, Outcome, Settings, StepEvent,
    TrainObserver, TrainTask, evaluate,
};
pub use layout::{Entry, EntryKind, Layout};
pub use learner::Learner;
pub use network::{Distillation, Network};
pub use optimizer::{Adagrad, Sgd, SgdSettings};
pub use recipe::{PreparedRecipe, Recipe, RecipeError, RunContext};
pub use report::{CompressionReport, Report};
pub use schedule::Schedule;
pub use strategy::{
    ClientData, DeepGradient, DeepGradientSettings, Downpour, DownpourSettings, FederatedAveraging,
    FederatedSettings, LocalSgd, Precision, RoundReport, Sparsity, Staleness, State, StepReport,
    Strategy, Synchronous, coding,
};

/// Formats bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
