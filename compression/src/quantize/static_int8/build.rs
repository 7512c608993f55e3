//! Writes the nodes of a plan.

use super::plan::{Plan, Treatment, output_axis};
use crate::CompressError;
use crate::calibrate::Range;
use crate::layers::floats;
use crate::quantize::QuantizeReport;
use crate::quantize::affine::Affine;
use crate::quantize::int8::{Form, Granularity, Int8Weights};
use crate::quantize::operand::Operand;
use crate::quantize::rewrite::{Rewrite, Source};
use skysail_graph::{Attribute, Edit, Model, NewNode, Node, Tensor, Weight};
use std::collections::HashMap;

/// Returns the changes that realize `plan`.
pub(super) fn build(
    model: &Model,
    plan: &Plan,
    chosen: &HashMap<String, Int8Weights>,
    ranges: &HashMap<String, Range>,
) -> Result<(Edit, QuantizeReport), CompressError> {
    let rewrite = Rewrite::of(model);
    let weights = rewrite.graph.weights()?;
    let nodes: Vec<_> = rewrite.graph.nodes().collect();
    let mut builder = Builder { rewrite, ranges, bytes: HashMap::new() };
    for (layer, reason) in &plan.kept {
        builder.rewrite.keep(layer, reason);
    }
    for node in nodes {
        match plan.treatment(node) {
            None => {}
            Some(Treatment::Layer { output }) => {
                let weight = weights
                    .iter()
                    .find(|weight| weight.node.index() == node.index() && weight.input == 1);
                let settings = weight.and_then(|weight| chosen.get(weight.tensor.name()));
                if let (Some(weight), Some(settings)) = (weight, settings) {
                    builder.layer(weight, *settings)?;
                }
                if let Some(output) = output {
                    builder.requantize(output)?;
                }
            }
            Some(Treatment::Computes { output }) => builder.requantize(output)?,
            Some(Treatment::Moves) => builder.move_codes(node),
        }
    }
    Ok(builder.rewrite.finish())
}

/// A quantized value.
#[derive(Debug, Clone)]
struct Bytes {
    affine: Affine,
    /// Names of its codes, scale and zero.
    codes: String,
    scale: String,
    zero: String,
    /// Name of the widened codes.
    floats: String,
}

struct Builder<'m, 'r> {
    rewrite: Rewrite<'m>,
    ranges: &'r HashMap<String, Range>,
    bytes: HashMap<String, Bytes>,
}

impl<'m> Builder<'m, '_> {
    /// Adds the scale and the zero of a value.
    fn add_scale_and_zero(
        &mut self,
        value: &str,
    ) -> Result<(Affine, String, String), CompressError> {
        let range = self.ranges.get(value).copied();
        let range = range.ok_or_else(|| CompressError::NotObserved { value: value.to_owned() })?;
        let affine = Affine::spanning(range);
        let scale = Tensor::new(&[], &[affine.scale()])?;
        let zero = Tensor::new(&[], &[affine.zero()])?;
        let scale = self.rewrite.constant(&format!("{value}_scale"), scale);
        let zero = self.rewrite.constant(&format!("{value}_zero"), zero);
        Ok((affine, scale, zero))
    }

    /// Quantizes a value and widens it again, for all its consumers.
    fn requantize(&mut self, value: &str) -> Result<(), CompressError> {
        let (affine, scale, zero) = self.add_scale_and_zero(value)?;
        let (from, to) = self.rewrite.edit.cut(value);
        let codes = self.rewrite.edit.fresh(&format!("{value}_codes"));
        self.quantize(&from, &codes, &to, [&scale, &zero]);
        let floats = value.to_owned();
        self.bytes.insert(value.to_owned(), Bytes { affine, codes, scale, zero, floats });
        Ok(())
    }

    /// Returns the bytes of a value that others use as floats, quantized once.
    fn quantized(&mut self, value: &str) -> Result<Bytes, CompressError> {
        if let Some(bytes) = self.bytes.get(value) {
            return Ok(bytes.clone());
        }
        let (affine, scale, zero) = self.add_scale_and_zero(value)?;
        let codes = self.rewrite.edit.fresh(&format!("{value}_codes"));
        let floats = self.rewrite.edit.fresh(&format!("{value}_rounded"));
        self.quantize(value, &codes, &floats, [&scale, &zero]);
        let bytes = Bytes { affine, codes, scale, zero, floats };
        self.bytes.insert(value.to_owned(), bytes.clone());
        Ok(bytes)
    }

    fn quantize(&mut self, from: &str, codes: &str, to: &str, [scale, zero]: [&str; 2]) {
        self.rewrite
            .edit
            .add(NewNode::new("QuantizeLinear", &[from, scale, zero], &[codes]))
            .add(NewNode::new("DequantizeLinear", &[codes, scale, zero], &[to]));
    }

    /// Rewrites a layer to use bytes and a weight of bytes.
    fn layer(&mut self, weight: &Weight<'m>, settings: Int8Weights) -> Result<(), CompressError> {
        let node = weight.node;
        let Some(operand) = Operand::of(weight, &self.rewrite.shapes)? else { return Ok(()) };
        let axis = output_axis(node)?;
        let input = self.quantized(node.inputs().first().map_or("", String::as_str))?;
        let bias = self.bias(node)?;
        let floors = floors(&bias, input.affine);
        let (name, through) = (weight.tensor.name(), &weight.through);
        let source = Source { name, through, consumer: node };
        let stored =
            self.rewrite.store_int8(&source, &operand, axis, settings, Form::Paired, &floors)?;
        let wide = self.rewrite.edit.fresh(&format!("{name}_rounded"));
        let parts = [stored.codes.as_str(), &stored.scale, &stored.zero];
        let mut widen = NewNode::new("DequantizeLinear", &parts, &[&wide]);
        if settings.granularity == Granularity::Channel {
            widen = widen.attribute("axis", Attribute::Int(axis as i64));
        }
        self.rewrite.edit.add(widen);
        let mut layer = NewNode::copy_of(node).input(0, &input.floats).input(1, &wide);
        if let Some((name, values)) = bias {
            let bias = self.store_bias(&name, &values, input.affine, &stored.scales)?;
            layer = layer.input(2, &bias);
        }
        self.rewrite.edit.replace(node, [layer]);
        Ok(())
    }

    /// Returns the name and the values of a node's bias.
    fn bias(&self, node: Node<'_>) -> Result<Option<(String, Vec<f32>)>, CompressError> {
        let name = node.inputs().get(2).filter(|name| !name.is_empty());
        let Some(name) = name else { return Ok(None) };
        let tensor = self.rewrite.constant_of(name)?;
        tensor.map(|tensor| Ok((name.clone(), floats(tensor)?.into_owned()))).transpose()
    }

    /// Stores a bias in 32 bits, with the scales of the sums it is added to. Returns the name of
    /// its widened value.
    fn store_bias(
        &mut self,
        name: &str,
        values: &[f32],
        input: Affine,
        weights: &[f32],
    ) -> Result<String, CompressError> {
        let scales: Vec<f32> = weights.iter().map(|scale| scale * input.scale()).collect();
        let scale_of = |position: usize| scales[if scales.len() == 1 { 0 } else { position }];
        let code = |(position, value): (usize, &f32)| {
            (f64::from(*value) / f64::from(scale_of(position))).round_ties_even() as i32
        };
        let codes: Vec<i32> = values.iter().enumerate().map(code).collect();
        let zeros = vec![0_i32; scales.len()];
        let shape: &[u64] = if scales.len() == 1 { &[] } else { &[scales.len() as u64] };
        let (scale, zero) = (Tensor::new(shape, &scales)?, Tensor::new(shape, &zeros)?);
        let codes = Tensor::new(&[codes.len() as u64], &codes)?;
        let codes = self.rewrite.constant(&format!("{name}_int32"), codes);
        let scale = self.rewrite.constant(&format!("{name}_scale"), scale);
        let zero = self.rewrite.constant(&format!("{name}_zero"), zero);
        let wide = self.rewrite.edit.fresh(&format!("{name}_rounded"));
        let mut widen = NewNode::new("DequantizeLinear", &[&codes, &scale, &zero], &[&wide]);
        if scales.len() > 1 {
            widen = widen.attribute("axis", Attribute::Int(0));
        }
        self.rewrite.edit.add(widen);
        Ok(wide)
    }

    /// Rewrites a node to work on the codes of its input.
    fn move_codes(&mut self, node: Node<'m>) {
        let input = node.inputs().first().map_or("", String::as_str);
        let Some(taken) = self.bytes.get(input).cloned() else { return };
        let mut moved = NewNode::copy_of(node).input(0, &taken.codes);
        if node.op_type() == "Pad" {
            // The filling must be the code of zero.
            moved = moved.input(2, &taken.zero);
        }
        let outputs = node.outputs().iter().enumerate().filter(|(_, name)| !name.is_empty());
        let mut nodes = Vec::new();
        for (index, value) in outputs {
            let codes = self.rewrite.edit.fresh(&format!("{value}_codes"));
            moved = moved.output(index, &codes);
            let parts = [codes.as_str(), &taken.scale, &taken.zero];
            let widen = NewNode::new("DequantizeLinear", &parts, &[value]);
            nodes.push(widen.name(&format!("{value}_widening")));
            let floats = value.clone();
            self.bytes.insert(value.clone(), Bytes { codes, floats, ..taken.clone() });
        }
        nodes.push(moved);
        self.rewrite.edit.replace(node, nodes);
    }
}

/// Returns the least scales of weights with which each bias fits 32 bits, with one bit to spare for
/// sums.
fn floors(bias: &Option<(String, Vec<f32>)>, input: Affine) -> Vec<f32> {
    let values = bias.as_ref().map_or(&[][..], |(_, values)| values.as_slice());
    let codes_max = f64::from(1 << 30);
    let floor =
        |value: &f32| (f64::from(value.abs()) / (f64::from(input.scale()) * codes_max)) as f32;
    values.iter().map(floor).collect()
}
