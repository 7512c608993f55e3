//! `skysail-train evaluate`: how good a model is.

use super::output::{Output, print};
use anyhow::{Context, Result};
use clap::{ArgGroup, Args};
use serde::Serialize;
use skysail_compression::Package;
use skysail_graph::Model;
use skysail_trainer::data::{Dataset, Digits, Source};
use skysail_trainer::{NetworkTrainee, Recipe, Trainee, evaluate};
use std::path::{Path, PathBuf};

/// Rows of the digits that are made where nothing else is said.
const DIGITS: usize = 2_000;

/// Measure a model on data that it has not learned from.
///
/// The model is an ONNX file or a .sky package.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("with").required(true).args(["data", "recipe"]))]
pub(super) struct Flags {
    /// The model.
    model: PathBuf,
    /// The data: a folder of MNIST's files, a .csv, .npz or .parquet file, or `digits`. Of data in
    /// two parts the one to test with.
    #[arg(long)]
    data: Option<PathBuf>,
    /// A recipe, whose data it is measured on.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "text")]
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

/// Measures.
pub(super) fn execute(flags: &Flags) -> Result<()> {
    let path = &flags.model;
    let model = load(path).with_context(|| format!("cannot use {}", path.display()))?;
    let data = data(flags)?.fit(&model)?;
    let trainee = NetworkTrainee::new(model)?;
    let mut learner = trainee.learner()?;
    let probabilities = trainee.gives_probabilities();
    let found = evaluate(learner.as_mut(), &trainee.start(), &data, probabilities)?;
    let (loss, accuracy, rows) = (found.loss, found.accuracy, found.rows);
    let result = EvaluationResult { model: path, data: data.name(), rows, loss, accuracy };
    let right = accuracy.map(|share| format!("{:.2} % right, ", 100.0 * share));
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
