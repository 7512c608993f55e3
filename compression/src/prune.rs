//! Magnitude pruning: the smallest weights become zero (Han et al., "Learning both Weights and
//! Connections", NIPS 2015, and "Deep Compression", ICLR 2016, section 2).

use crate::{CompressError, Layer, Mask, PerLayer, layers};
use global_threshold::keep_global;
use select::{keep_above, keep_largest};
use serde::Serialize;
use skysail_graph::Model;

mod select;
mod global_threshold;

/// Extent of pruning.
#[derive(Debug, Clone, PartialEq)]
pub enum PruneSettings {
    /// Each layer has its own rule.
    PerLayer(PerLayer<PruneRule>),
    /// All layers share one threshold.
    Global {
        /// Share of the weights of all these layers that stay, 0 to 1.
        density: f64,
        /// The layers, and the least share that each keeps, 0 to 1.
        floors: PerLayer<f64>,
    },
}

/// Rule for the weights that a layer keeps. A weight that is zero is never kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PruneRule {
    /// Share of the weights that stays, 0 to 1, rounded to a whole number: the largest. Of equal
    /// weights the first are kept, so the number is exact.
    Density(f64),
    /// Smallest absolute value that stays, 0 or more.
    Threshold(f32),
    /// Smallest absolute value that stays, in standard deviations of the layer's weights, 0 or more
    /// (Han et al. 2015, section 3).
    Deviations(f32),
}

/// The mask of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerMask {
    /// Name of the layer.
    pub layer: String,
    /// The weights that stay.
    pub mask: Mask,
    /// Smallest absolute value that stays, if any does.
    pub threshold: Option<f32>,
}

/// Result of pruning a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PruneReport {
    /// Results, layer by layer.
    pub layers: Vec<PrunedLayer>,
}

/// Result of pruning one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrunedLayer {
    /// Name of the layer.
    pub name: String,
    /// Number of weights.
    pub weights: usize,
    /// Number of weights that stay.
    pub kept: usize,
    /// Smallest absolute value that stays, if any does.
    pub threshold: Option<f32>,
}

impl PruneReport {
    /// Returns the share of all weights that stay; 1 when there are none.
    pub fn density(&self) -> f64 {
        let total = |of: fn(&PrunedLayer) -> usize| self.layers.iter().map(of).sum::<usize>();
        match total(|layer| layer.weights) {
            0 => 1.0,
            weights => total(|layer| layer.kept) as f64 / weights as f64,
        }
    }
}

/// Prunes the model.
///
/// # Errors
/// `NoSuchLayer` and `BadSetting` for settings that cannot be met, `NotFinite` for weights that are
/// NaN or infinite, `Graph` for a broken model.
pub fn prune(model: &mut Model, settings: &PruneSettings) -> Result<PruneReport, CompressError> {
    let masks = masks(model, settings)?;
    let layers = layers(model)?;
    let mut pruned = Vec::with_capacity(masks.len());
    for LayerMask { layer, mask, .. } in &masks {
        let Some(layer) = layers.iter().find(|known| known.name == *layer) else { continue };
        let mut values = layer.values(model)?.into_owned();
        mask.apply(&mut values);
        pruned.push((layer, layer.tensor(&values)?));
    }
    for (layer, tensor) in pruned {
        model.set_initializer(&layer.name, tensor);
    }
    Ok(PruneReport { layers: masks.iter().map(LayerMask::report).collect() })
}

/// Returns the masks that [`prune`] would apply, for training that goes on under them.
///
/// # Errors
/// The same as [`prune`].
pub fn masks(model: &Model, settings: &PruneSettings) -> Result<Vec<LayerMask>, CompressError> {
    let layers = layers(model)?;
    match settings {
        PruneSettings::PerLayer(rules) => {
            let chosen = rules.resolve(&layers)?.into_iter();
            chosen.map(|(layer, rule)| mask(model, layer, *rule)).collect()
        }
        PruneSettings::Global { density, floors } => {
            check_share("the density", *density)?;
            let chosen = floors.resolve(&layers)?;
            chosen.iter().try_for_each(|(_, floor)| check_share("a layer's floor", **floor))?;
            keep_global(model, *density, &chosen)
        }
    }
}

fn mask(model: &Model, layer: &Layer, rule: PruneRule) -> Result<LayerMask, CompressError> {
    let values = layer.values(model)?;
    let mask = match rule {
        PruneRule::Density(density) => {
            check_share("the density", density)?;
            keep_largest(&values, share_of(values.len(), density))
        }
        PruneRule::Threshold(threshold) => {
            check_size("the threshold", threshold)?;
            keep_above(&values, threshold)
        }
        PruneRule::Deviations(factor) => {
            check_size("the number of standard deviations", factor)?;
            keep_above(&values, factor * deviation(&values))
        }
    };
    Ok(LayerMask::new(layer, &values, mask))
}

impl LayerMask {
    fn new(layer: &Layer, values: &[f32], mask: Mask) -> Self {
        let kept = values.iter().zip(mask.as_slice()).filter(|(_, kept)| **kept);
        let threshold = kept.map(|(value, _)| value.abs()).reduce(f32::min);
        Self { layer: layer.name.clone(), mask, threshold }
    }

    fn report(&self) -> PrunedLayer {
        let (weights, kept) = (self.mask.len(), self.mask.kept());
        PrunedLayer { name: self.layer.clone(), weights, kept, threshold: self.threshold }
    }
}

/// Returns a share of `count`, to the nearest whole number.
fn share_of(count: usize, share: f64) -> usize {
    ((count as f64 * share).round() as usize).min(count)
}

fn check_share(setting: &'static str, value: f64) -> Result<(), CompressError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    let (value, wanted) = (value.to_string(), "a share from 0 to 1");
    Err(CompressError::BadSetting { setting, value, wanted })
}

fn check_size(setting: &'static str, value: f32) -> Result<(), CompressError> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    let (value, wanted) = (value.to_string(), "0 or more");
    Err(CompressError::BadSetting { setting, value, wanted })
}

/// Returns the standard deviation of all values, zeros included.
fn deviation(values: &[f32]) -> f32 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let squares = values.iter().map(|value| (f64::from(*value) - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt() as f32
}

#[cfg(test)]
mod tests;
