//! Smoothing: what some channels of an activation have too much of goes into the weights (Xiao
//! et al., "SmoothQuant", ICML 2023, equations 3 and 4).
//!
//! Transformers have a few channels that are ten times larger than the others. A code for eight
//! bits spans them, and little is left for the rest. Dividing each channel by a constant, and
//! multiplying the row of the weights by it, changes no result and evens out the ranges.

use std::collections::HashMap;

use serde::Serialize;
use skysail_graph::{Model, NewNode, Tensor};

use super::draft::Draft;
use super::product::Product;
use crate::calibrate::{Calibration, ChannelSizes};
use crate::{CompressError, Layer, layers};

/// How much is moved into the weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmoothSettings {
    /// 0 evens out the weights alone, 1 the activations alone (the paper's alpha).
    pub strength: f32,
}

impl Default for SmoothSettings {
    /// What suits dynamic int8 of sentence encoders: activations are the harder part.
    fn default() -> Self {
        Self { strength: 0.65 }
    }
}

/// What was smoothed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SmoothReport {
    /// The activations, and the layers that take them.
    pub values: Vec<(String, Vec<String>)>,
}

/// Smooths what the products with constant matrices take. To be done before [`quantize_dynamic`]
/// or [`quantize_static`]: it adds one multiplication for each activation, and pays only there.
///
/// [`quantize_dynamic`]: super::quantize_dynamic
/// [`quantize_static`]: super::quantize_static
///
/// # Errors
/// `BadSetting` and `NotFinite`, those of [`Calibration::channel_sizes`], and `Graph` for a
/// broken model.
pub fn smooth(
    model: &mut Model,
    settings: SmoothSettings,
    calibration: &mut Calibration<'_>,
) -> Result<SmoothReport, CompressError> {
    if !(0.0..=1.0).contains(&settings.strength) {
        let (setting, value) = ("the strength of smoothing", settings.strength.to_string());
        return Err(CompressError::BadSetting { setting, value, wanted: "0 to 1" });
    }
    let layers = layers(model)?;
    let draft = Draft::of(model);
    let weights = draft.graph.weights()?;
    let mut groups: Vec<(&str, Vec<Product<'_, '_>>)> = Vec::new();
    for weight in &weights {
        let Ok(product) = Product::of(weight, &draft)? else { continue };
        if !is_alone(&product, &draft) {
            continue;
        }
        match groups.iter_mut().find(|(input, _)| *input == product.input) {
            Some((_, products)) => products.push(product),
            None => groups.push((product.input, vec![product])),
        }
    }
    let values: Vec<String> = groups.iter().map(|(input, _)| (*input).to_owned()).collect();
    let sizes = calibration.channel_sizes(model, &values)?;
    let mut smoothing = Smoothing { draft, layers: &layers, sizes, strength: settings.strength };
    let mut report = SmoothReport { values: Vec::new() };
    for (input, products) in groups {
        if smoothing.apply(input, &products)? {
            let names = products.iter().map(|product| product.source().name.to_owned());
            report.values.push((input.to_owned(), names.collect()));
        }
    }
    let (edit, _) = smoothing.draft.finish();
    model.apply(edit)?;
    Ok(report)
}

/// Whether nobody else takes the product's matrix, and it lies as it is stored.
fn is_alone<'m>(product: &Product<'_, 'm>, draft: &Draft<'m>) -> bool {
    let source = product.source();
    let plain = source.through.iter().all(|node| matches!(node.op_type(), "Cast" | "Identity"));
    plain && source.is_alone(&draft.links)
}

struct Smoothing<'m, 'l> {
    draft: Draft<'m>,
    layers: &'l [Layer],
    sizes: HashMap<String, ChannelSizes>,
    strength: f32,
}

impl Smoothing<'_, '_> {
    /// Smooths what `input` is to the products that take it; whether there was anything to do.
    fn apply(&mut self, input: &str, products: &[Product<'_, '_>]) -> Result<bool, CompressError> {
        let sizes = self.sizes.get(input).map_or(&[][..], ChannelSizes::sizes);
        let Some(factors) = factors(sizes, products, self.strength) else { return Ok(false) };
        let inverse: Vec<f32> = factors.iter().map(|factor| 1.0 / factor).collect();
        let inverse = Tensor::new(&[inverse.len() as u64], &inverse)?;
        let inverse = self.draft.constant(&format!("{input}_smoothing"), inverse);
        let smoothed = self.draft.edit.fresh(&format!("{input}_smoothed"));
        self.draft.edit.add(NewNode::new("Mul", &[input, &inverse], &[&smoothed]));
        for product in products {
            let name = product.source().name;
            let Some(layer) = self.layers.iter().find(|layer| layer.name == name) else { continue };
            let node = product.node();
            let mut values = product.matrix.values.clone();
            let columns = product.matrix.dims[1].max(1);
            for (row, factor) in values.chunks_mut(columns).zip(&factors) {
                row.iter_mut().for_each(|value| *value *= factor);
            }
            let mut scaled = super::operand::Operand { values, dims: product.matrix.dims.clone() };
            // As it is stored: a `Gemm` may take it turned.
            if node.op_type() == "Gemm" && node.int("transB")?.unwrap_or(0) != 0 {
                scaled.transpose(&[1, 0]);
            }
            self.draft.edit.set_initializer(name, layer.tensor(&scaled.values)?);
            self.draft.edit.replace(node, [NewNode::copy_of(node).input(0, &smoothed)]);
        }
        Ok(true)
    }
}

/// What each channel is divided by (equation 4), around 1 as a geometric mean. `None` where the
/// channels are not those of the matrices.
fn factors(sizes: &[f32], products: &[Product<'_, '_>], strength: f32) -> Option<Vec<f32>> {
    /// Channels that are always zero have no logarithm.
    const SIZE_MIN: f32 = 1e-5;
    let inputs = sizes.len();
    if inputs == 0 || products.iter().any(|product| product.matrix.dims[0] != inputs) {
        return None;
    }
    let row_size = |row: usize| {
        let rows = products.iter().flat_map(|product| {
            let columns = product.matrix.dims[1];
            &product.matrix.values[row * columns..(row + 1) * columns]
        });
        rows.fold(SIZE_MIN, |largest, value| largest.max(value.abs()))
    };
    let exponents: Vec<f32> = sizes
        .iter()
        .enumerate()
        .map(|(row, size)| {
            strength * size.max(SIZE_MIN).ln() - (1.0 - strength) * row_size(row).ln()
        })
        .collect();
    let mean = exponents.iter().sum::<f32>() / inputs as f32;
    Some(exponents.iter().map(|exponent| (exponent - mean).exp()).collect())
}

#[cfg(test)]
mod tests;
