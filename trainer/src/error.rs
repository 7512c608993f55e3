//! Why training stops.

use skysail_graph::GraphError;

/// Why training stops.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The file is no model, or a broken one.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The graph has a node that can not be trained through.
    #[error("node '{node}': {operator} {problem}; the trainer knows {known}")]
    Unsupported {
        /// The node's name, or that of its first output.
        node: String,
        /// Its operator.
        operator: String,
        /// What is not supported.
        problem: String,
        /// What is.
        known: String,
    },
    /// A batch does not fit the model.
    #[error("the data does not fit the model: {0}")]
    Data(String),
    /// MPI does not start.
    #[error("MPI does not start: {0}")]
    Mpi(String),
    /// The loss is no number any more.
    #[error("{what} became {value}; lower the rate, or clip gradients")]
    NotFinite {
        /// The loss, or the gradient of a parameter.
        what: String,
        /// What it became.
        value: f32,
    },
    /// Other ranks did not answer.
    #[error(transparent)]
    Collective(#[from] crate::collective::CollectiveError),
    /// A rank's thread panicked: a defect of this program.
    #[error("rank {rank} panicked: {message}")]
    Panicked {
        /// Whose thread.
        rank: usize,
        /// What it said.
        message: String,
    },
    /// What a checkpoint says of the strategy does not fit the job.
    #[error("the checkpoint does not fit this job: {0}")]
    State(String),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[source] std::io::Error),
    /// Data can not be used.
    #[error(transparent)]
    Dataset(#[from] crate::data::DataError),
    /// A checkpoint can not be used, or written.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::CheckpointError),
    /// The recipe can not be used.
    #[error(transparent)]
    Recipe(#[from] crate::recipe::RecipeError),
    /// What was found can not be written down.
    #[error("cannot write {}: {problem}", path.display())]
    Output {
        /// The file or folder.
        path: std::path::PathBuf,
        /// Why not.
        problem: String,
    },
    /// A rank can not go on.
    #[error("rank {rank}: {source}")]
    Rank {
        /// Which one.
        rank: usize,
        /// Why.
        source: Box<TrainError>,
    },
    /// A step went wrong.
    #[error("step {step}, in epoch {epoch}: {source}")]
    Step {
        /// Which one, from 0.
        step: u64,
        /// Its epoch, from 0.
        epoch: u64,
        /// What happened.
        source: Box<TrainError>,
    },
}
