//! Tables: input and target columns.

use super::dataset::{Dataset, Inputs};
use super::error::{DataError, Location};
use crate::batch::Targets;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A column, by name or by number from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// Number of the column.
    Number(usize),
    /// Name of the column.
    Name(String),
}

/// Target columns of a table; all others are inputs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum TargetColumns {
    /// The last column is the label.
    #[default]
    Last,
    /// This column is the label.
    Label(Column),
    /// These columns are numeric targets.
    Numbers(Vec<Column>),
}

/// A table under construction.
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
    /// Creates an empty table with these columns.
    pub(super) fn new(
        path: &'a Path,
        names: &'a [String],
        target_columns: &TargetColumns,
    ) -> Result<Self, DataError> {
        let find = |column: &Column| find(path, names, column);
        let (targets, is_label) = match target_columns {
            TargetColumns::Last => (vec![names.len().saturating_sub(1)], true),
            TargetColumns::Label(column) => (vec![find(column)?], true),
            TargetColumns::Numbers(columns) => {
                (columns.iter().map(find).collect::<Result<Vec<_>, _>>()?, false)
            }
        };
        if names.len() <= targets.len() || targets.is_empty() {
            let problem =
                format!("it has {} columns: inputs and targets need one each", names.len());
            return Err(DataError::invalid(path, Location::Whole, problem));
        }
        let (inputs, labels, numbers) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { path, names, targets, is_label, inputs, labels, numbers, rows: 0 })
    }

    /// Appends a row: the number of each column. `location` is the location of a column's value.
    pub(super) fn push(
        &mut self,
        mut value: impl FnMut(usize) -> Result<f64, DataError>,
        location: impl Fn(usize) -> Location,
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
                let problem = format!("{number} is not a label: labels are 0, 1, 2 and so on");
                return Err(DataError::invalid(self.path, location(*column), problem));
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Converts the table to a dataset.
    pub(super) fn finish(self) -> Result<Dataset, DataError> {
        if self.rows == 0 {
            return Err(DataError::invalid(self.path, Location::Whole, "it has no rows"));
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

/// Finds the number of a column.
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
        DataError::invalid(path, Location::Whole, problem)
    })
}
