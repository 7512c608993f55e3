//! Whether requests of a model share runs, and why, for who looks at it from outside.

use skysail_graph::{Independence, RowCause};
use std::fmt;

/// Whether requests share runs as rows of a batch, and what that follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// They do: the graph proves that rows are independent.
    Proven,
    /// The owner says how many rows share a run; with what the graph says.
    Configured {
        /// As configured; 0 where requests run alone.
        rows_max: usize,
        /// What the graph says, whatever the owner does.
        proof: Independence,
    },
    /// They run alone: rows touch each other.
    Dependent(RowCause),
    /// They run alone: the graph neither proves that rows are independent nor that they are not.
    Unknown(RowCause),
    /// They run alone: a trial run contradicts the proof, which is then wrong.
    Refuted(String),
}

impl Sharing {
    /// One word for it, as metadata has it.
    pub fn verdict(&self) -> &'static str {
        match self {
            Self::Proven => "independent",
            Self::Configured { .. } => "configured",
            Self::Dependent(_) => "dependent",
            Self::Unknown(_) => "unknown",
            Self::Refuted(_) => "refuted",
        }
    }

    /// Whether each request runs alone.
    pub fn runs_alone(&self) -> bool {
        !matches!(self, Self::Proven | Self::Configured { rows_max: 1.., .. })
    }

    /// Why requests run alone, and what the owner can do about it; `None` where they need not.
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

impl fmt::Display for Sharing {
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
