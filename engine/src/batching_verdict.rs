//! The verdict on a model's batching: whether its requests share runs, and the reason.

use skysail_graph::{Independence, RowCause};
use std::fmt;

/// Decision whether requests share runs as rows of a batch, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchingVerdict {
    /// Requests share runs: the graph proves that rows are independent.
    Proven,
    /// The configuration sets how many rows share a run.
    Configured {
        /// Rows of the largest batch; 0 if each request runs alone.
        rows_max: usize,
        /// Result of the proof on the graph, which the configuration overrides.
        proof: Independence,
    },
    /// Requests run alone: rows depend on each other.
    Dependent(RowCause),
    /// Requests run alone: the graph proves neither that rows are independent nor the opposite.
    Unknown(RowCause),
    /// Requests run alone: a trial run contradicts the proof, which is then wrong.
    Refuted(String),
}

impl BatchingVerdict {
    /// Name of the verdict in a model's metadata.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Proven => "independent",
            Self::Configured { .. } => "configured",
            Self::Dependent(_) => "dependent",
            Self::Unknown(_) => "unknown",
            Self::Refuted(_) => "refuted",
        }
    }

    /// True if each request runs alone.
    pub fn runs_alone(&self) -> bool {
        !matches!(self, Self::Proven | Self::Configured { rows_max: 1.., .. })
    }

    /// The reason why requests should run alone, and what the owner can do about it. `None` if
    /// there is no such reason.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Proven => None,
            Self::Configured { proof: Independence::Dependent(cause), rows_max: 1.. } => Some(
                format!("max_batch_size lets rows share runs, and they touch each other: {cause}"),
            ),
            Self::Configured { .. } => None,
            Self::Dependent(cause) if cause.node.is_none() => Some(cause.to_string()),
            Self::Dependent(cause) => Some(format!("rows touch each other at {cause}")),
            Self::Unknown(cause) => Some(format!(
                "it is not proven that rows are independent: {cause}; if they are, say so with \
                 max_batch_size in model.toml"
            )),
            Self::Refuted(difference) => Some(format!(
                "rows were proven to be independent, and a trial shows that they are not: \
                 {difference}; please report this model"
            )),
        }
    }
}

impl fmt::Display for BatchingVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.reason()) {
            (_, Some(reason)) => f.write_str(&reason),
            (Self::Configured { rows_max: 0, .. }, _) => {
                f.write_str("max_batch_size is 0: requests run alone")
            }
            (Self::Configured { rows_max, .. }, _) => write!(f, "max_batch_size is {rows_max}"),
            _ => f.write_str("rows are proven to be independent"),
        }
    }
}
