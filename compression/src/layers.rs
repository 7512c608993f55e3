//! The layers of a model: the weights of its convolutions and matrix products, by name.

use crate::CompressError;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use skysail_graph::{ElementType, Layout, Model, Role, Tensor, TensorView, Weight};
use std::borrow::Cow;

/// A weight that can be compressed: the float weight of a `Conv`, `ConvTranspose`, `Gemm` or
/// `MatMul`. Biases are not layers.
///
/// It is stored as float32, or in half precision behind a `Cast`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Name of the initializer, or of the value of the `Constant` that holds it.
    pub name: String,
    /// Names of the nodes that it feeds, as far as they have names.
    pub nodes: Vec<String>,
    /// Kind of those nodes.
    pub kind: LayerKind,
    /// Order of the dimensions: inputs first or outputs first.
    pub layout: Layout,
    /// Type of the stored elements: `Float32`, `Float16` or `BFloat16`.
    pub element: ElementType,
    /// Dimensions of the weight.
    pub shape: Vec<u64>,
}

/// The two kinds of layers that Deep Compression treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// `Conv` and `ConvTranspose`.
    Convolution,
    /// `Gemm` and `MatMul`.
    FullyConnected,
}

/// Returns the layers of the model, in the order of its nodes. A weight that several nodes share is
/// one layer.
///
/// # Errors
/// `Graph` when the model contradicts itself.
pub fn layers(model: &Model) -> Result<Vec<Layer>, CompressError> {
    let mut layers: Vec<Layer> = Vec::new();
    for weight in model.graph().weights()? {
        let Some(layer) = layer(&weight)? else { continue };
        match layers.iter_mut().find(|known| known.name == layer.name) {
            Some(known) => known.nodes.extend(layer.nodes),
            None => layers.push(layer),
        }
    }
    Ok(layers)
}

fn layer(weight: &Weight<'_>) -> Result<Option<Layer>, CompressError> {
    let Role::Weight(layout) = weight.role else { return Ok(None) };
    // Integers behind a `DequantizeLinear` are compressed already.
    let quantized = weight.through.iter().any(|node| node.op_type() == "DequantizeLinear");
    let (tensor, node) = (weight.tensor, weight.node);
    if quantized || !is_float(tensor.element()) {
        return Ok(None);
    }
    let kind = match node.op_type() {
        "Conv" | "ConvTranspose" => LayerKind::Convolution,
        _ => LayerKind::FullyConnected,
    };
    let named = !node.name().is_empty();
    Ok(Some(Layer {
        name: tensor.name().to_owned(),
        nodes: named.then(|| node.name().to_owned()).into_iter().collect(),
        kind,
        layout,
        element: tensor.element(),
        shape: tensor.shape()?,
    }))
}

/// Returns true if weights can be of this type.
pub(crate) fn is_float(element: ElementType) -> bool {
    matches!(element, ElementType::Float32 | ElementType::Float16 | ElementType::BFloat16)
}

impl Layer {
    /// Returns the weights in row-major order, all finite.
    ///
    /// # Errors
    /// `NotFinite` when one is not; `Graph` when they cannot be read.
    pub fn values<'a>(&self, model: &'a Model) -> Result<Cow<'a, [f32]>, CompressError> {
        // Not `initializer`: a weight may also lie in a `Constant`.
        let weights = model.graph().weights()?;
        let weight = weights.iter().find(|weight| weight.tensor.name() == self.name);
        let weight = weight.ok_or_else(|| no_tensor(&self.name))?;
        let values = floats(weight.tensor)?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => {
                let (layer, value) = (self.name.clone(), values[index]);
                Err(CompressError::NotFinite { layer, index, value })
            }
        }
    }

    /// Returns a tensor of these weights, rounded to the element type of the layer.
    ///
    /// # Errors
    /// `Graph` when they are not as many as its shape says.
    pub fn tensor(&self, values: &[f32]) -> Result<Tensor, CompressError> {
        Ok(match self.element {
            ElementType::Float16 => Tensor::new(&self.shape, &to_f16(values)),
            ElementType::BFloat16 => Tensor::new(&self.shape, &to_bf16(values)),
            _ => Tensor::new(&self.shape, values),
        }?)
    }

    /// Rounds a value to the element type of the layer.
    pub(crate) fn round(&self, value: f32) -> f32 {
        match self.element {
            ElementType::Float16 => f16::from_f32(value).to_f32(),
            ElementType::BFloat16 => bf16::from_f32(value).to_f32(),
            _ => value,
        }
    }
}

fn no_tensor(name: &str) -> CompressError {
    CompressError::NoSuchLayer { name: name.to_owned(), suggestions: Vec::new() }
}

/// Returns the values of a tensor of floats, widened to single precision.
pub(crate) fn floats(tensor: TensorView<'_>) -> Result<Cow<'_, [f32]>, CompressError> {
    Ok(match tensor.element() {
        ElementType::Float16 => Cow::Owned(tensor.values::<f16>()?.to_f32_vec()),
        ElementType::BFloat16 => Cow::Owned(tensor.values::<bf16>()?.to_f32_vec()),
        _ => tensor.as_f32()?,
    })
}

/// Rounds values to half precision, and clamps them to its largest.
pub(crate) fn to_f16(values: &[f32]) -> Vec<f16> {
    let max = f16::MAX.to_f32();
    values.iter().map(|value| f16::from_f32(value.clamp(-max, max))).collect()
}

/// Rounds values to bfloat16.
pub(crate) fn to_bf16(values: &[f32]) -> Vec<bf16> {
    values.iter().map(|value| bf16::from_f32(*value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_graph::{Attribute, Dim, GraphBuilder, mlp};

    #[test]
    fn layers_are_weights_not_biases() {
        let model = mlp(&[4, 3, 2], 1).unwrap();
        let layers = layers(&model).unwrap();
        let names: Vec<_> = layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["fc0.weight", "fc1.weight"]);
        assert_eq!(layers[0].kind, LayerKind::FullyConnected);
        assert_eq!((layers[0].nodes.len(), layers[0].shape.as_slice()), (1, &[3, 4][..]));
    }

    #[test]
    fn half_precision_weights_behind_a_cast_are_layers() {
        let halves = to_f16(&[1.0, -0.5, 0.0, 65_504.0]);
        let mut builder = GraphBuilder::new("halves");
        builder
            .input("x", ElementType::Float32, &[Dim::from("batch"), Dim::Fixed(2)])
            .initializer("w", Tensor::new(&[2, 2], &halves).unwrap())
            .node("Cast", &["w"], &["wide"], &[("to", Attribute::Int(1))])
            .node("MatMul", &["x", "wide"], &["a"], &[])
            .node("MatMul", &["a", "wide"], &["y"], &[])
            .output("y", ElementType::Float32, &[Dim::from("batch"), Dim::Fixed(2)]);
        let model = builder.finish().unwrap();
        let layers = layers(&model).unwrap();
        assert_eq!((layers.len(), layers[0].nodes.len()), (1, 2));
        let values = layers[0].values(&model).unwrap();
        assert_eq!(*values, [1.0, -0.5, 0.0, 65_504.0]);
        assert_eq!(layers[0].tensor(&values).unwrap(), Tensor::new(&[2, 2], &halves).unwrap());
        assert_eq!(layers[0].round(1.0 + 1e-6), 1.0);
    }

    #[test]
    fn an_error_names_a_weight_that_is_not_finite() {
        let mut model = mlp(&[2, 2], 1).unwrap();
        let broken = Tensor::new(&[2, 2], &[0.0, 1.0, f32::NAN, 0.0]).unwrap();
        model.set_initializer("fc0.weight", broken);
        let layer = &layers(&model).unwrap()[0];
        let message = layer.values(&model).unwrap_err().to_string();
        assert!(message.contains("'fc0.weight' holds NaN at element 2"), "{message}");
    }
}
