//! What the server and the child that tries its models tell each other: one JSON object a line.

use crate::config::ReplicaConfig;
use crate::empty::Places;
use crate::repository::row_trial::RowTrial;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Bytes of the longest line.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// A file to be tried, and with what settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) file: PathBuf,
    pub(super) settings: SessionSettings,
    /// Dimensions that ended a child before when they were zero.
    pub(super) ended: Vec<Places>,
}

/// What makes one session of a file another than the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionSettings {
    threads: Option<usize>,
    inter_op_threads: Option<usize>,
    graph_optimization: i32,
}

impl From<&ReplicaConfig> for SessionSettings {
    fn from(config: &ReplicaConfig) -> Self {
        let ReplicaConfig { threads, inter_op_threads, graph_optimization, .. } = *config;
        Self { threads, inter_op_threads, graph_optimization }
    }
}

impl From<SessionSettings> for ReplicaConfig {
    fn from(settings: SessionSettings) -> Self {
        let SessionSettings { threads, inter_op_threads, graph_optimization } = settings;
        Self { threads, inter_op_threads, graph_optimization, ..Self::default() }
    }
}

/// What the child says, before and after whatever may end it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// It has the runtime, and takes jobs.
    Ready,
    /// It loads a job's file.
    Loads,
    /// The file can not be loaded, for a reason that a load in the server tells too; `always` if
    /// that is so whenever it is tried. The job is over.
    Refused { always: bool },
    /// It runs one row.
    Runs,
    /// That is over; made-up inputs may be none that the model takes.
    Ran,
    /// It lived through rows of all kinds of values, together and apart, and what came of that where
    /// the model has rows.
    Compared(Option<RowTrial>),
    /// It makes a session whose runs use several threads.
    Shares,
    /// It runs a row in which these dimensions are zero.
    Tries(Places),
    /// It lived through these dimensions being zero, in every way in which the server may run it.
    Lived(Places),
    /// The job is over.
    Done,
}
