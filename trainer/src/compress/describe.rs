//! The manifest of a compressed model.

use super::CompressedModel;
use crate::batch::{Input, Values};
use crate::error::TrainError;
use crate::job::{NetworkTask, TrainTask as _};
use crate::network::trained_output;
use serde_json::json;
use skysail_compression::{Accuracy, Manifest, Statistics, Step};
use std::collections::BTreeMap;

/// Facts about a model for its manifest.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PackageInfo {
    /// Name of the model.
    pub name: String,
    /// Fingerprint of the recipe.
    pub training: String,
    /// Fingerprints of the data, by name.
    pub data: BTreeMap<String, String>,
    /// Name of the data on which the accuracy was measured.
    pub measured_on: String,
}

/// Creates the manifest; statistics of inputs and outputs are computed on `sample`.
///
/// # Errors
/// Fails when the sample does not fit the model.
pub fn describe(
    compressed: &CompressedModel,
    known: PackageInfo,
    sample: &Input,
) -> Result<Manifest, TrainError> {
    let mut tensors: BTreeMap<String, Vec<Step>> = BTreeMap::new();
    for (name, density) in &compressed.density {
        let settings = json!({ "density": rounded(*density) });
        tensors.entry(name.clone()).or_default().push(step("prune", &settings));
    }
    for (name, bits) in &compressed.bits {
        tensors.entry(name.clone()).or_default().push(step("cluster", &json!({ "bits": bits })));
    }
    let done = compressed.steps.iter().map(|done| {
        let settings = json!({
            "density": rounded(done.density),
            "top1": rounded(f64::from(done.accuracy)),
        });
        step(&done.what, &settings)
    });
    let [before, after] = compressed.accuracy.map(|accuracy| Some(rounded(f64::from(accuracy))));
    let accuracy = Accuracy {
        measure: "top1".into(),
        before,
        after,
        data: known.measured_on,
        ..Accuracy::default()
    };
    let task = NetworkTask::new(compressed.model.clone())?;
    let outputs = task.learner()?.predict(&task.initial_parameters(), sample)?;
    let graph = compressed.model.graph();
    let input = graph.inputs();
    let mut manifest = Manifest {
        name: known.name,
        steps: done.collect(),
        tensors,
        accuracy: vec![accuracy],
        training: known.training,
        data: known.data,
        ..Manifest::default()
    };
    if let (Some(input), Values::Float32(values)) = (input.first(), &sample.values) {
        manifest.inputs.insert(input.name.clone(), statistics(values.clone()));
    }
    if let Some(output) = trained_output(&compressed.model) {
        manifest.outputs.insert(output.name, statistics(outputs));
    }
    Ok(manifest)
}

fn step(what: &str, settings: &serde_json::Value) -> Step {
    let settings = settings.as_object().cloned().unwrap_or_default();
    Step { what: what.to_owned(), settings, ..Step::default() }
}

/// Summarizes finite values.
fn statistics(mut values: Vec<f32>) -> Statistics {
    /// Number of equal parts between the quantiles.
    const PARTS: usize = 10;
    values.sort_by(f32::total_cmp);
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let squares = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>();
    let at = |part: usize| {
        let index = values.len().saturating_sub(1) * part / PARTS;
        values.get(index).map_or(0.0, |value| rounded(f64::from(*value)))
    };
    Statistics {
        count: values.len() as u64,
        mean: rounded(mean),
        deviation: rounded((squares / count).sqrt()),
        min: at(0),
        max: at(PARTS),
        quantiles: (1..PARTS).map(at).collect(),
        ..Statistics::default()
    }
}

/// Rounds to four decimals, as each digit adds to a package's size.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
