//! Dynamic int8: weights are stored as bytes, and activations become bytes while the model runs.
//!
//! Each row is quantized by its own range. No calibration is needed, and no row changes the results
//! of another.

use super::int8::{Form, Granularity, Int8Weights, too_small};
use super::product::Product;
use super::rewrite::{Rewrite, Stored};
use super::row_codes::{OPSET, RowCodes, Shared};
use super::{QuantizeReport, require_opset, too_small_for};
use crate::{CompressError, PerLayer, layers};
use skysail_graph::{Attribute, ElementType, Model, NewNode, Tensor};
use std::collections::HashMap;

/// Limit of a layer's inputs: sums of more products might not fit 32 bits.
const INPUTS_MAX: usize = 1 << 15;

/// Selection of layers that become int8.
#[derive(Debug, Clone, PartialEq)]
pub struct DynamicSettings {
    /// Settings of the weights of each layer. Convolutions are never changed: finding their ranges
    /// costs more than integers save.
    pub layers: PerLayer<Int8Weights>,
}

impl Default for DynamicSettings {
    /// Selects all matrix products, with a scale for each output.
    fn default() -> Self {
        let fully_connected = Some(Int8Weights::default());
        Self { layers: PerLayer { fully_connected, ..PerLayer::none() } }
    }
}

/// Turns products with constant matrices into products of integers.
///
/// Each row becomes bytes by its own range, as [`row_codes`](super::row_codes) describes.
/// `MatMulInteger` follows, and multiplications by the scales. Weights are unsigned bytes, for
/// which every processor has exact sums.
///
/// The operators are ONNX's; [`fuse_int8`](crate::fuse_int8) joins them into one. Weights in half
/// precision are widened first. Only a `Cast`, a `Transpose` or a change of shape may lie between a
/// weight and its product.
///
/// # Errors
/// `NoSuchLayer`, `BadSetting` and `NotFinite`; `OldOperators` below version 11; `Graph` for a
/// broken model.
pub fn quantize_dynamic(
    model: &mut Model,
    settings: &DynamicSettings,
) -> Result<QuantizeReport, CompressError> {
    require_opset(model, OPSET)?;
    let opset = model.opset("").unwrap_or(OPSET);
    let layers = layers(model)?;
    let mut chosen = HashMap::new();
    for (layer, weights) in settings.layers.resolve(&layers)? {
        chosen.insert(layer.name.as_str(), weights.check()?);
    }
    let mut rewrite = Rewrite::of(model);
    let mut inputs: HashMap<&str, RowCodes> = HashMap::new();
    let mut shared = Shared::default();
    for weight in rewrite.graph.weights()? {
        let name = weight.tensor.name();
        let Some(int8) = chosen.get(name) else { continue };
        let product = match Product::of(&weight, &rewrite)? {
            Ok(product) => product,
            Err(reason) => {
                rewrite.keep(name, reason);
                continue;
            }
        };
        if let Some(reason) = unsupported_reason(&product, *int8) {
            rewrite.keep(name, &reason);
            continue;
        }
        let (source, form) = (product.source(), Form::Unsigned);
        let stored = rewrite.store_int8(&source, &product.matrix, 1, *int8, form, &[])?;
        let codes = match inputs.get(product.input) {
            Some(codes) => codes.clone(),
            None => RowCodes::of(product.input, opset, &mut shared, &mut rewrite)?,
        };
        multiply(&product, &codes, &stored, &mut shared, &mut rewrite)?;
        inputs.insert(product.input, codes);
    }
    let (edit, report) = rewrite.finish();
    model.apply(edit)?;
    model.drop_unused();
    Ok(report)
}

/// Returns the reason to keep a product in floats, if there is one.
fn unsupported_reason(product: &Product<'_, '_>, settings: Int8Weights) -> Option<String> {
    let axis = (settings.granularity == Granularity::Channel).then_some(1);
    if product.matrix.dims[0] > INPUTS_MAX {
        return Some(format!(
            "it has more than {INPUTS_MAX} inputs, too many for sums of integers"
        ));
    }
    too_small(&product.matrix, axis).map(|size| too_small_for("int8", size))
}

/// Replaces a product of floats by one of integers.
fn multiply(
    product: &Product<'_, '_>,
    input: &RowCodes,
    weight: &Stored,
    shared: &mut Shared,
    rewrite: &mut Rewrite<'_>,
) -> Result<(), CompressError> {
    let (output, zero) = (product.output, shared.zero(rewrite)?);
    let sums_of_weights = Tensor::new(&[weight.sums.len() as u64], &weight.sums)?;
    let weights = rewrite.constant(&format!("{output}_weights"), sums_of_weights);
    let mut fresh = |part| rewrite.edit.fresh(&format!("{output}_{part}"));
    let [sums, floats, stepped, scaled, shift] =
        ["sums", "floats", "stepped", "scaled", "shift"].map(&mut fresh);
    let shifted = product.bias.map(|_| fresh("shifted"));
    let shifted = shifted.as_deref().unwrap_or(output);
    let to = Attribute::Int(i64::from(ElementType::Float32.code()));
    let operands = [input.codes.as_str(), &weight.codes, &zero, &weight.zero];
    // The scales are separate factors. ONNX Runtime would fuse a product of both into an operator
    // that has but one scale for all rows.
    let mut nodes = vec![
        NewNode::new("MatMulInteger", &operands, &[&sums]),
        NewNode::new("Cast", &[&sums], &[&floats]).attribute("to", to),
        NewNode::new("Mul", &[&floats, &input.step], &[&stepped]),
        NewNode::new("Mul", &[&stepped, &weight.scale], &[&scaled]),
        NewNode::new("Mul", &[&input.center, &weights], &[&shift]),
        NewNode::new("Add", &[&scaled, &shift], &[shifted]).name(&format!("{output}_shifting")),
    ];
    if let Some(bias) = product.bias {
        let name = format!("{output}_bias");
        nodes.push(NewNode::new("Add", &[shifted, bias], &[output]).name(&name));
    }
    rewrite.edit.replace(product.node(), nodes);
    Ok(())
}

#[cfg(test)]
mod tests;
