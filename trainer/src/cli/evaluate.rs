//! `skysail-train evaluate`: measures the loss and accuracy of a model.

use super::output::{Output, print};
use anyhow::{Context, Result};
use clap::{ArgGroup, Args};
use serde::Serialize;
use skysail_compression::Package;
use skysail_graph::Model;
use skysail_trainer::data::{Dataset, Digits, Source};
use skysail_trainer::{NetworkTask, Recipe, TrainTask, evaluate};
use std::path::{Path, PathBuf};

/// Rows of digits that are generated for `--data digits`.
const DIGITS: usize = 2_000;

/// Measure the loss and accuracy of a model on test data.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("with").required(true).args(["data", "recipe"]))]
pub(super) struct Flags {
    /// Path of the model, an ONNX file or a .sky package.
    model: PathBuf,
    /// Test data: a folder of MNIST files, a .csv, .npz or .parquet file, or `digits` to generate
    /// some. If the data has a training and a test part, the test part is used.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Path of a recipe whose test data is used, a TOML file.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Format of the printed result.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Debug, Serialize)]
struct EvaluationResult<'a> {
    model: &'a Path,
    data: &'a str,
    rows: usize,
    loss: f32,
    accuracy: Option<f32>,
}

/// Runs `skysail-train evaluate`.
pub(super) fn execute(flags: &Flags) -> Result<()> {
    let path = &flags.model;
    let model = load(path).with_context(|| format!("cannot use {}", path.display()))?;
    let data = data(flags)?.fit(&model)?;
    let task = NetworkTask::new(model)?;
    let mut learner = task.learner()?;
    let probabilities = task.outputs_probabilities();
    let found = evaluate(learner.as_mut(), &task.initial_parameters(), &data, probabilities)?;
    let (loss, accuracy, rows) = (found.loss, found.accuracy, found.rows);
    let result = EvaluationResult { model: path, data: data.name(), rows, loss, accuracy };
    let right = accuracy.map(|share| format!("accuracy {:.2} %, ", 100.0 * share));
    let text =
        format!("{}: {}loss {loss:.4} on {rows} rows", path.display(), right.unwrap_or_default());
    print(flags.output, &result, &text)
}

pub(super) fn load(path: &Path) -> Result<Model> {
    if path.extension().is_some_and(|kind| kind == "sky") {
        let package = Package::open(path)?;
        package.verify()?;
        return Ok(package.model()?);
    }
    let mut model = Model::load(path)?;
    model.inline_external_data()?;
    Ok(model)
}

fn data(flags: &Flags) -> Result<Dataset> {
    if let Some(recipe) = &flags.recipe {
        let recipe = Recipe::load(recipe, &[])?;
        let data = recipe.data.load_test(&recipe.folder)?;
        return Ok(data.scaled(recipe.prepare.scaling()));
    }
    let path = flags.data.clone().unwrap_or_default();
    let source = match path.to_str() {
        Some("digits") => Source::Digits(Digits { train: DIGITS, test: DIGITS, seed: 0 }),
        _ => Source::of_path(&path)?,
    };
    Ok(source.load_test(Path::new(""))?)
}
