//! Subcommands: the flags of each, and their execution.

pub(crate) mod run;
pub(crate) mod compare;
pub(crate) mod capacity;
pub(crate) mod plan;
pub(crate) mod tail;
mod output;
mod shares;
mod values;

/// Error of flags that do not fit together; the command ends with the exit code of bad usage.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(String);

impl Usage {
    /// Makes an error from a description.
    pub(crate) fn error(what: impl Into<String>) -> anyhow::Error {
        Self(what.into()).into()
    }
}
