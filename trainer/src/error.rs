//! Errors of training.

use skysail_graph::GraphError;

/// An error of training.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The file is not a valid model.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The graph has a node that cannot be trained.
    #[error("node '{node}': {operator} {problem}; the trainer supports {supported}")]
    Unsupported {
        /// Name of the node, or of its first output.
        node: String,
        /// Operator of the node.
        operator: String,
        /// Unsupported feature.
        problem: String,
        /// Supported features.
        supported: String,
    },
    /// A batch does not fit the model.
    #[error("the data does not fit the model: {0}")]
    Data(String),
    /// MPI does not start.
    #[error("MPI does not start: {0}")]
    Mpi(String),
    /// The loss or a gradient is not finite.
    #[error("{what} became {value}; lower the rate, or clip gradients")]
    NotFinite {
        /// The loss, or the gradient of a parameter.
        what: String,
        /// The non-finite value.
        value: f32,
    },
    /// Communication with other ranks failed.
    #[error(transparent)]
    Collective(#[from] crate::collective::CollectiveError),
    /// A rank's thread panicked: a defect of this program.
    #[error("rank {rank} panicked: {message}")]
    Panicked {
        /// Rank of the thread.
        rank: usize,
        /// Message of the panic.
        message: String,
    },
    /// The strategy's state in a checkpoint does not fit the job.
    #[error("the checkpoint does not fit this job: {0}")]
    State(String),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[source] std::io::Error),
    /// Data cannot be used.
    #[error(transparent)]
    Dataset(#[from] crate::data::DataError),
    /// A checkpoint cannot be used or written.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::CheckpointError),
    /// The recipe cannot be used.
    #[error(transparent)]
    Recipe(#[from] crate::recipe::RecipeError),
    /// An output file cannot be written.
    #[error("cannot write {}: {problem}", path.display())]
    Output {
        /// Path of the file or folder.
        path: std::path::PathBuf,
        /// Reason.
        problem: String,
    },
    /// A rank failed.
    #[error("rank {rank}: {source}")]
    Rank {
        /// Rank.
        rank: usize,
        /// Cause.
        source: Box<TrainError>,
    },
    /// A step failed.
    #[error("step {step}, in epoch {epoch}: {source}")]
    Step {
        /// Step, from 0.
        step: u64,
        /// Epoch, from 0.
        epoch: u64,
        /// Cause.
        source: Box<TrainError>,
    },
}
