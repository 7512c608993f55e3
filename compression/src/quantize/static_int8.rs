//! Static int8: weights and activations are bytes, by ranges that are found beforehand on typical
//! inputs.

use super::fold::fold_batch_norms;
use super::int8::{Int8Weights, SMALLEST};
use super::{PER_CHANNEL_OPSET, QuantizeReport, require_opset};
use crate::calibrate::{Calibration, Range, RangeRule};
use crate::{CompressError, PerLayer, layers};
use build::build;
use plan::Plan;
use skysail_graph::Model;
use std::collections::{HashMap, HashSet};

mod build;
mod plan;

/// Selection of layers that become int8, and the rule of their ranges.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticSettings {
    /// Settings of the weights of each layer.
    pub layers: PerLayer<Int8Weights>,
    /// Rule that chooses the ranges of inputs and outputs.
    pub range: RangeRule,
}

impl Default for StaticSettings {
    /// Selects all layers, with a scale for each output, and ranges from the smallest value to the
    /// largest.
    fn default() -> Self {
        Self { layers: PerLayer::all(Int8Weights::default()), range: RangeRule::MinMax }
    }
}

/// Turns layers into integer arithmetic.
///
/// `QuantizeLinear` and `DequantizeLinear` stand around each layer, and ONNX Runtime joins them
/// into one operator on bytes. Activations are unsigned, with one scale. Weights are signed, with
/// one scale for each output, and such that no processor's sums saturate. Biases have 32 bits, with
/// the product of both scales.
///
/// Operators between two layers that only pick, move, add or average work on bytes too. The rest
/// stays in floats, and so do values that are too small for a scale. Normalizations are folded into
/// convolutions first.
///
/// # Errors
/// `NoSuchLayer`, `BadSetting` and `NotFinite`; `OldOperators` below version 13; those of
/// [`Calibration::histograms`]; `Graph` for a broken model. The model is then unchanged.
pub fn quantize_static(
    model: &mut Model,
    settings: &StaticSettings,
    calibration: &mut Calibration<'_>,
) -> Result<QuantizeReport, CompressError> {
    require_opset(model, PER_CHANNEL_OPSET)?;
    check(settings.range)?;
    let layers = layers(model)?;
    let mut chosen = HashMap::new();
    for (layer, weights) in settings.layers.resolve(&layers)? {
        chosen.insert(layer.name.clone(), weights.check()?);
    }
    let mut folded = model.clone();
    fold_batch_norms(&mut folded)?;
    let mut ranges: HashMap<String, Range> = HashMap::new();
    let mut tiny = HashSet::new();
    let plan = loop {
        let plan = Plan::of(&folded, &chosen, &tiny)?;
        let mut values = plan.observed();
        values.retain(|value| !ranges.contains_key(value));
        observe(&folded, &values, settings.range, calibration, &mut ranges)?;
        let is_tiny = |value: &String| ranges.get(value).is_some_and(|range| is_tiny(*range));
        let found: Vec<String> = plan.observed().into_iter().filter(is_tiny).collect();
        if found.is_empty() {
            break plan;
        }
        tiny.extend(found);
    };
    let (edit, report) = build(&folded, &plan, &chosen, &ranges)?;
    folded.apply(edit)?;
    folded.drop_unused();
    *model = folded;
    Ok(report)
}

/// Finds the ranges of `values`.
fn observe(
    model: &Model,
    values: &[String],
    rule: RangeRule,
    calibration: &mut Calibration<'_>,
    ranges: &mut HashMap<String, Range>,
) -> Result<(), CompressError> {
    if values.is_empty() {
        return Ok(());
    }
    for (value, histogram) in calibration.histograms(model, values)? {
        let range = histogram.range(rule);
        let range = range.ok_or_else(|| CompressError::NotObserved { value: value.clone() })?;
        ranges.insert(value, range);
    }
    Ok(())
}

/// Returns true if a value is not always zero, but too small for a scale.
fn is_tiny(range: Range) -> bool {
    let size = range.high().max(-range.low());
    size > 0.0 && size < SMALLEST
}

fn check(rule: RangeRule) -> Result<(), CompressError> {
    match rule {
        RangeRule::Percentile(percent) if !(percent > 0.0 && percent <= 100.0) => {
            let (setting, wanted) = ("the percentile", "above 0, and 100 at most");
            Err(CompressError::BadSetting { setting, value: percent.to_string(), wanted })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
