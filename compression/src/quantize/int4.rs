//! int4 for weights alone: blocks of codes of 4 bits, each with a scale, for ONNX Runtime's
//! operator `MatMulNBits`.

use super::int8::too_small;
use super::operand::Operand;
use super::product::Product;
use super::rewrite::Rewrite;
use super::{QuantizeReport, QuantizedTensor, too_small_for};
use crate::{CompressError, PerLayer, layers};
use skysail_graph::{Attribute, Model, NewNode, Tensor};
use std::collections::HashMap;

/// The domain of ONNX Runtime's own operators.
const DOMAIN: &str = "com.microsoft";
/// Code of zero in symmetric blocks.
const MIDDLE: u8 = 8;

/// Selection of layers that become int4.
#[derive(Debug, Clone, PartialEq)]
pub struct Int4Settings {
    /// Settings of the weights of each layer. Only matrix products can be int4; convolutions stay.
    pub layers: PerLayer<Int4Weights>,
    /// Allows activations to become int8 while the model runs: faster, and a little less exact
    /// (`accuracy_level` 4 of the operator).
    pub int8_inputs: bool,
}

/// Settings of weights as codes of 4 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int4Weights {
    /// Weights of one output that share a scale: 16, 32, 64, 128 or 256.
    pub block: usize,
    /// True if the code of zero is the middle one. If false, each block has its own, and codes span
    /// its smallest to its largest weight.
    pub symmetric: bool,
}

impl Default for Int4Settings {
    /// Selects all matrix products, with symmetric blocks of 32.
    fn default() -> Self {
        let fully_connected = Some(Int4Weights { block: 32, symmetric: true });
        let layers = PerLayer { fully_connected, ..PerLayer::none() };
        Self { layers, int8_inputs: true }
    }
}

/// Turns products with constant matrices into `MatMulNBits`, an operator of ONNX Runtime: no other
/// runtime can then run the model.
///
/// # Errors
/// `NoSuchLayer`, `BadSetting` and `NotFinite`; `Graph` for a broken model.
pub fn quantize_int4(
    model: &mut Model,
    settings: &Int4Settings,
) -> Result<QuantizeReport, CompressError> {
    let layers = layers(model)?;
    let mut chosen = HashMap::new();
    for (layer, weights) in settings.layers.resolve(&layers)? {
        chosen.insert(layer.name.as_str(), weights.check()?);
    }
    let mut rewrite = Rewrite::of(model);
    rewrite.edit.import(DOMAIN, 1);
    let mut stored = HashMap::new();
    for weight in rewrite.graph.weights()? {
        let name = weight.tensor.name();
        let Some(int4) = chosen.get(name) else { continue };
        match Product::of(&weight, &rewrite)? {
            Ok(product) => {
                if let Some(size) = too_small(&product.matrix, Some(1)) {
                    rewrite.keep(name, &too_small_for("int4", size));
                    continue;
                }
                let key = (name.to_owned(), product.matrix.digest());
                if !stored.contains_key(&key) {
                    stored.insert(key.clone(), Stored::of(&product, *int4, &mut rewrite)?);
                }
                multiply(&product, &stored[&key], *int4, settings.int8_inputs, &mut rewrite);
            }
            Err(reason) => rewrite.keep(name, reason),
        }
    }
    let (edit, report) = rewrite.finish();
    if !report.tensors.is_empty() {
        model.apply(edit)?;
        model.drop_unused();
    }
    Ok(report)
}

impl Int4Weights {
    fn check(self) -> Result<Self, CompressError> {
        if [16, 32, 64, 128, 256].contains(&self.block) {
            return Ok(self);
        }
        let (setting, wanted) = ("the block of int4 weights", "16, 32, 64, 128 or 256");
        Err(CompressError::BadSetting { setting, value: self.block.to_string(), wanted })
    }
}

/// Names of the tensors that store a weight.
struct Stored {
    codes: String,
    scales: String,
    zeros: Option<String>,
}

impl Stored {
    fn of<'m>(
        product: &Product<'_, 'm>,
        settings: Int4Weights,
        rewrite: &mut Rewrite<'m>,
    ) -> Result<Self, CompressError> {
        let source = product.source();
        let blocks = Blocks::of(&product.matrix, settings);
        let codes = rewrite.stored_name(&source, "int4");
        rewrite.edit.set_initializer(&codes, blocks.codes()?);
        let scales = rewrite.constant(&format!("{}_scale", source.name), blocks.scales()?);
        let zeros = match settings.symmetric {
            true => None,
            false => Some(rewrite.constant(&format!("{}_zero", source.name), blocks.zeros()?)),
        };
        rewrite.report.tensors.push(QuantizedTensor {
            name: source.name.to_owned(),
            stored: codes.clone(),
            bits: 4,
            scales: blocks.blocks.len(),
            codes: "4 bits, in blocks",
            mean_squared_error: blocks.squares / product.matrix.values.len().max(1) as f64,
        });
        Ok(Self { codes, scales, zeros })
    }
}

/// Replaces a product by the operator.
fn multiply(
    product: &Product<'_, '_>,
    weight: &Stored,
    settings: Int4Weights,
    int8_inputs: bool,
    rewrite: &mut Rewrite<'_>,
) {
    let sums = product.bias.map(|_| rewrite.edit.fresh(&format!("{}_sums", product.output)));
    let output = sums.as_deref().unwrap_or(product.output);
    let inputs =
        [Some(product.input), Some(&weight.codes), Some(&weight.scales), weight.zeros.as_deref()];
    let inputs: Vec<&str> = inputs.into_iter().flatten().collect();
    let int = |value: usize| Attribute::Int(value as i64);
    let mut node = NewNode::new("MatMulNBits", &inputs, &[output])
        .name(product.node().name())
        .domain(DOMAIN)
        .attribute("K", int(product.matrix.dims[0]))
        .attribute("N", int(product.matrix.dims[1]))
        .attribute("bits", int(4))
        .attribute("block_size", int(settings.block));
    if int8_inputs {
        node = node.attribute("accuracy_level", int(4));
    }
    let bias = product.bias.map(|bias| {
        let name = format!("{}_bias", product.output);
        NewNode::new("Add", &[output, bias], &[product.output]).name(&name)
    });
    rewrite.edit.replace(product.node(), [node].into_iter().chain(bias));
}

/// A matrix in blocks along the inputs, output by output.
struct Blocks {
    outputs: usize,
    /// Weights in a block. The last block of an output is padded with zeros.
    size: usize,
    blocks: Vec<Block>,
    /// Sum of the squared differences from the weights.
    squares: f64,
}

/// Weights that share a scale: a weight is `scale * (code - zero)`.
struct Block {
    codes: Vec<u8>,
    scale: f32,
    zero: u8,
}

impl Blocks {
    /// Quantizes a matrix with a row for each input.
    fn of(matrix: &Operand, settings: Int4Weights) -> Self {
        let (inputs, outputs) = (matrix.dims[0], matrix.dims[1]);
        let mut all = Self { outputs, size: settings.block, blocks: Vec::new(), squares: 0.0 };
        for output in 0..outputs {
            for first in (0..inputs).step_by(settings.block) {
                let rows = first..inputs.min(first + settings.block);
                let values: Vec<f32> =
                    rows.map(|row| matrix.values[row * outputs + output]).collect();
                let block = Block::of(&values, settings.symmetric);
                let back = block.codes.iter().map(|code| block.value(*code));
                let squares = values.iter().zip(back).map(|(a, b)| f64::from(a - b).powi(2));
                all.squares += squares.sum::<f64>();
                all.blocks.push(block);
            }
        }
        all
    }

    /// Returns the number of blocks of an output.
    fn blocks_per_output(&self) -> usize {
        self.blocks.len().checked_div(self.outputs).unwrap_or(0)
    }

    /// Returns the codes as `[outputs, blocks, bytes of a block]`, two codes a byte, the first in
    /// the lower half.
    fn codes(&self) -> Result<Tensor, CompressError> {
        let mut bytes = Vec::with_capacity(self.blocks.len() * self.size / 2);
        for block in &self.blocks {
            let filler = std::iter::repeat_n(block.zero, self.size - block.codes.len());
            let codes: Vec<u8> = block.codes.iter().copied().chain(filler).collect();
            bytes.extend(packed(&codes));
        }
        let shape = [self.outputs, self.blocks_per_output(), self.size / 2].map(|dim| dim as u64);
        Ok(Tensor::new(&shape, &bytes)?)
    }

    /// Returns the scales as `[outputs, blocks]`.
    fn scales(&self) -> Result<Tensor, CompressError> {
        let scales: Vec<f32> = self.blocks.iter().map(|block| block.scale).collect();
        Ok(Tensor::new(&[self.outputs, self.blocks_per_output()].map(|dim| dim as u64), &scales)?)
    }

    /// Returns the codes of zero as `[outputs, bytes]`, packed like the codes. Each output begins
    /// with a new byte.
    fn zeros(&self) -> Result<Tensor, CompressError> {
        let mut bytes = Vec::new();
        for blocks in self.blocks.chunks(self.blocks_per_output().max(1)) {
            let zeros: Vec<u8> = blocks.iter().map(|block| block.zero).collect();
            bytes.extend(packed(&zeros));
        }
        let shape = [self.outputs, self.blocks_per_output().div_ceil(2)].map(|dim| dim as u64);
        Ok(Tensor::new(&shape, &bytes)?)
    }
}

impl Block {
    fn of(values: &[f32], symmetric: bool) -> Self {
        let (scale, zero) =
            if symmetric { Self::symmetric_scale(values) } else { Self::asymmetric_scale(values) };
        // The block is zero, or too small for a scale.
        let (scale, zero) = if scale.is_normal() { (scale, zero) } else { (1.0, MIDDLE) };
        let code = |value: &f32| (value / scale + f32::from(zero)).round().clamp(0.0, 15.0) as u8;
        Self { codes: values.iter().map(code).collect(), scale, zero }
    }

    /// Returns the scale for codes around the middle one.
    ///
    /// There is one more code below it than above. So the largest weight, whatever its sign, gets
    /// the lowest code, and the scale takes the opposite sign.
    fn symmetric_scale(values: &[f32]) -> (f32, u8) {
        let larger = |a: f32, b: &f32| if b.abs() > a.abs() { *b } else { a };
        (values.iter().fold(0.0, larger) / -f32::from(MIDDLE), MIDDLE)
    }

    /// Returns the scale for codes from the smallest weight to the largest, zero included.
    fn asymmetric_scale(values: &[f32]) -> (f32, u8) {
        let low = values.iter().copied().fold(0.0, f32::min);
        let high = values.iter().copied().fold(0.0, f32::max);
        let scale = (high - low) / 15.0;
        (scale, (-low / scale).round().clamp(0.0, 15.0) as u8)
    }

    fn value(&self, code: u8) -> f32 {
        self.scale * (f32::from(code) - f32::from(self.zero))
    }
}

/// Packs codes of 4 bits, two a byte, the first in the lower half.
fn packed(codes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    codes.chunks(2).map(|pair| pair[0] | pair.get(1).map_or(0, |code| code << 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use skysail_graph::mlp;

    #[test]
    fn the_operator_gets_codes_scales_and_zeros_in_its_layout() {
        let mut model = mlp(&[40, 3], 1).unwrap();
        let mut values = vec![0.0_f32; 120];
        // The first output reaches the lowest code at scale 1; the second has one weight, in its
        // last block.
        (values[0], values[1], values[79]) = (-8.0, 7.0, 1.0);
        model.set_initializer("fc0.weight", Tensor::new(&[3, 40], &values).unwrap());
        let weights = Int4Weights { block: 16, symmetric: false };
        let settings = Int4Settings { layers: PerLayer::all(weights), int8_inputs: true };
        quantize_int4(&mut model, &settings).unwrap();
        assert_eq!(model.opset("com.microsoft"), Some(1));
        let nodes: Vec<_> = model.graph().nodes().collect();
        let operators: Vec<_> = nodes.iter().map(|node| node.op_type()).collect();
        assert_eq!(operators, ["MatMulNBits", "Add"]);
        let attributes = ["K", "N", "bits", "block_size", "accuracy_level"];
        let attributes = attributes.map(|name| nodes[0].int(name).unwrap().unwrap());
        assert_eq!(attributes, [40, 3, 4, 16, 4]);
        let part = |input: usize| model.graph().initializer(&nodes[0].inputs()[input]).unwrap();
        let (codes, scales, zeros) = (part(1), part(2), part(3));
        assert_eq!(codes.shape().unwrap(), [3, 3, 8]);
        assert_eq!(codes.bytes().unwrap()[..2], [0xF0, 0x88]);
        assert_eq!((scales.shape().unwrap(), scales.as_f32().unwrap()[0]), (vec![3, 3], 1.0));
        assert_eq!((zeros.shape().unwrap(), zeros.bytes().unwrap()[0] & 15), (vec![3, 2], 8));
    }

    #[test]
    fn blocks_are_checked() {
        let layers = PerLayer::all(Int4Weights { block: 48, symmetric: true });
        let mut model = mlp(&[4, 3], 1).unwrap();
        let settings = Int4Settings { layers, int8_inputs: false };
        let message = quantize_int4(&mut model, &settings).unwrap_err().to_string();
        assert!(message.contains("is 48: it must be 16, 32"), "{message}");
    }

    proptest! {
        #[test]
        fn weights_are_rounded_by_half_a_step(
            values in prop::collection::vec(-5.0_f32..5.0, 1..40), symmetric: bool,
        ) {
            let block = Block::of(&values, symmetric);
            for (value, code) in values.iter().zip(&block.codes) {
                let steps = (block.value(*code) - value).abs() / block.scale.abs();
                // The missing highest code, and the rounding of the zero, may cost more than half a
                // step.
                prop_assert!(steps <= 1.001, "{value} is off by {steps} steps");
            }
            prop_assert_eq!(block.value(block.zero), 0.0);
        }
    }
}
