//! What the manifest of a compressed model says.

use super::Compressed;
use crate::batch::{Input, Values};
use crate::error::TrainError;
use crate::job::{NetworkTrainee, Trainee as _};
use crate::network::learned_output;
use serde_json::json;
use skysail_compression::{Accuracy, Manifest, Statistics, Step};
use std::collections::BTreeMap;

/// What is known of a model beside itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// A fingerprint of the recipe.
    pub training: String,
    /// The data by name, and a fingerprint of each.
    pub data: BTreeMap<String, String>,
    /// On which of them the accuracy was measured.
    pub measured_on: String,
}

/// The manifest; inputs and outputs look as on `sample`.
///
/// # Errors
/// When the sample does not fit the model.
pub fn describe(
    compressed: &Compressed,
    known: Known,
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
    let trainee = NetworkTrainee::new(compressed.model.clone())?;
    let outputs = trainee.learner()?.predict(&trainee.start(), sample)?;
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
    if let Some(output) = learned_output(&compressed.model) {
        manifest.outputs.insert(output.name, statistics(outputs));
    }
    Ok(manifest)
}

fn step(what: &str, settings: &serde_json::Value) -> Step {
    let settings = settings.as_object().cloned().unwrap_or_default();
    Step { what: what.to_owned(), settings, ..Step::default() }
}

/// A summary of values, all finite.
fn statistics(mut values: Vec<f32>) -> Statistics {
    /// Parts of equal number that the quantiles divide the values into.
    const PARTS: usize = 10;
    values.sort_by(f32::total_cmp);
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let squares = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>();
    let at = |part: usize| {
        let place = values.len().saturating_sub(1) * part / PARTS;
        values.get(place).map_or(0.0, |value| rounded(f64::from(*value)))
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

/// Four digits behind the point: a package pays for each.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
