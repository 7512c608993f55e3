//! Embedding tables as int8: `Gather` picks rows of bytes, which are widened after that.

use super::int8::{Form, Granularity, Int8Weights};
use super::operand::Operand;
use super::rewrite::{Rewrite, Source};
use super::{PER_CHANNEL_OPSET, QuantizeReport, require_opset};
use crate::CompressError;
use crate::layers::is_float;
use skysail_graph::{Attribute, ElementType, Layout, Model, NewNode, Node, Role, Weight};
use std::collections::HashSet;

/// Smallest table that is converted, in elements: smaller ones are not worth the node.
const ELEMENTS_MIN: usize = 1 << 14;

/// Stores the tables of `Gather` nodes as int8, with a scale for each column or one for all.
/// `DequantizeLinear` follows the `Gather`.
///
/// Picked rows are the same but for rounding; only the size changes, not the arithmetic.
///
/// # Errors
/// `BadSetting` and `NotFinite`; `OldOperators` below version 13; `Graph` for a broken model.
pub fn quantize_tables(
    model: &mut Model,
    settings: Int8Weights,
) -> Result<QuantizeReport, CompressError> {
    require_opset(model, PER_CHANNEL_OPSET)?;
    let settings = settings.check()?;
    let mut rewrite = Rewrite::of(model);
    for gather in rewrite.graph.nodes().filter(|node| node.domain().is_empty()) {
        if let Some((weight, table)) = table(gather, &rewrite)? {
            let (name, through) = (weight.tensor.name(), &weight.through);
            let source = Source { name, through, consumer: gather };
            let stored = rewrite.store_int8(&source, &table, 1, settings, Form::Widened, &[])?;
            let output = gather.outputs().first().map_or("", String::as_str);
            let picked = rewrite.edit.fresh(&format!("{output}_codes"));
            let pick = NewNode::copy_of(gather).input(0, &stored.codes).output(0, &picked);
            let parts = [picked.as_str(), &stored.scale, &stored.zero];
            let mut widen = NewNode::new("DequantizeLinear", &parts, &[output])
                .name(&format!("{output}_widening"));
            if settings.granularity == Granularity::Channel {
                widen = widen.attribute("axis", Attribute::Int(-1));
            }
            rewrite.edit.replace(gather, [pick, widen]);
        }
    }
    let (edit, report) = rewrite.finish();
    model.apply(edit)?;
    model.drop_unused();
    Ok(report)
}

/// Returns the table that `node` picks rows from, if it is a `Gather`.
fn table<'m>(
    node: Node<'m>,
    rewrite: &Rewrite<'m>,
) -> Result<Option<(Weight<'m>, Operand)>, CompressError> {
    if node.op_type() != "Gather" || node.int("axis")?.unwrap_or(0) != 0 {
        return Ok(None);
    }
    let (mut value, mut through) = (node.inputs().first(), Vec::new());
    let mut seen = HashSet::new();
    while let Some(producer) = value.and_then(|value| rewrite.links.producer(value)) {
        let passes = matches!(producer.op_type(), "Cast" | "Identity");
        if !passes || !producer.domain().is_empty() || !seen.insert(producer.index()) {
            return Ok(None);
        }
        through.insert(0, producer);
        value = producer.inputs().first();
    }
    let tensor = value.and_then(|value| rewrite.graph.initializer(value));
    let Some(tensor) = tensor.filter(|tensor| is_float(tensor.element())) else { return Ok(None) };
    // The output must be float32, as that of `DequantizeLinear` is.
    let made = node.outputs().first().and_then(|made| rewrite.shapes.element(made));
    if tensor.rank() != 2 || made != Some(ElementType::Float32) {
        return Ok(None);
    }
    let role = Role::Weight(Layout::InputsByOutputs);
    let weight = Weight { tensor, node, input: 0, through, role, output_axis: Some(1) };
    let operand = Operand::of(&weight, &rewrite.shapes)?;
    let large = operand.filter(|operand| operand.values.len() >= ELEMENTS_MIN);
    Ok(large.map(|operand| (weight, operand)))
}

#[cfg(test)]
mod tests;
