//! Measures how much a model's outputs lose against the original, on data.

use crate::args::{BadUsage, Share};
use crate::data::{DataSet, RunningStatistics};
use crate::progress::Progress;
use crate::session::{Session, Threads};
use crate::table::percent;
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use skysail_compression::{
    Accuracy, Batch, Run, Statistics, accuracy, agreement, difference, nearest, top_1,
};
use skysail_graph::{Dim, ElementType, Model, Tensor, ValueInfo};
use std::collections::BTreeMap;

/// Number of outputs that an error suggests.
const SUGGESTIONS: usize = 3;

/// Measure of a model's loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Measure {
    /// Share of rows for which the model chooses the right class
    Accuracy,
    /// Share of rows for which the model chooses the same class as the original
    Agreement,
    /// Mean cosine similarity of the outputs to the original's
    Cosine,
}

/// Settings of a comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompareSettings<'a> {
    /// Measure. By default accuracy if there are labels, agreement for a model with one output of
    /// classes, else cosine similarity. Embeddings are not classes.
    pub(crate) measure: Option<Measure>,
    /// Outputs to compare; all if empty.
    pub(crate) outputs: &'a [String],
}

/// Comparison of a model with its original.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) measure: Measure,
    /// Name of the data.
    pub(crate) data: String,
    pub(crate) rows: u64,
    /// Figures of each compared output.
    pub(crate) figures: Vec<Figure>,
    pub(crate) inputs: BTreeMap<String, Statistics>,
    /// Statistics of the model's outputs, not the original's.
    pub(crate) outputs: BTreeMap<String, Statistics>,
}

/// Figures of one output.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) output: String,
    /// Measure of the original.
    pub(crate) before: f64,
    /// Measure of the other model.
    pub(crate) after: f64,
    /// Measure of the worst row, for cosine similarity.
    pub(crate) worst: Option<f64>,
    /// Largest difference of two elements.
    pub(crate) difference_max: f32,
}

impl Measure {
    /// In words.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy against the labels",
            Self::Agreement => "agreement with the original's top class",
            Self::Cosine => "cosine similarity to the original",
        }
    }

    /// Returns the name of the measure in a manifest.
    fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "top1",
            Self::Agreement => "top1-agreement",
            Self::Cosine => "cosine",
        }
    }
}

impl Figure {
    /// In words.
    pub(crate) fn describe(&self) -> String {
        let (before, after) = (percent(self.before), percent(self.after));
        let worst = self.worst.map(|worst| format!(", {} in the worst row", percent(worst)));
        format!("{}: {before} before, {after} after{}", self.output, worst.unwrap_or_default())
    }
}

impl Comparison {
    /// Returns the loss of the measure of the output that loses most.
    pub(crate) fn loss(&self) -> f64 {
        let losses = self.figures.iter().map(|figure| figure.before - figure.after);
        losses.fold(f64::NEG_INFINITY, f64::max)
    }

    /// Rejects a loss above `loss_max`.
    pub(crate) fn check(&self, loss_max: Share) -> Result<()> {
        /// Tolerance for rounding.
        const SLACK: f64 = 1e-9;
        let (loss, words) = (self.loss(), self.measure.describe());
        if loss <= loss_max.0 + SLACK {
            return Ok(());
        }
        let (loss, rows, data) = (percent(loss), self.rows, &self.data);
        bail!("it loses {loss} of {words} on {rows} rows of {data}, and {loss_max} is allowed")
    }

    /// Returns the comparison as JSON.
    pub(crate) fn json(&self) -> Value {
        json!({
            "measure": self.measure,
            "data": self.data,
            "rows": self.rows,
            "outputs": self.figures,
            "loss": self.loss(),
        })
    }

    /// Returns the comparison for a manifest.
    pub(crate) fn accuracy(&self) -> Vec<Accuracy> {
        let several = self.figures.len() > 1;
        let figures = self.figures.iter().map(|figure| Accuracy {
            measure: match several {
                true => format!("{} of {}", self.measure.name(), figure.output),
                false => self.measure.name().to_owned(),
            },
            before: Some(figure.before),
            after: Some(figure.after),
            data: self.data.clone(),
            ..Accuracy::default()
        });
        figures.collect()
    }
}

/// Runs both models on the data.
pub(crate) fn compare(
    [original, other]: [&Model; 2],
    data: &DataSet,
    settings: CompareSettings<'_>,
    progress: &Progress,
) -> Result<Comparison> {
    let (mut measure, compared) = choose(original, data, settings)?;
    let is_open = settings.measure.is_none() && measure == Measure::Agreement;
    let mut sessions = [start(original, "the original")?, start(other, "the packed model")?];
    let names = sessions[0].outputs().to_vec();
    ensure!(names == sessions[1].outputs(), "the models do not have the same outputs");
    let mut outputs: BTreeMap<&str, RunningStatistics> = BTreeMap::new();
    let mut inputs: BTreeMap<&str, RunningStatistics> = BTreeMap::new();
    let mut pairs: Vec<Accumulator> = compared.iter().map(|_| Accumulator::default()).collect();
    for (done, batch) in data.batches.iter().enumerate() {
        progress.part("comparing", done, data.batches.len());
        let [before, after] = &mut sessions;
        let (before, after) = (run(before, batch)?, run(after, batch)?);
        for (name, tensor) in batch {
            inputs.entry(name).or_default().add(tensor);
        }
        for (name, tensor) in names.iter().zip(&after) {
            outputs.entry(name).or_default().add(tensor);
        }
        for (pair, output) in pairs.iter_mut().zip(&compared) {
            let position = names.iter().position(|name| name == output);
            let position = position.with_context(|| format!("'{output}' gives no tensor"))?;
            if done == 0 && is_open && are_directions(&before[position]) {
                measure = Measure::Cosine;
            }
            pair.add(measure, &before[position], &after[position])?;
        }
    }
    let figures = pairs.into_iter().zip(compared);
    let figures = figures.map(|(pair, output)| pair.figure(output, measure, data));
    Ok(Comparison {
        measure,
        data: data.name.clone(),
        rows: data.rows(),
        figures: figures.collect::<Result<_>>()?,
        inputs: statistics(inputs),
        outputs: statistics(outputs),
    })
}

/// Chooses the measure and the outputs.
fn choose(
    model: &Model,
    data: &DataSet,
    settings: CompareSettings<'_>,
) -> Result<(Measure, Vec<String>)> {
    let outputs = model.graph().outputs();
    let named = |name: &String| outputs.iter().any(|output| output.name == *name);
    if let Some(name) = settings.outputs.iter().find(|name| !named(name)) {
        let names = outputs.iter().map(|output| output.name.as_str());
        let near = nearest(name, names, SUGGESTIONS).join("', '");
        bail!(BadUsage(format!("the model has no output '{name}'; the nearest are '{near}'")));
    }
    let counts = |output: &&ValueInfo| {
        is_float(output) && (settings.outputs.is_empty() || settings.outputs.contains(&output.name))
    };
    let floats: Vec<&ValueInfo> = outputs.iter().filter(counts).collect();
    let classes = floats.iter().find(|output| has_classes(output));
    let usual = match (&data.labels, floats.len()) {
        (Some(_), _) => Measure::Accuracy,
        (None, 1) if classes.is_some() => Measure::Agreement,
        _ => Measure::Cosine,
    };
    let measure = settings.measure.unwrap_or(usual);
    if measure == Measure::Accuracy && data.labels.is_none() {
        let message = format!("accuracy needs an array 'labels' in {}: a class a row", data.name);
        bail!(BadUsage(message));
    }
    let compared: Vec<String> = match measure {
        Measure::Cosine => floats.iter().map(|output| output.name.clone()).collect(),
        _ => classes.iter().map(|output| output.name.clone()).collect(),
    };
    ensure!(!compared.is_empty(), "the model has no output to measure {} by", measure.describe());
    Ok((measure, compared))
}

fn is_float(output: &ValueInfo) -> bool {
    use ElementType::{BFloat16, Float16, Float32, Float64};
    matches!(output.kind.element(), Some(Float32 | Float64 | Float16 | BFloat16))
}

/// Returns true if an output is a row of scores for each row of the input.
fn has_classes(output: &ValueInfo) -> bool {
    let dims = output.kind.dims().unwrap_or_default();
    dims.len() >= 2 && dims[2..].iter().all(|dim| *dim == Dim::Fixed(1))
}

/// Returns true if rows have length 1 and are no shares of a whole: embeddings, whose direction
/// alone matters.
fn are_directions(rows: &Tensor) -> bool {
    /// Tolerance of a length of 1, for rounding and for formats of few bits.
    const SLACK: f32 = 0.01;
    let width = rows.shape().iter().skip(1).product::<u64>() as usize;
    if rows.element() != ElementType::Float32 || width == 0 {
        return false;
    }
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(rows.bytes());
    let length = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>().sqrt();
    let mut lengths = values.chunks(width).map(length);
    values.iter().any(|value| *value < 0.0) && lengths.all(|length| (length - 1.0).abs() < SLACK)
}

fn start(model: &Model, which: &str) -> Result<Session> {
    let session = Session::of(model, Threads::All).map_err(anyhow::Error::from_boxed);
    session.with_context(|| format!("cannot run {which}"))
}

fn run(session: &mut Session, batch: &Batch) -> Result<Vec<Tensor>> {
    let tensors: Vec<Tensor> = batch.iter().map(|(_, tensor)| tensor.clone()).collect();
    session.run(&tensors).map_err(anyhow::Error::from_boxed)
}

fn statistics(seen: BTreeMap<&str, RunningStatistics>) -> BTreeMap<String, Statistics> {
    let known = seen.into_iter().filter_map(|(name, seen)| Some((name, seen.statistics()?)));
    known.map(|(name, statistics)| (name.to_owned(), statistics)).collect()
}

/// Accumulated results of one output of both models.
#[derive(Default)]
struct Accumulator {
    /// Classes that each model chose, row by row.
    classes: [Vec<usize>; 2],
    /// Sum of the cosines of all rows, and their number.
    cosines: (f64, f64),
    /// Smallest of the cosines.
    cosine_min: Option<f64>,
    difference_max: f32,
}

impl Accumulator {
    fn add(&mut self, measure: Measure, before: &Tensor, after: &Tensor) -> Result<()> {
        let found = difference(before, after)?;
        self.difference_max = self.difference_max.max(found.absolute);
        if measure == Measure::Cosine {
            let rows = before.shape().first().copied().unwrap_or(1) as f64;
            self.cosines = (self.cosines.0 + rows * found.cosine_mean, self.cosines.1 + rows);
            let before = self.cosine_min.unwrap_or(1.0);
            self.cosine_min = Some(before.min(found.cosine_min));
            return Ok(());
        }
        for (classes, tensor) in self.classes.iter_mut().zip([before, after]) {
            classes.extend(top_1(&as_rows(tensor)?)?);
        }
        Ok(())
    }

    fn figure(self, output: String, measure: Measure, data: &DataSet) -> Result<Figure> {
        let [original, other] = &self.classes;
        let (before, after) = match (measure, &data.labels) {
            (Measure::Accuracy, Some(labels)) => {
                (accuracy(original, labels)?, accuracy(other, labels)?)
            }
            (Measure::Accuracy | Measure::Agreement, _) => (1.0, agreement(original, other)?),
            (Measure::Cosine, _) if self.cosines.1 == 0.0 => (1.0, 1.0),
            (Measure::Cosine, _) => (1.0, self.cosines.0 / self.cosines.1),
        };
        let (worst, difference_max) = (self.cosine_min, self.difference_max);
        Ok(Figure { output, before, after, worst, difference_max })
    }
}

/// Reshapes scores of classes to two dimensions, without dimensions of 1.
fn as_rows(tensor: &Tensor) -> Result<Tensor> {
    let shape = tensor.shape();
    let shape: Vec<u64> = shape.iter().copied().take(2).collect();
    Ok(Tensor::from_bytes(tensor.element(), &shape, tensor.bytes().to_vec())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_differ_from_scores_and_from_probabilities() {
        let rows = |values: &[f32]| Tensor::new(&[2, 2], values).unwrap();
        assert!(are_directions(&rows(&[0.6, -0.8, 1.0, 0.0])));
        assert!(!are_directions(&rows(&[0.6, 0.8, 1.0, 0.0])), "shares");
        assert!(!are_directions(&rows(&[3.0, -4.0, 1.0, 0.0])), "scores");
        assert!(!are_directions(&rows(&[f32::NAN, -1.0, 1.0, 0.0])));
        assert!(!are_directions(&Tensor::new(&[2, 0], &[0.0_f32; 0]).unwrap()));
    }
}
