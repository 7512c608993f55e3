//! Half precision for storage: matrices have half precision in the file, and a `Cast` widens them
//! when the model loads. Arithmetic stays in single precision.

use super::{
    KeptLayer, PER_CHANNEL_OPSET, QuantizeReport, QuantizedTensor, require_opset, too_small_for,
};
use crate::layers::{floats, to_bf16, to_f16};
use crate::{CompressError, PerLayer, layers};
use half::{bf16, f16};
use skysail_graph::{Attribute, Consumer, ElementType, Model, NewNode, Node, Tensor, TensorView};
use std::collections::HashMap;

/// Smallest tensor that is converted, in elements: smaller ones are not worth the node.
const ELEMENTS_MIN: u64 = 256;

/// Limit of the relative error of a row or a column: rounding to 8 bits costs 0.004.
const RELATIVE_ERROR_MAX: f64 = 0.01;

/// Format of half precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfFormat {
    /// IEEE half precision: 11 bits of precision, nothing above 65504.
    Float16,
    /// The upper half of a float32: 8 bits of precision, the same range.
    BFloat16,
}

/// Selection of matrices that get half precision.
#[derive(Debug, Clone, PartialEq)]
pub struct HalfSettings {
    /// Format of each layer.
    pub layers: PerLayer<HalfFormat>,
    /// Format of other matrices, such as embedding tables.
    pub others: Option<HalfFormat>,
}

impl HalfSettings {
    /// Selects all matrices, in one format.
    pub fn all(format: HalfFormat) -> Self {
        Self { layers: PerLayer::all(format), others: Some(format) }
    }
}

/// Stores float32 matrices and kernels in half precision.
///
/// The report lists tensors that are left unchanged. They have values outside the format's range,
/// or rows or columns that would lose more than rounding. Small tensors and vectors are never
/// changed.
///
/// # Errors
/// `NoSuchLayer`; `OldOperators` when the model's `Cast` has no bfloat16; `Graph` for a broken
/// model.
pub fn store_half(
    model: &mut Model,
    settings: &HalfSettings,
) -> Result<QuantizeReport, CompressError> {
    let layers = layers(model)?;
    let resolved = settings.layers.resolve(&layers)?;
    let chosen: HashMap<&str, HalfFormat> =
        resolved.into_iter().map(|(layer, format)| (layer.name.as_str(), *format)).collect();
    let links = model.graph().links();
    let mut edit = model.edit();
    let mut report = QuantizeReport::default();
    for tensor in model.graph().initializers() {
        let name = tensor.name();
        let is_layer = layers.iter().any(|layer| layer.name == name);
        let format = if is_layer { chosen.get(name).copied() } else { settings.others };
        let Some(format) = format.filter(|_| is_large_matrix(tensor)) else { continue };
        let consumers = links.consumers(name);
        // Outputs of the graph keep their type, and so do the scales of quantized tensors.
        let others = |consumer: &Consumer<'_>| !is_quantizer(consumer.node);
        if links.is_output(name) || consumers.is_empty() || !consumers.iter().all(others) {
            continue;
        }
        if format == HalfFormat::BFloat16 {
            require_opset(model, PER_CHANNEL_OPSET)?;
        }
        let (halves, stored) = match format.store(tensor)? {
            Ok(stored) => stored,
            Err(reason) => {
                report.kept.push(KeptLayer { name: name.to_owned(), reason });
                continue;
            }
        };
        let (from, to) = edit.cut(name);
        let wide = Attribute::Int(i64::from(ElementType::Float32.code()));
        edit.set_initializer(name, halves);
        edit.add(NewNode::new("Cast", &[&from], &[&to]).attribute("to", wide));
        report.tensors.push(stored);
    }
    model.apply(edit)?;
    Ok(report)
}

/// Returns true if the node has scales among its inputs, which must stay float32.
fn is_quantizer(node: Node<'_>) -> bool {
    !node.domain().is_empty() || matches!(node.op_type(), "QuantizeLinear" | "DequantizeLinear")
}

fn is_large_matrix(tensor: TensorView<'_>) -> bool {
    let large = tensor.count().is_ok_and(|count| count >= ELEMENTS_MIN);
    tensor.element() == ElementType::Float32 && tensor.rank() >= 2 && large
}

impl HalfFormat {
    fn element(self) -> ElementType {
        match self {
            Self::Float16 => ElementType::Float16,
            Self::BFloat16 => ElementType::BFloat16,
        }
    }

    /// Converts a tensor, and reports it; or returns the reason to keep it.
    fn store(
        self,
        tensor: TensorView<'_>,
    ) -> Result<Result<(Tensor, QuantizedTensor), String>, CompressError> {
        let (values, shape) = (floats(tensor)?, tensor.shape()?);
        let limit = match self {
            Self::Float16 => f16::MAX.to_f32(),
            Self::BFloat16 => bf16::MAX.to_f32(),
        };
        if values.iter().any(|value| value.abs() > limit) {
            let reason = format!("it holds numbers that {} does not have", self.element());
            return Ok(Err(reason));
        }
        let (halves, back): (Tensor, Vec<f32>) = match self {
            Self::Float16 => {
                let halves = to_f16(&values);
                let back = halves.iter().map(|half| half.to_f32()).collect();
                (Tensor::new(&shape, &halves)?, back)
            }
            Self::BFloat16 => {
                let halves = to_bf16(&values);
                let back = halves.iter().map(|half| half.to_f32()).collect();
                (Tensor::new(&shape, &halves)?, back)
            }
        };
        if let Some(size) = lossy_slice(&values, &back, &shape) {
            return Ok(Err(too_small_for(&self.element().to_string(), size)));
        }
        let squares = values.iter().zip(&back).map(|(a, b)| f64::from(a - b).powi(2));
        let stored = QuantizedTensor {
            name: tensor.name().to_owned(),
            stored: tensor.name().to_owned(),
            bits: 16,
            scales: 0,
            codes: "halves",
            mean_squared_error: squares.sum::<f64>() / values.len().max(1) as f64,
        };
        Ok(Ok((halves, stored)))
    }
}

/// Returns the largest magnitude in a row or column that loses too much, if there is one. Its
/// values are so small that half precision has few digits for them, or none.
fn lossy_slice(values: &[f32], back: &[f32], shape: &[u64]) -> Option<f32> {
    let rows = shape.first().map_or(1, |rows| (*rows as usize).max(1));
    let columns = shape.last().map_or(1, |columns| (*columns as usize).max(1));
    let row = (values.len() / rows).max(1);
    lossy_slice_of(values, back, rows, |position| position / row)
        .or_else(|| lossy_slice_of(values, back, columns, |position| position % columns))
}

fn lossy_slice_of(
    values: &[f32],
    back: &[f32],
    count: usize,
    slice: impl Fn(usize) -> usize,
) -> Option<f32> {
    /// Squared sums of a slice and of its errors, and its largest magnitude.
    #[derive(Clone, Copy, Default)]
    struct Sizes {
        all: f64,
        error: f64,
        largest: f32,
    }
    let mut sizes = vec![Sizes::default(); count];
    for (position, (value, back)) in values.iter().zip(back).enumerate() {
        let sizes = &mut sizes[slice(position)];
        sizes.all += f64::from(*value).powi(2);
        sizes.error += f64::from(value - back).powi(2);
        sizes.largest = sizes.largest.max(value.abs());
    }
    let worst = sizes
        .iter()
        .find(|sizes| sizes.error > RELATIVE_ERROR_MAX * RELATIVE_ERROR_MAX * sizes.all);
    worst.map(|sizes| sizes.largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_graph::mlp;

    #[test]
    fn matrices_become_halves_and_keep_their_names() {
        for format in [HalfFormat::Float16, HalfFormat::BFloat16] {
            let mut model = mlp(&[32, 16, 2], 3).unwrap();
            let before = model.graph().initializer("fc0.weight").unwrap().to_tensor().unwrap();
            let report = store_half(&mut model, &HalfSettings::all(format)).unwrap();
            // The second layer has fewer than 256 weights.
            let names: Vec<_> = report.tensors.iter().map(|tensor| &*tensor.name).collect();
            assert_eq!(names, ["fc0.weight"]);
            let stored = model.graph().initializer("fc0.weight").unwrap();
            assert_eq!(stored.element(), format.element());
            let found: Vec<&str> = model.graph().nodes().map(|node| node.op_type()).collect();
            assert_eq!(found, ["Cast", "Gemm", "Relu", "Gemm"]);
            let weights = model.graph().weights().unwrap();
            assert_eq!((weights[0].tensor.name(), weights[0].through.len()), ("fc0.weight", 1));
            let before: Vec<f32> = bytemuck::pod_collect_to_vec(before.bytes());
            let after = floats(stored).unwrap();
            let relative = before.iter().zip(after.iter()).map(|(a, b)| ((a - b) / a).abs());
            let limit = if format == HalfFormat::Float16 { 1.0 / 2048.0 } else { 1.0 / 256.0 };
            assert!(relative.fold(0.0, f32::max) <= limit);
        }
    }

    #[test]
    fn values_out_of_range_stay() {
        let mut model = mlp(&[32, 16], 3).unwrap();
        let mut values = vec![1.0_f32; 512];
        values[7] = 1e5;
        model.set_initializer("fc0.weight", Tensor::new(&[16, 32], &values).unwrap());
        let before = model.to_bytes().unwrap();
        let report = store_half(&mut model, &HalfSettings::all(HalfFormat::Float16)).unwrap();
        assert_eq!(report.kept[0].reason, "it holds numbers that float16 does not have");
        assert_eq!(model.to_bytes().unwrap(), before);
        let report = store_half(&mut model, &HalfSettings::all(HalfFormat::BFloat16)).unwrap();
        assert_eq!(report.tensors.len(), 1);
    }

    #[test]
    fn weights_that_would_become_zero_stay() {
        for (tiny, format, stays) in [
            (1e-37, HalfFormat::Float16, true),
            (1e-37, HalfFormat::BFloat16, false),
            (1e-7, HalfFormat::Float16, true),
            (1e-3, HalfFormat::Float16, false),
        ] {
            for column in [false, true] {
                let mut model = mlp(&[32, 16], 3).unwrap();
                let position = |position: usize| if column { position % 32 } else { position / 32 };
                let value = |at: usize| if position(at) == 5 { tiny } else { 0.5_f32 };
                let values: Vec<f32> = (0..512).map(value).collect();
                model.set_initializer("fc0.weight", Tensor::new(&[16, 32], &values).unwrap());
                let report = store_half(&mut model, &HalfSettings::all(format)).unwrap();
                assert_eq!(report.kept.len(), usize::from(stays), "{tiny} {format:?}");
                let message = report.kept.iter().all(|kept| kept.reason.contains("become zero"));
                assert!(message, "{:?}", report.kept);
            }
        }
    }

    #[test]
    fn only_chosen_layers_change() {
        let mut model = mlp(&[32, 16, 32], 3).unwrap();
        let layers = PerLayer::none().with("fc1.weight", Some(HalfFormat::Float16));
        store_half(&mut model, &HalfSettings { layers, others: None }).unwrap();
        let element = |name| model.graph().initializer(name).unwrap().element();
        assert_eq!(element("fc0.weight"), ElementType::Float32);
        assert_eq!(element("fc1.weight"), ElementType::Float16);
    }
}
