//! Smoothing: moves the large magnitudes of some activation channels into the weights (Xiao et al.,
//! "SmoothQuant", ICML 2023, equations 3 and 4).
//!
//! Transformers have a few channels that are ten times larger than the others. Codes of 8 bits span
//! them, and few are left for the rest. Each channel is divided by a constant, and the row of the
//! weights is multiplied by it. That changes no result and evens out the ranges.

use super::operand::Operand;
use super::product::Product;
use super::rewrite::Rewrite;
use crate::calibrate::{Calibration, ChannelMagnitudes};
use crate::{CompressError, Layer, layers};
use serde::Serialize;
use skysail_graph::{Model, NewNode, Tensor};
use std::collections::HashMap;

/// Least magnitude of a channel or row: one that is always zero has no logarithm.
const SIZE_MIN: f32 = 1e-5;

/// Settings of smoothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmoothSettings {
    /// Share of the magnitudes to move, 0 to 1 (the paper's alpha). 0 evens out the weights alone,
    /// 1 the activations alone.
    pub strength: f32,
}

impl Default for SmoothSettings {
    /// A strength that suits sentence encoders. Their activations are the harder part, and one not
    /// seen during calibration must not spoil the rest.
    fn default() -> Self {
        Self { strength: 0.65 }
    }
}

/// Result of smoothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct SmoothReport {
    /// Activations that are multiplied now.
    pub values: Vec<SmoothedValue>,
}

/// An activation that was smoothed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SmoothedValue {
    /// Name of the activation.
    pub name: String,
    /// Layers that use it.
    pub layers: Vec<String>,
}

/// Smooths the inputs of products with constant matrices.
///
/// It must precede [`quantize_dynamic`] or [`quantize_static`]: it adds one multiplication for each
/// activation, and pays only there.
///
/// [`quantize_dynamic`]: super::quantize_dynamic
/// [`quantize_static`]: super::quantize_static
///
/// # Errors
/// `BadSetting` and `NotFinite`, those of [`Calibration::channel_magnitudes`], and `Graph` for a broken
/// model.
pub fn smooth(
    model: &mut Model,
    settings: SmoothSettings,
    calibration: &mut Calibration<'_>,
) -> Result<SmoothReport, CompressError> {
    let strength = settings.strength;
    if !(0.0..=1.0).contains(&strength) {
        let (setting, value) = ("the strength of smoothing", strength.to_string());
        return Err(CompressError::BadSetting { setting, value, wanted: "0 to 1" });
    }
    let layers = layers(model)?;
    let rewrite = Rewrite::of(model);
    let weights = rewrite.graph.weights()?;
    let mut groups: Vec<(&str, Vec<Product<'_, '_>>)> = Vec::new();
    for weight in &weights {
        let Ok(product) = Product::of(weight, &rewrite)? else { continue };
        if !is_sole_use(&product, &rewrite) {
            continue;
        }
        match groups.iter_mut().find(|(input, _)| *input == product.input) {
            Some((_, products)) => products.push(product),
            None => groups.push((product.input, vec![product])),
        }
    }
    let values: Vec<String> = groups.iter().map(|(input, _)| (*input).to_owned()).collect();
    if values.is_empty() {
        return Ok(SmoothReport::default());
    }
    let magnitudes = calibration.channel_magnitudes(model, &values)?;
    let report = SmoothReport::default();
    let mut smoothing = Smoothing { rewrite, layers: &layers, magnitudes, strength, report };
    for (input, products) in groups {
        smoothing.apply(input, &products)?;
    }
    let (report, (edit, _)) = (smoothing.report, smoothing.rewrite.finish());
    model.apply(edit)?;
    Ok(report)
}

/// Returns true if nothing else uses the product's matrix, and it is used in its stored order.
fn is_sole_use<'m>(product: &Product<'_, 'm>, rewrite: &Rewrite<'m>) -> bool {
    let source = product.source();
    let plain = source.through.iter().all(|node| matches!(node.op_type(), "Cast" | "Identity"));
    plain && source.is_sole_use(&rewrite.links)
}

struct Smoothing<'m, 'l> {
    rewrite: Rewrite<'m>,
    layers: &'l [Layer],
    magnitudes: HashMap<String, ChannelMagnitudes>,
    strength: f32,
    report: SmoothReport,
}

impl Smoothing<'_, '_> {
    /// Smooths `input` for the products that use it.
    fn apply(&mut self, input: &str, products: &[Product<'_, '_>]) -> Result<(), CompressError> {
        let magnitudes = self.magnitudes.get(input).map_or(&[][..], ChannelMagnitudes::magnitudes);
        // The model is inconsistent where its channels are not the rows of the matrices.
        if products.iter().any(|product| product.matrix.dims[0] != magnitudes.len()) {
            return Ok(());
        }
        let matrices: Vec<&Operand> = products.iter().map(|product| &product.matrix).collect();
        let factors = factors(magnitudes, &matrices, self.strength);
        let inverse: Vec<f32> = factors.iter().map(|factor| 1.0 / factor).collect();
        let inverse = Tensor::new(&[inverse.len() as u64], &inverse)?;
        let inverse = self.rewrite.constant(&format!("{input}_smoothing"), inverse);
        let smoothed = self.rewrite.edit.fresh(&format!("{input}_smoothed"));
        self.rewrite.edit.add(NewNode::new("Mul", &[input, &inverse], &[&smoothed]));
        for product in products {
            self.scale(product, &factors, &smoothed)?;
        }
        let layers = products.iter().map(|product| product.source().name.to_owned()).collect();
        self.report.values.push(SmoothedValue { name: input.to_owned(), layers });
        Ok(())
    }

    /// Multiplies the rows of a product's matrix, and connects it to the smoothed input.
    fn scale(
        &mut self,
        product: &Product<'_, '_>,
        factors: &[f32],
        smoothed: &str,
    ) -> Result<(), CompressError> {
        let (name, node) = (product.source().name, product.node());
        let Some(layer) = self.layers.iter().find(|layer| layer.name == name) else {
            return Ok(());
        };
        let mut scaled = product.matrix.clone();
        let columns = scaled.dims[1].max(1);
        for (row, factor) in scaled.values.chunks_mut(columns).zip(factors) {
            row.iter_mut().for_each(|value| *value *= factor);
        }
        // The stored order may be the transposed one of `Gemm`.
        if node.op_type() == "Gemm" && node.int("transB")?.unwrap_or(0) != 0 {
            scaled.transpose(&[1, 0]);
        }
        self.rewrite.edit.set_initializer(name, layer.tensor(&scaled.values)?);
        self.rewrite.edit.replace(node, [NewNode::copy_of(node).input(0, smoothed)]);
        Ok(())
    }
}

/// Returns the divisor of each channel (equation 4), with a geometric mean of 1.
fn factors(magnitudes: &[f32], matrices: &[&Operand], strength: f32) -> Vec<f32> {
    let row_size = |row: usize| {
        let rows = matrices.iter().flat_map(|matrix| {
            let columns = matrix.dims[1];
            &matrix.values[row * columns..(row + 1) * columns]
        });
        rows.fold(SIZE_MIN, |largest, value| largest.max(value.abs()))
    };
    let exponent = |(row, magnitude): (usize, &f32)| {
        strength * magnitude.max(SIZE_MIN).ln() - (1.0 - strength) * row_size(row).ln()
    };
    let exponents: Vec<f32> = magnitudes.iter().enumerate().map(exponent).collect();
    let mean = exponents.iter().sum::<f32>() / magnitudes.len().max(1) as f32;
    exponents.iter().map(|exponent| (exponent - mean).exp()).collect()
}

#[cfg(test)]
mod tests;
