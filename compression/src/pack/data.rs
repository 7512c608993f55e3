//! Data sets: typical inputs of a model, with labels if there are any.
//!
//! Files may be hostile. Memory is in proportion to their size and to [`BYTES_MAX`], and an error
//! names the file.

use crate::table::hex;
use anyhow::{Context, Result, bail, ensure};
use files::Array;
use sha2::{Digest, Sha256};
use skysail_compression::Batch;
use skysail_graph::{Dim, Model, Tensor, ValueInfo};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

mod files;
mod rows;
mod statistics;

pub(crate) use rows::first_rows;
pub(crate) use statistics::RunningStatistics;

/// Limit of a data set in bytes.
const BYTES_MAX: u64 = 4 << 30;
/// Limit of the batches in a folder.
const BATCHES_MAX: usize = 100_000;
/// Name of the array that holds the right classes.
const LABELS: &str = "labels";

/// Inputs of a model, batch by batch.
pub(crate) struct DataSet {
    /// Name of the file or folder.
    pub(crate) name: String,
    /// SHA-256 of the bytes that were read.
    pub(crate) sha256: String,
    /// Batches that the model accepts, at least one.
    pub(crate) batches: Vec<Batch>,
    /// Right class of each row.
    pub(crate) labels: Option<Vec<i64>>,
}

impl DataSet {
    /// Reads the data set at `path` for a model. It is a file of arrays, named as the model's
    /// inputs, or a folder of inputs in the model's order.
    pub(crate) fn load(path: &Path, model: &Model) -> Result<Self> {
        let inputs = model.graph().inputs();
        let set = match path.is_dir() {
            true => of_folder(path, &inputs),
            false => of_file(path, &inputs),
        };
        set.with_context(|| format!("cannot use the data in {}", path.display()))
    }

    /// Returns the number of rows, or of batches without rows.
    pub(crate) fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| rows::count(batch).unwrap_or(1)).sum()
    }
}

/// Reads a data set from a file: `.npz`, or `.npy` and `.pb` for a model of one input.
fn of_file(path: &Path, inputs: &[ValueInfo]) -> Result<DataSet> {
    let bytes = read(path, BYTES_MAX)?;
    let sha256 = hex(&Sha256::digest(&bytes));
    let mut arrays = match (files::is_archive(path), inputs) {
        (true, _) => files::archive(&bytes)?,
        (false, [input]) => {
            vec![Array { name: input.name.clone(), tensor: files::array(path, &bytes)? }]
        }
        (false, _) => {
            let names = names(inputs);
            bail!("the model has several inputs: give an .npz file with the arrays {names}")
        }
    };
    let labels = arrays.iter().position(|array| array.name == LABELS);
    let labels = labels.filter(|_| inputs.iter().all(|input| input.name != LABELS));
    let labels = labels.map(|position| arrays.swap_remove(position).tensor);
    let whole = in_order(arrays, inputs)?;
    let labels = labels.map(|labels| classes(&labels, &whole)).transpose()?;
    let batches = rows::split(whole, inputs)?;
    Ok(DataSet { name: name_of(path), sha256, batches, labels })
}

/// Reads a data set from a folder.
///
/// It holds `input_0`, `input_1`... as `.npy` or `.pb`, or folders `test_data_set_0`,
/// `test_data_set_1`... of such files.
fn of_folder(path: &Path, inputs: &[ValueInfo]) -> Result<DataSet> {
    let sets = (0..BATCHES_MAX).map(|set| path.join(format!("test_data_set_{set}")));
    let mut folders: Vec<PathBuf> = sets.take_while(|folder| folder.is_dir()).collect();
    if folders.is_empty() {
        folders.push(path.to_owned());
    }
    let (mut digest, mut left) = (Sha256::new(), BYTES_MAX);
    let mut batches = Vec::with_capacity(folders.len());
    for folder in &folders {
        let mut arrays = Vec::with_capacity(inputs.len());
        for (position, input) in inputs.iter().enumerate() {
            let file = input_file(folder, position, &input.name)?;
            let bytes = read(&file, left)?;
            left -= bytes.len() as u64;
            digest.update(Sha256::digest(&bytes));
            let tensor = files::array(&file, &bytes)?;
            arrays.push(Array { name: input.name.clone(), tensor });
        }
        let batch = in_order(arrays, inputs).and_then(|batch| rows::split(batch, inputs));
        batches.extend(batch.with_context(|| folder.display().to_string())?);
    }
    Ok(DataSet { name: name_of(path), sha256: hex(&digest.finalize()), batches, labels: None })
}

fn input_file(folder: &Path, position: usize, name: &str) -> Result<PathBuf> {
    let files = ["npy", "pb"].map(|kind| folder.join(format!("input_{position}.{kind}")));
    let found = files.into_iter().find(|file| file.is_file());
    found.with_context(|| {
        let folder = folder.display();
        format!(
            "{folder} has no input_{position}.npy or input_{position}.pb, for the input '{name}'"
        )
    })
}

/// Reads a file of `bytes_max` bytes at most.
fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).with_context(cannot)?;
    let fits = bytes.len() as u64 <= bytes_max;
    ensure!(fits, "{} has more than the {bytes_max} bytes that are read", path.display());
    Ok(bytes)
}

/// Returns the arrays in the order of the model's inputs, each of which must have one that fits.
fn in_order(arrays: Vec<Array>, inputs: &[ValueInfo]) -> Result<Batch> {
    if let Some(array) = arrays.iter().find(|array| inputs.iter().all(|i| i.name != array.name)) {
        let (name, names) = (&array.name, names(inputs));
        bail!("the model has no input '{name}': arrays are named as its inputs, {names}");
    }
    for input in inputs {
        let array = arrays.iter().find(|array| array.name == input.name);
        let missing = || format!("there is no array for the input '{}'", input.name);
        check(input, &array.with_context(missing)?.tensor)?;
    }
    ensure!(arrays.len() == inputs.len(), "an array is there twice");
    let batch = arrays.into_iter().map(|array| (array.name, array.tensor));
    let mut batch: Batch = batch.collect();
    batch.sort_by_key(|(name, _)| inputs.iter().position(|input| input.name == *name));
    Ok(batch)
}

/// Checks that a tensor fits an input.
fn check(input: &ValueInfo, tensor: &Tensor) -> Result<()> {
    let (element, found) = (input.kind.element(), tensor.element());
    if element.is_some_and(|element| element != found) {
        let (name, kind) = (&input.name, &input.kind);
        bail!("the input '{name}' must be {kind}, and is of {found}: convert it with .astype()");
    }
    let shape = tensor.shape();
    let fits = |(dim, size): (&Dim, &u64)| !matches!(dim, Dim::Fixed(fixed) if fixed != size);
    // The number of rows may differ: rows are split into batches later.
    let fits = |dims: &[Dim]| dims.len() == shape.len() && dims.iter().zip(shape).skip(1).all(fits);
    if !input.kind.dims().is_none_or(fits) {
        bail!("the input '{}' must be {}, and has the shape {shape:?}", input.name, input.kind);
    }
    Ok(())
}

/// Returns the right class of each row.
fn classes(labels: &Tensor, batch: &Batch) -> Result<Vec<i64>> {
    let classes = files::integers(labels).filter(|_| labels.shape().len() == 1);
    let classes = classes.with_context(|| {
        let (element, shape) = (labels.element(), labels.shape());
        format!("'{LABELS}' must be integers in one dimension, and is of {element} {shape:?}")
    })?;
    let rows = rows::count(batch).context("the model's inputs have no rows to have labels")?;
    ensure!(classes.len() as u64 == rows, "there are {} labels for {rows} rows", classes.len());
    Ok(classes)
}

fn names(inputs: &[ValueInfo]) -> String {
    let names: Vec<String> = inputs.iter().map(|input| format!("'{}'", input.name)).collect();
    names.join(", ")
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
