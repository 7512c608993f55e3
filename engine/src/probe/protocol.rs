//! Protocol between the server and the probe's child: one JSON object a line.

use crate::config::ReplicaConfig;
use crate::load::row_comparison::RowComparison;
use crate::zero_elements::ZeroDims;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Bytes of the longest line.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// A file to be probed, with the settings of its sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) file: PathBuf,
    pub(super) settings: SessionSettings,
    pub(super) extent: Extent,
    /// Libraries of operators that it may use.
    pub(super) libraries: Vec<PathBuf>,
    /// Zero dimensions that ended an earlier child.
    pub(super) crashed: Vec<ZeroDims>,
}

/// Extent of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Extent {
    /// Everything, but zero dimensions only if that is quick.
    Quick,
    /// One row, and zero dimensions however long that takes.
    ZeroDims,
}

/// Settings that make sessions of one file differ.
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

/// A report of the child, sent before and after each step that may end it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// The child has loaded the runtime and takes jobs.
    Ready,
    /// The child loads a job's file.
    Loading,
    /// The file can not be loaded, for a reason that a load in the server reports too. The job is
    /// over. `always` if every attempt fails.
    Rejected { always: bool },
    /// The child runs one row.
    RunningRow,
    /// Time of the row's run, which comes before its end is reported.
    RowTime { us: u64 },
    /// The row's run is over. It may have failed, as synthetic inputs need not be valid.
    RanRow,
    /// The child survived batches of all kinds of values. Carries the comparison if the model has
    /// rows.
    ComparedRows(Option<RowComparison>),
    /// The child makes a session whose runs use several threads.
    MultiThreaded,
    /// The child runs a row in which these dimensions are zero.
    TryingZero(ZeroDims),
    /// The child survived these zero dimensions in every session that the server may use.
    Survived(ZeroDims),
    /// Trials of zero dimensions would take long, and are left for another job.
    LeftZeroDims,
    /// The job is over.
    Done,
}
