//! Sources of data.

use super::dataset::Dataset;
use super::digits::digits;
use super::error::{DataError, Location};
use super::table::{Column, TargetColumns};
use super::{csv, idx, npz, parquet};
use crate::random::Random;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Source of data in a recipe. Paths are relative to the recipe's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Folder with MNIST's four files, with or without gzip.
    Mnist(Folder),
    /// Pairs of IDX files.
    Idx(Pairs),
    /// CSV files.
    Csv(Csv),
    /// NumPy archives.
    Npz(Arrays),
    /// Pairs of NumPy arrays.
    Npy(Pairs),
    /// Parquet files.
    Parquet(Parquet),
    /// Generated images of digits.
    Digits(Digits),
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Folder {
    /// Path of the folder.
    pub folder: PathBuf,
}

/// Pairs of input and target files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pairs {
    /// Training data.
    pub train: Pair,
    /// Test data.
    pub test: Option<Pair>,
}

/// A file of inputs and a file of targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pair {
    /// Path of the inputs.
    pub inputs: PathBuf,
    /// Path of the targets.
    pub targets: PathBuf,
}

/// CSV files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Csv {
    /// Path of the training data.
    pub train: PathBuf,
    /// Path of the test data.
    pub test: Option<PathBuf>,
    /// True if the first line names the columns.
    #[serde(default = "yes")]
    pub header: bool,
    /// Column of labels, by name or number; by default the last one.
    pub label: Option<Column>,
    /// Columns of numeric targets, instead of a label.
    pub numbers: Option<Vec<Column>>,
}

/// Parquet files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Parquet {
    /// Path of the training data.
    pub train: PathBuf,
    /// Path of the test data.
    pub test: Option<PathBuf>,
    /// Column of labels, by name or number; by default the last one.
    pub label: Option<Column>,
    /// Columns of numeric targets, instead of a label.
    pub numbers: Option<Vec<Column>>,
}

/// NumPy archives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Arrays {
    /// Path of the training data.
    pub train: PathBuf,
    /// Path of the test data; possibly the same archive.
    pub test: Option<PathBuf>,
    /// Name of the input array.
    #[serde(default = "x")]
    pub inputs: String,
    /// Name of the target array.
    #[serde(default = "y")]
    pub targets: String,
    /// Name of the input array for testing; by default that of `inputs`.
    pub test_inputs: Option<String>,
    /// Name of the target array for testing; by default that of `targets`.
    pub test_targets: Option<String>,
}

/// Generated digits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Digits {
    /// Number of training rows.
    #[serde(default = "train_rows")]
    pub train: usize,
    /// Number of test rows.
    #[serde(default = "test_rows")]
    pub test: usize,
    /// Seed of the images.
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

/// Training and test data.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Training data.
    pub train: Dataset,
    /// Test data, disjoint from the training data.
    pub test: Dataset,
}

/// Part of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Test,
}

impl Source {
    /// Loads all data; paths are relative to `folder`. Without test data, the fraction `hold_out`
    /// of the rows is held out for it, always the same rows.
    ///
    /// # Errors
    /// Fails when a file cannot be used, or has too few rows.
    pub fn load(&self, folder: &Path, hold_out: f64) -> Result<Split, DataError> {
        let Some(train) = self.part(folder, Part::Train)? else {
            return Err(DataError::invalid(folder, Location::Whole, "there is no training data"));
        };
        match self.part(folder, Part::Test)? {
            Some(test) => Ok(Split { train, test }),
            None => train.hold_out(hold_out),
        }
    }

    /// Loads the test data, or all data if there is only one part.
    ///
    /// # Errors
    /// Same as [`Source::load`].
    pub fn load_test(&self, folder: &Path) -> Result<Dataset, DataError> {
        let test = match self.part(folder, Part::Test)? {
            Some(test) => Some(test),
            None => self.part(folder, Part::Train)?,
        };
        test.ok_or_else(|| DataError::invalid(folder, Location::Whole, "there is no test data"))
    }

    /// Guesses the source of a path: a folder of MNIST's files, or a file by its extension.
    ///
    /// # Errors
    /// `Invalid` for a file with an unknown extension.
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
                let problem =
                    "it is neither a folder of MNIST files nor a .csv, .npz or .parquet file";
                Err(DataError::invalid(path, Location::Whole, problem))
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
                    csv::load(&path, csv.header, &target_columns(&csv.label, &csv.numbers))
                };
                pick(&csv.train, &csv.test).map(load).transpose()
            }
            Self::Parquet(table) => {
                let load = |path: PathBuf| {
                    parquet::load(&path, &target_columns(&table.label, &table.numbers))
                };
                pick(&table.train, &table.test).map(load).transpose()
            }
            Self::Npz(arrays) => {
                let (inputs, targets) = arrays.names(part);
                let load = |path: PathBuf| npz::load(&path, inputs, targets);
                pick(&arrays.train, &arrays.test).map(load).transpose()
            }
            // The seeds of the two parts always differ.
            Self::Digits(settings) if is_train => {
                digits(settings.train, settings.seed.wrapping_mul(2)).map(Some)
            }
            Self::Digits(settings) => {
                digits(settings.test, settings.seed.wrapping_mul(2).wrapping_add(1)).map(Some)
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

fn target_columns(label: &Option<Column>, numbers: &Option<Vec<Column>>) -> TargetColumns {
    match (label, numbers) {
        (_, Some(numbers)) => TargetColumns::Numbers(numbers.clone()),
        (Some(label), None) => TargetColumns::Label(label.clone()),
        (None, None) => TargetColumns::Last,
    }
}

impl Dataset {
    /// Splits the rows randomly but reproducibly: the fraction `share` for testing, the others for
    /// training.
    ///
    /// # Errors
    /// `TooFew` when one part would be empty.
    pub fn hold_out(&self, share: f64) -> Result<Split, DataError> {
        let mut rows: Vec<u32> = (0..self.rows()).map(|row| row as u32).collect();
        Random::of(&[self.rows() as u64]).shuffle(&mut rows);
        let held = (self.rows() as f64 * share).round() as usize;
        if held == 0 || held >= self.rows() {
            let (name, rows) = (self.name().to_owned(), self.rows());
            let problem = format!("a share of {share} cannot be held out");
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
    fn without_test_data_some_rows_are_held_out() {
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
    fn test_digits_differ_from_training_digits() {
        let source: Source =
            toml::from_str("digits = { train = 40, test = 40, seed = 3 }").unwrap();
        let split = source.load(Path::new(""), 0.0).unwrap();
        assert_ne!(split.train.inputs(), split.test.inputs());
        assert_eq!(source.load_test(Path::new("")).unwrap(), split.test);
    }

    #[test]
    fn a_path_determines_the_source() {
        let kind = |path: &str| Source::of_path(Path::new(path));
        assert!(matches!(kind("a.csv"), Ok(Source::Csv(_))));
        assert!(matches!(kind("a.npz"), Ok(Source::Npz(_))));
        assert!(matches!(kind("a.parquet"), Ok(Source::Parquet(_))));
        assert!(matches!(kind("."), Ok(Source::Mnist(_))));
        let message = kind("a.txt").unwrap_err().to_string();
        assert!(message.contains("a.txt: it is neither a folder"), "{message}");
    }
}
