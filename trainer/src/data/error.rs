//! What can be wrong with data, in words that name the place.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why data can not be used. Trying again helps for `Io` alone.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The system refused to read a file.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}{place}: {problem}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// What is wrong.
        problem: String,
    },
    /// A file holds more than is taken into memory.
    #[error("{}: {what} takes {bytes} bytes, and at most {bytes_max} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A label is not one of the model's classes.
    #[error(
        "{data}: row {row} has the label {label}, and the model has {classes} classes: labels go \
         from 0 to {}", classes.saturating_sub(1)
    )]
    Label {
        /// The data.
        data: String,
        /// Which row, from 0.
        row: usize,
        /// Its label.
        label: u32,
        /// How many classes the model has.
        classes: usize,
    },
    /// The data are not what the model takes.
    #[error("{data} does not fit the model: {problem}")]
    Misfit {
        /// The data.
        data: String,
        /// What differs.
        problem: String,
    },
    /// Too few examples for what they are to be divided into.
    #[error("{data}: {rows} rows are too few: {problem}")]
    TooFew {
        /// The data.
        data: String,
        /// How many there are.
        rows: usize,
        /// For what.
        problem: String,
    },
    /// The thread that prepares batches ended too early.
    #[error("the thread that loads batches ended: {0}")]
    Loader(String),
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// All of it.
    Whole,
    /// A line, from 1, and the column's name or number.
    Line(u64, String),
    /// A row, from 0, and the column's name.
    Row(u64, String),
    /// A byte, from 0, of what is decompressed.
    Offset(u64),
    /// An array of an archive.
    Array(String),
}

impl fmt::Display for Place {
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
    /// An error of the system, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// A file that is wrong somewhere.
    pub(crate) fn bad(path: &Path, place: Place, problem: impl Into<String>) -> Self {
        Self::Bad { path: path.to_path_buf(), place, problem: problem.into() }
    }
}
