//! Tables: which columns go into the model, and which should come out.

use super::dataset::{Dataset, Inputs};
use super::error::{DataError, Place};
use crate::batch::Targets;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A column, by its name or by its number from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// By its number.
    Number(usize),
    /// By its name.
    Name(String),
}

/// Which columns of a table should come out of the model; all others go in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Outcome {
    /// The last column is the label.
    #[default]
    Last,
    /// This column is the label.
    Label(Column),
    /// These are numbers.
    Numbers(Vec<Column>),
}

/// A table in the making.
pub(super) struct Table<'a> {
    path: &'a Path,
    names: &'a [String],
    targets: Vec<usize>,
    is_label: bool,
    inputs: Vec<f32>,
    labels: Vec<u32>,
    numbers: Vec<f32>,
    rows: u64,
}

impl<'a> Table<'a> {
    /// An empty one with these columns.
    pub(super) fn new(
        path: &'a Path,
        names: &'a [String],
        outcome: &Outcome,
    ) -> Result<Self, DataError> {
        let find = |column: &Column| find(path, names, column);
        let (targets, is_label) = match outcome {
            Outcome::Last => (vec![names.len().saturating_sub(1)], true),
            Outcome::Label(column) => (vec![find(column)?], true),
            Outcome::Numbers(columns) => {
                (columns.iter().map(find).collect::<Result<Vec<_>, _>>()?, false)
            }
        };
        if names.len() <= targets.len() || targets.is_empty() {
            let problem = format!("it has {} columns: some go in, and some come out", names.len());
            return Err(DataError::bad(path, Place::Whole, problem));
        }
        let (inputs, labels, numbers) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { path, names, targets, is_label, inputs, labels, numbers, rows: 0 })
    }

    /// Adds a row: the number of each column. `place` says where a column's value stands.
    pub(super) fn push(
        &mut self,
        mut value: impl FnMut(usize) -> Result<f64, DataError>,
        place: impl Fn(usize) -> Place,
    ) -> Result<(), DataError> {
        for column in (0..self.names.len()).filter(|column| !self.targets.contains(column)) {
            self.inputs.push(value(column)? as f32);
        }
        for column in &self.targets {
            let number = value(*column)?;
            if !self.is_label {
                self.numbers.push(number as f32);
            } else if number.fract() == 0.0 && (0.0..f64::from(u32::MAX)).contains(&number) {
                self.labels.push(number as u32);
            } else {
                let problem = format!("{number} is no label: labels are 0, 1, 2 and so on");
                return Err(DataError::bad(self.path, place(*column), problem));
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// The examples.
    pub(super) fn finish(self) -> Result<Dataset, DataError> {
        if self.rows == 0 {
            return Err(DataError::bad(self.path, Place::Whole, "it has no rows"));
        }
        let targets = match self.is_label {
            true => Targets::Classes(self.labels),
            false => Targets::Numbers(self.numbers),
        };
        let width = self.names.len() - self.targets.len();
        let name = self.path.display().to_string();
        Dataset::new(&name, &[width], Inputs::Float32(self.inputs), targets)
    }
}

/// The number of a column.
fn find(path: &Path, names: &[String], column: &Column) -> Result<usize, DataError> {
    let found = match column {
        Column::Number(number) => Some(*number).filter(|number| *number < names.len()),
        Column::Name(name) => names.iter().position(|other| other == name),
    };
    found.ok_or_else(|| {
        let wanted = match column {
            Column::Number(number) => format!("number {number}"),
            Column::Name(name) => format!("'{name}'"),
        };
        let mut has: Vec<_> = names.iter().take(20).map(String::as_str).collect();
        if has.len() < names.len() {
            has.push("and more");
        }
        let problem = format!("it has no column {wanted}; it has {}", has.join(", "));
        DataError::bad(path, Place::Whole, problem)
    })
}
