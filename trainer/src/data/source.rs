//! Where examples come from.

use super::dataset::Dataset;
use super::digits::digits;
use super::error::{DataError, Place};
use super::table::{Column, Outcome};
use super::{csv, idx, npz, parquet};
use crate::random::Random;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where examples come from, as a recipe says it. Files are looked for beside the recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A folder of MNIST's four files, compressed or not.
    Mnist(Folder),
    /// Pairs of IDX files.
    Idx(Pairs),
    /// Files of commas and numbers.
    Csv(Csv),
    /// Archives of NumPy's arrays.
    Npz(Arrays),
    /// Pairs of NumPy's arrays.
    Npy(Pairs),
    /// Parquet files.
    Parquet(Parquet),
    /// Images of digits, made here.
    Digits(Digits),
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Folder {
    /// Which one.
    pub folder: PathBuf,
}

/// Files of inputs beside files of targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pairs {
    /// What is learned from.
    pub train: Pair,
    /// What is tested with.
    pub test: Option<Pair>,
}

/// A file of inputs and one of targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pair {
    /// What goes in.
    pub inputs: PathBuf,
    /// What should come out.
    pub targets: PathBuf,
}

/// CSV files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Csv {
    /// What is learned from.
    pub train: PathBuf,
    /// What is tested with.
    pub test: Option<PathBuf>,
    /// Whether the first line names the columns.
    #[serde(default = "yes")]
    pub header: bool,
    /// The column of labels, by its name or number; the last one where nothing is said.
    pub label: Option<Column>,
    /// The columns of numbers that should come out, in place of a label.
    pub numbers: Option<Vec<Column>>,
}

/// Parquet files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Parquet {
    /// What is learned from.
    pub train: PathBuf,
    /// What is tested with.
    pub test: Option<PathBuf>,
    /// As for CSV.
    pub label: Option<Column>,
    /// As for CSV.
    pub numbers: Option<Vec<Column>>,
}

/// Archives of arrays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Arrays {
    /// What is learned from.
    pub train: PathBuf,
    /// What is tested with; it may be the same archive.
    pub test: Option<PathBuf>,
    /// The array that goes in.
    #[serde(default = "x")]
    pub inputs: String,
    /// The array that should come out.
    #[serde(default = "y")]
    pub targets: String,
    /// As `inputs`, for the test; the same name where nothing is said.
    pub test_inputs: Option<String>,
    /// As `targets`, for the test.
    pub test_targets: Option<String>,
}

/// Digits that are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Digits {
    /// How many to learn from.
    #[serde(default = "train_rows")]
    pub train: usize,
    /// How many to test with.
    #[serde(default = "test_rows")]
    pub test: usize,
    /// What they come from.
    #[serde(default)]
    pub seed: u64,
}

fn yes() -> bool {
    true
}
fn x() -> String {
    "x".to_owned()
}
fn y() -> String {
    "y".to_owned()
}
fn train_rows() -> usize {
    12_000
}
fn test_rows() -> usize {
    2_000
}

/// What to learn from, and what to test with.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// To learn from.
    pub train: Dataset,
    /// To test with, never learned from.
    pub test: Dataset,
}

/// Which part is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Test,
}

impl Source {
    /// Loads all of it; files are looked for in `folder`. Where there is nothing to test with, a
    /// share of the examples is held out for it, the same ones each time.
    ///
    /// # Errors
    /// When a file can not be used, or there is too little in it.
    pub fn load(&self, folder: &Path, hold_out: f64) -> Result<Split, DataError> {
        let Some(train) = self.part(folder, Part::Train)? else {
            return Err(DataError::bad(folder, Place::Whole, "there is nothing to learn from"));
        };
        match self.part(folder, Part::Test)? {
            Some(test) => Ok(Split { train, test }),
            None => train.held_out(hold_out),
        }
    }

    /// Loads what is tested with alone; all of it where there is no more than one part.
    ///
    /// # Errors
    /// As [`Source::load`].
    pub fn load_test(&self, folder: &Path) -> Result<Dataset, DataError> {
        let test = match self.part(folder, Part::Test)? {
            Some(test) => Some(test),
            None => self.part(folder, Part::Train)?,
        };
        test.ok_or_else(|| DataError::bad(folder, Place::Whole, "there is nothing to test with"))
    }

    /// What a path holds, by its name: a folder of MNIST's files, or a file of a known kind.
    ///
    /// # Errors
    /// `Bad` for a file of an unknown kind.
    pub fn of_path(path: &Path) -> Result<Self, DataError> {
        let train = path.to_path_buf();
        if path.is_dir() {
            return Ok(Self::Mnist(Folder { folder: train }));
        }
        match path.extension().and_then(|kind| kind.to_str()) {
            Some("csv") => {
                let (test, label, numbers) = (None, None, None);
                Ok(Self::Csv(Csv { train, test, header: true, label, numbers }))
            }
            Some("parquet") => {
                Ok(Self::Parquet(Parquet { train, test: None, label: None, numbers: None }))
            }
            Some("npz") => {
                let (test, test_inputs, test_targets) = (None, None, None);
                let (inputs, targets) = (x(), y());
                Ok(Self::Npz(Arrays { train, test, inputs, targets, test_inputs, test_targets }))
            }
            _ => {
                let problem = "it is no folder of MNIST's files, no .csv, .npz or .parquet";
                Err(DataError::bad(path, Place::Whole, problem))
            }
        }
    }

    fn part(&self, folder: &Path, part: Part) -> Result<Option<Dataset>, DataError> {
        let is_train = part == Part::Train;
        let pick = |train: &Path, test: &Option<PathBuf>| match is_train {
            true => Some(folder.join(train)),
            false => test.as_ref().map(|test| folder.join(test)),
        };
        let pair = |pairs: &Pairs| {
            let pair = if is_train { Some(&pairs.train) } else { pairs.test.as_ref() };
            pair.map(|pair| (folder.join(&pair.inputs), folder.join(&pair.targets)))
        };
        match self {
            Self::Mnist(mnist) => {
                let name = if is_train { "train" } else { "t10k" };
                let (images, labels) = idx::find(&folder.join(&mnist.folder), name)?;
                idx::load(&images, &labels).map(Some)
            }
            Self::Idx(pairs) => pair(pairs).map(|(x, y)| idx::load(&x, &y)).transpose(),
            Self::Npy(pairs) => pair(pairs).map(|(x, y)| npz::load_pair(&x, &y)).transpose(),
            Self::Csv(csv) => {
                let load = |path: PathBuf| {
                    csv::load(&path, csv.header, &outcome(&csv.label, &csv.numbers))
                };
                pick(&csv.train, &csv.test).map(load).transpose()
            }
            Self::Parquet(table) => {
                let load =
                    |path: PathBuf| parquet::load(&path, &outcome(&table.label, &table.numbers));
                pick(&table.train, &table.test).map(load).transpose()
            }
            Self::Npz(arrays) => {
                let (inputs, targets) = arrays.names(part);
                let load = |path: PathBuf| npz::load(&path, inputs, targets);
                pick(&arrays.train, &arrays.test).map(load).transpose()
            }
            // Seeds of the two parts are never the same.
            Self::Digits(made) if is_train => {
                digits(made.train, made.seed.wrapping_mul(2)).map(Some)
            }
            Self::Digits(made) => {
                digits(made.test, made.seed.wrapping_mul(2).wrapping_add(1)).map(Some)
            }
        }
    }
}

impl Arrays {
    fn names(&self, part: Part) -> (&str, &str) {
        match part {
            Part::Train => (&self.inputs, &self.targets),
            Part::Test => (
                self.test_inputs.as_deref().unwrap_or(&self.inputs),
                self.test_targets.as_deref().unwrap_or(&self.targets),
            ),
        }
    }
}

fn outcome(label: &Option<Column>, numbers: &Option<Vec<Column>>) -> Outcome {
    match (label, numbers) {
        (_, Some(numbers)) => Outcome::Numbers(numbers.clone()),
        (Some(label), None) => Outcome::Label(label.clone()),
        (None, None) => Outcome::Last,
    }
}

impl Dataset {
    /// Divides examples at random, always in the same way: this share to measure with, and the
    /// others to learn from.
    ///
    /// # Errors
    /// `TooFew` when that leaves one part empty.
    pub fn held_out(&self, share: f64) -> Result<Split, DataError> {
        let mut rows: Vec<u32> = (0..self.rows()).map(|row| row as u32).collect();
        Random::of(&[self.rows() as u64]).shuffle(&mut rows);
        let held = (self.rows() as f64 * share).round() as usize;
        if held == 0 || held >= self.rows() {
            let (name, rows) = (self.name().to_owned(), self.rows());
            let problem = format!("a share of {share} can not be held out to measure with");
            return Err(DataError::TooFew { data: name, rows, problem });
        }
        let (test, train) = rows.split_at(held);
        let part = |rows| self.select(self.name(), rows);
        Ok(Split { train: part(train), test: part(test) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Targets;

    #[test]
    fn where_no_test_is_named_some_rows_are_held_out() {
        let folder = tempfile::tempdir().unwrap();
        let rows: String = (0..100).map(|row| format!("{row},{row}\n")).collect();
        std::fs::write(folder.path().join("a.csv"), rows).unwrap();
        let source: Source = toml::from_str("csv = { train = 'a.csv', header = false }").unwrap();
        let split = source.load(folder.path(), 0.1).unwrap();
        assert_eq!((split.train.rows(), split.test.rows()), (90, 10));
        let labels = |data: &Dataset| match data.targets() {
            Targets::Classes(classes) => classes.clone(),
            Targets::Numbers(_) => panic!("labels are classes"),
        };
        let mut all = [labels(&split.train), labels(&split.test)].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100));
        assert_eq!(source.load(folder.path(), 0.1).unwrap(), split);
        assert!(
            source.load(folder.path(), 0.001).is_err() && source.load(folder.path(), 1.0).is_err()
        );
        assert_eq!(source.load_test(folder.path()).unwrap().rows(), 100);
    }

    #[test]
    fn digits_to_test_with_are_others_than_those_to_learn_from() {
        let source: Source =
            toml::from_str("digits = { train = 40, test = 40, seed = 3 }").unwrap();
        let split = source.load(Path::new(""), 0.0).unwrap();
        assert_ne!(split.train.inputs(), split.test.inputs());
        assert_eq!(source.load_test(Path::new("")).unwrap(), split.test);
    }

    #[test]
    fn a_path_tells_what_it_holds() {
        let kind = |path: &str| Source::of_path(Path::new(path));
        assert!(matches!(kind("a.csv"), Ok(Source::Csv(_))));
        assert!(matches!(kind("a.npz"), Ok(Source::Npz(_))));
        assert!(matches!(kind("a.parquet"), Ok(Source::Parquet(_))));
        assert!(matches!(kind("."), Ok(Source::Mnist(_))));
        let said = kind("a.txt").unwrap_err().to_string();
        assert!(said.contains("a.txt: it is no folder"), "{said}");
    }
}
