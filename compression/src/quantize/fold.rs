//! Folds operators that follow a convolution into its weights: normalization by constants, and the
//! addition of a constant for each channel.

use super::rewrite::{Rewrite, Source};
use crate::layers::{floats, is_float};
use crate::{CompressError, Layer, layers};
use skysail_graph::{Edit, Model, NewNode, Node, Tensor, Weight};

/// Default `epsilon` of `BatchNormalization`.
const EPSILON: f32 = 1e-5;

/// Folds each `BatchNormalization`, and each `Add` of a constant for each channel, into the weights
/// and bias of the `Conv` before it. Returns the number of removed nodes.
///
/// The node must be the only consumer of the `Conv`. ONNX Runtime does the same for floats when it
/// loads a model. Integers and sparse weights must be made from the folded weights.
///
/// # Errors
/// `NotFinite` for weights that are NaN or infinite, `Graph` for a broken model.
pub fn fold_batch_norms(model: &mut Model) -> Result<usize, CompressError> {
    let mut folded = 0;
    loop {
        let layers = layers(model)?;
        let rewrite = Rewrite::of(model);
        let mut edit = model.edit();
        let mut count = 0;
        for weight in rewrite.graph.weights()? {
            let name = weight.tensor.name();
            let layer = layers.iter().find(|layer| layer.name == name);
            let Some(layer) = layer.filter(|_| weight.node.op_type() == "Conv") else { continue };
            if let Some(fold) = Fold::of(layer, &weight, &rewrite)? {
                fold.write(layer, &mut edit)?;
                count += 1;
            }
        }
        if count == 0 {
            return Ok(folded);
        }
        model.apply(edit)?;
        model.drop_unused();
        folded += count;
    }
}

/// A convolution merged with the node after it.
struct Fold<'m> {
    conv: Node<'m>,
    next: Node<'m>,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl<'m> Fold<'m> {
    /// Merges the convolution that `weight` feeds with the node after it, if possible.
    fn of(
        layer: &Layer,
        weight: &Weight<'m>,
        rewrite: &Rewrite<'m>,
    ) -> Result<Option<Self>, CompressError> {
        let conv = weight.node;
        let plain = |node: &Node<'_>| matches!(node.op_type(), "Cast" | "Identity");
        let source = Source { name: &layer.name, through: &weight.through, consumer: conv };
        if weight.input != 1
            || !weight.through.iter().all(plain)
            || !source.is_sole_use(&rewrite.links)
        {
            return Ok(None);
        }
        let made = conv.outputs().first();
        let next = made.and_then(|made| rewrite.links.single_consumer(made));
        let Some(next) = next.filter(|next| next.domain().is_empty()) else { return Ok(None) };
        let rank = layer.shape.len();
        let change = match next.op_type() {
            "BatchNormalization" => normalization(next, rewrite)?,
            "Add" => addition(next, conv, rank, rewrite)?,
            _ => None,
        };
        let channels = layer.shape.first().map_or(0, |channels| *channels as usize);
        let (Some(change), Some(bias)) = (change, bias(conv, channels, rewrite)?) else {
            return Ok(None);
        };
        let mut fold = Self { conv, next, weights: floats(weight.tensor)?.into_owned(), bias };
        Ok(fold.apply(&change, channels).then_some(fold))
    }

    /// Applies the change of each channel. Returns true if the number of channels is right and the
    /// results are finite.
    fn apply(&mut self, change: &Change, channels: usize) -> bool {
        if [change.factors.len(), change.offsets.len()] != [channels; 2] || channels == 0 {
            return false;
        }
        let kernel = (self.weights.len() / channels).max(1);
        for (kernel, factor) in self.weights.chunks_mut(kernel).zip(&change.factors) {
            kernel.iter_mut().for_each(|value| *value *= factor);
        }
        let changes = change.factors.iter().zip(&change.offsets);
        for (value, (factor, offset)) in self.bias.iter_mut().zip(changes) {
            *value = *value * factor + offset;
        }
        self.weights.iter().chain(&self.bias).all(|value| value.is_finite())
    }

    fn write(&self, layer: &Layer, edit: &mut Edit) -> Result<(), CompressError> {
        edit.set_initializer(&layer.name, layer.tensor(&self.weights)?);
        let name = edit.fresh(&format!("{}_bias", layer.name));
        edit.set_initializer(&name, Tensor::new(&[self.bias.len() as u64], &self.bias)?);
        let output = self.next.outputs().first().map_or("", String::as_str);
        let folded = NewNode::copy_of(self.conv).input(2, &name).output(0, output);
        edit.replace(self.conv, [folded]).remove(self.next);
        Ok(())
    }
}

/// Returns the bias of a convolution, zeros where it has none; `None` where it is not constant.
fn bias(
    conv: Node<'_>,
    channels: usize,
    rewrite: &Rewrite<'_>,
) -> Result<Option<Vec<f32>>, CompressError> {
    let Some(name) = conv.inputs().get(2).filter(|name| !name.is_empty()) else {
        return Ok(Some(vec![0.0; channels]));
    };
    let Some(tensor) = rewrite.constant_of(name)? else { return Ok(None) };
    let values = floats(tensor)?.into_owned();
    Ok((values.len() == channels).then_some(values))
}

/// A change of each channel: `y = factor * x + offset`.
struct Change {
    factors: Vec<f32>,
    offsets: Vec<f32>,
}

/// Returns the change of each channel by a normalization with constants.
fn normalization(node: Node<'_>, rewrite: &Rewrite<'_>) -> Result<Option<Change>, CompressError> {
    let trains = node.int("training_mode")?.unwrap_or(0) != 0;
    if trains || node.outputs().iter().skip(1).any(|name| !name.is_empty()) {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for name in node.inputs().iter().skip(1) {
        match rewrite.constant_of(name)? {
            Some(tensor) => parts.push(floats(tensor)?),
            None => return Ok(None),
        }
    }
    let [scale, bias, mean, variance] = parts.as_slice() else { return Ok(None) };
    let epsilon = node.float("epsilon")?.unwrap_or(EPSILON);
    let factors = scale.iter().zip(variance.iter());
    let factors: Vec<f32> = factors
        .map(|(scale, variance)| {
            (f64::from(*scale) / (f64::from(*variance) + f64::from(epsilon)).sqrt()) as f32
        })
        .collect();
    let offsets = bias.iter().zip(mean.iter()).zip(&factors);
    let offsets = offsets.map(|((bias, mean), factor)| bias - mean * factor).collect();
    Ok(Some(Change { factors, offsets }))
}

/// Returns the change of each channel by an added constant. `rank` is that of the convolution's
/// output.
fn addition(
    node: Node<'_>,
    conv: Node<'_>,
    rank: usize,
    rewrite: &Rewrite<'_>,
) -> Result<Option<Change>, CompressError> {
    let other = node.inputs().iter().find(|name| !conv.outputs().contains(name));
    let tensor = other.map(|name| rewrite.constant_of(name)).transpose()?.flatten();
    let Some(tensor) = tensor.filter(|tensor| is_float(tensor.element())) else { return Ok(None) };
    let shape = tensor.shape()?;
    // Shapes align at the last dimension; the second dimension of the output counts channels.
    let Some(position) = (shape.len() + 1).checked_sub(rank) else { return Ok(None) };
    let mut others = shape.iter().enumerate().filter(|(index, _)| *index != position);
    if position > 1 || position >= shape.len() || others.any(|(_, dim)| *dim != 1) {
        return Ok(None);
    }
    let offsets = floats(tensor)?.into_owned();
    Ok(Some(Change { factors: vec![1.0; offsets.len()], offsets }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder};

    /// Builds a 1x1 convolution of two channels, then a normalization and an addition.
    fn model(bias: bool, addend: &[u64]) -> Model {
        let dims = [Dim::from("batch"), Dim::from(1), Dim::from(4), Dim::from(4)];
        let out = [Dim::from("batch"), Dim::from(2), Dim::from(4), Dim::from(4)];
        let pair = |values: &[f32; 2]| Tensor::new(&[2], values).unwrap();
        let mut builder = GraphBuilder::new("conv");
        let inputs = if bias { &["x", "w", "b"][..] } else { &["x", "w"] };
        builder
            .input("x", ElementType::Float32, &dims)
            .initializer("w", Tensor::new(&[2, 1, 1, 1], &[2.0_f32, 3.0]).unwrap())
            .initializer("b", pair(&[1.0, 1.0]))
            .initializer("scale", pair(&[1.0, 4.0]))
            .initializer("shift", pair(&[0.5, 0.0]))
            .initializer("mean", pair(&[1.0, 2.0]))
            .initializer("variance", pair(&[0.25, 4.0]))
            .initializer(
                "more",
                Tensor::new(addend, &vec![10.0_f32; addend.iter().product::<u64>() as usize])
                    .unwrap(),
            )
            .node("Conv", inputs, &["c"], &[])
            .node(
                "BatchNormalization",
                &["c", "scale", "shift", "mean", "variance"],
                &["n"],
                &[("epsilon", Attribute::Float(0.0))],
            )
            .node("Add", &["more", "n"], &["y"], &[])
            .output("y", ElementType::Float32, &out);
        builder.finish().unwrap()
    }

    fn initializer(model: &Model, name: &str) -> Vec<f32> {
        model.graph().initializer(name).unwrap().as_f32().unwrap().into_owned()
    }

    #[test]
    fn following_nodes_are_folded_into_weights_and_bias() {
        for (bias, expected) in [(true, [10.5, 8.0]), (false, [8.5, 6.0])] {
            let mut model = model(bias, &[2, 1, 1]);
            assert_eq!(fold_batch_norms(&mut model).unwrap(), 2);
            let nodes: Vec<_> = model.graph().nodes().collect();
            assert_eq!((nodes.len(), nodes[0].op_type()), (1, "Conv"));
            assert_eq!(nodes[0].outputs(), ["y"]);
            assert_eq!(initializer(&model, "w"), [4.0, 6.0]);
            assert_eq!(initializer(&model, &nodes[0].inputs()[2]), expected);
            assert_eq!(model.graph().initializers().len(), 2);
        }
    }

    #[test]
    fn other_additions_stay() {
        for addend in [&[4][..], &[2, 1, 4], &[2, 1, 1, 1], &[1, 1, 2, 1, 1], &[]] {
            let mut model = model(true, addend);
            assert_eq!(fold_batch_norms(&mut model).unwrap(), 1, "{addend:?}");
        }
        let mut batch_of_one = model(true, &[1, 2, 1, 1]);
        assert_eq!(fold_batch_norms(&mut batch_of_one).unwrap(), 2);
    }
}
