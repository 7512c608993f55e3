//! Errors of data, with their location.

use std::fmt;
use std::path::{Path, PathBuf};

/// An error of data. Only `Io` may succeed when repeated.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system could not read a file.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The content of a file is invalid.
    #[error("{}{location}: {problem}", path.display())]
    Invalid {
        /// Path of the file.
        path: PathBuf,
        /// Location in the file.
        location: Location,
        /// The problem.
        problem: String,
    },
    /// A file holds more than may be loaded into memory.
    #[error("{}: {what} takes {bytes} bytes, and at most {bytes_max} are read", path.display())]
    TooLarge {
        /// Path of the file.
        path: PathBuf,
        /// The part that is too large.
        what: &'static str,
        /// Size in bytes.
        bytes: u64,
        /// Limit in bytes.
        bytes_max: u64,
    },
    /// A label is not one of the model's classes.
    #[error(
        "{data}: row {row} has the label {label}, but the model has {classes} classes: labels range \
         from 0 to {}", classes.saturating_sub(1)
    )]
    Label {
        /// Name of the data.
        data: String,
        /// Row, from 0.
        row: usize,
        /// Label.
        label: u32,
        /// Number of classes of the model.
        classes: usize,
    },
    /// The data does not fit the model.
    #[error("{data} does not fit the model: {problem}")]
    Misfit {
        /// Name of the data.
        data: String,
        /// The difference.
        problem: String,
    },
    /// There are too few rows for the requested division.
    #[error("{data}: {rows} rows are too few: {problem}")]
    TooFew {
        /// Name of the data.
        data: String,
        /// Number of rows.
        rows: usize,
        /// The requested division.
        problem: String,
    },
    /// The thread that prepares batches ended too early.
    #[error("the thread that loads batches ended: {0}")]
    Loader(String),
}

/// A location in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// The whole file.
    Whole,
    /// Line, from 1, and name or number of the column.
    Line(u64, String),
    /// Row, from 0, and name of the column.
    Row(u64, String),
    /// Byte of the decompressed content, from 0.
    Offset(u64),
    /// Array of an archive.
    Array(String),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Line(line, column) if column.is_empty() => write!(f, ":{line}"),
            Self::Line(line, column) => write!(f, ":{line}, column {column}"),
            Self::Row(row, column) => write!(f, ", row {row}, column {column}"),
            Self::Offset(offset) => write!(f, ", at byte {offset}"),
            Self::Array(name) => write!(f, ", array '{name}'"),
        }
    }
}

impl DataError {
    /// Creates an error of the operating system, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// Creates an error of invalid content.
    pub(crate) fn invalid(path: &Path, location: Location, problem: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_path_buf(), location, problem: problem.into() }
    }
}
