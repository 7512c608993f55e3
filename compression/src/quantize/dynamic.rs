//! Dynamic int8: weights are stored as bytes, and what they are multiplied with becomes bytes
//! while the model runs, by the range that it has then. No calibration is needed.

use std::collections::HashMap;

use skysail_graph::{Attribute, ElementType, Model, NewNode};

use super::draft::{Draft, Stored};
use super::int8::Int8Weights;
use super::product::Product;
use super::{QuantizeReport, require_opset};
use crate::{CompressError, PerLayer, layers};

/// The version of ONNX's operators that has `DynamicQuantizeLinear`.
const OPSET: i64 = 11;

/// Which layers become int8.
#[derive(Debug, Clone, PartialEq)]
pub struct DynamicSettings {
    /// For each layer, if it is to be, how. Convolutions stay as they are in any case: finding
    /// their ranges costs more than the integers save.
    pub layers: PerLayer<Int8Weights>,
}

impl Default for DynamicSettings {
    /// All products of matrices, with a scale for each output.
    fn default() -> Self {
        let fully_connected = Some(Int8Weights::default());
        Self { layers: PerLayer { fully_connected, ..PerLayer::none() } }
    }
}

/// Turns products with constant matrices into products of integers: `DynamicQuantizeLinear`,
/// `MatMulInteger`, and a multiplication by both scales, which ONNX Runtime joins into one
/// operator. Weights stored as halves are widened first, so they must not lie behind anything
/// but a `Cast`, a `Transpose` or a change of shape.
///
/// # Errors
/// `NoSuchLayer`, `BadSetting` and `NotFinite`; `OldOperators` below version 11; `Graph` for a
/// broken model.
pub fn quantize_dynamic(
    model: &mut Model,
    settings: &DynamicSettings,
) -> Result<QuantizeReport, CompressError> {
    require_opset(model, OPSET)?;
    let layers = layers(model)?;
    let mut chosen = HashMap::new();
    for (layer, weights) in settings.layers.resolve(&layers)? {
        chosen.insert(layer.name.as_str(), weights.check()?);
    }
    let mut draft = Draft::of(model);
    let mut inputs = HashMap::new();
    for weight in draft.graph.weights()? {
        let name = weight.tensor.name();
        let Some(int8) = chosen.get(name) else { continue };
        match Product::of(&weight, &draft)? {
            Ok(product) => {
                let stored = draft.store_int8(&product.source(), &product.matrix, 1, *int8, &[])?;
                let codes = inputs
                    .entry(product.input.to_owned())
                    .or_insert_with(|| Codes::of(product.input, &mut draft));
                multiply(&product, codes, &stored, &mut draft);
            }
            Err(reason) => draft.keep(name, reason),
        }
    }
    let (edit, report) = draft.finish();
    model.apply(edit)?;
    model.drop_unused();
    Ok(report)
}

/// A value as bytes: the names of its parts.
struct Codes {
    codes: String,
    scale: String,
    zero: String,
}

impl Codes {
    /// Those of `value`, made while the model runs.
    fn of(value: &str, draft: &mut Draft<'_>) -> Self {
        let mut fresh = |part| draft.edit.fresh(&format!("{value}_{part}"));
        let made = Self { codes: fresh("codes"), scale: fresh("scale"), zero: fresh("zero") };
        let outputs = [made.codes.as_str(), &made.scale, &made.zero];
        draft.edit.add(NewNode::new("DynamicQuantizeLinear", &[value], &outputs));
        made
    }
}

/// Puts the product of the integers in the place of that of the floats.
fn multiply(product: &Product<'_, '_>, input: &Codes, weight: &Stored, draft: &mut Draft<'_>) {
    let output = product.output;
    let mut fresh = |part| draft.edit.fresh(&format!("{output}_{part}"));
    let (sums, floats, scale) = (fresh("sums"), fresh("floats"), fresh("scale"));
    let scaled = product.bias.map(|_| fresh("scaled"));
    let scaled = scaled.as_deref().unwrap_or(output);
    let to = Attribute::Int(i64::from(ElementType::Float32.code()));
    let operands = [input.codes.as_str(), &weight.codes, &input.zero, &weight.zero];
    let mut nodes = vec![
        NewNode::new("MatMulInteger", &operands, &[&sums]),
        NewNode::new("Cast", &[&sums], &[&floats]).attribute("to", to),
        NewNode::new("Mul", &[&input.scale, &weight.scale], &[&scale]),
        NewNode::new("Mul", &[&floats, &scale], &[scaled]).name(&format!("{output}_scaling")),
    ];
    if let Some(bias) = product.bias {
        let name = format!("{output}_bias");
        nodes.push(NewNode::new("Add", &[scaled, bias], &[output]).name(&name));
    }
    draft.edit.replace(product.node(), nodes);
}

#[cfg(test)]
mod tests;
