//! Values on the edges of the graph.

use super::floats::{self, Floats};
use burn_backend::TensorData;
use burn_flex::FlexTensor;

/// A tensor.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Differentiable numbers, whatever their precision in the file.
    Floats(Floats),
    /// Indices, dimensions and truth values (0 and 1), all as `i64`.
    Ints(FlexTensor),
}

impl Value {
    /// Floats without a gradient.
    pub(crate) fn floats(shape: &[usize], values: Vec<f32>) -> Self {
        Self::Floats(Floats::new(floats::tensor(shape, values)))
    }

    /// Integers, as many as the shape requires.
    pub(crate) fn ints(shape: &[usize], values: Vec<i64>) -> Self {
        Self::Ints(FlexTensor::from_data(TensorData::new(values, shape.to_vec())))
    }

    /// A vector of integers.
    pub(crate) fn list(values: Vec<i64>) -> Self {
        Self::ints(&[values.len()], values)
    }

    /// Dimensions.
    pub(crate) fn dims(&self) -> Vec<usize> {
        match self {
            Self::Floats(floats) => floats::dims(floats),
            Self::Ints(ints) => floats::dims(ints),
        }
    }
}

/// Values of a tensor of integers, in row-major order.
pub(crate) fn int_values(tensor: &FlexTensor) -> Vec<i64> {
    let dense = if tensor.is_contiguous() { tensor.clone() } else { tensor.to_contiguous() };
    let (start, count) = (dense.layout().start_offset(), dense.layout().num_elements());
    dense.storage::<i64>()[start..start + count].to_vec()
}

/// A tensor of booleans, true for non-zero integers.
pub(crate) fn truths(tensor: &FlexTensor) -> FlexTensor {
    let values: Vec<bool> = int_values(tensor).iter().map(|value| *value != 0).collect();
    FlexTensor::from_data(TensorData::new(values, floats::dims(tensor)))
}

/// The shape that two shapes broadcast to (ONNX, "Multidirectional Broadcasting").
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (dim(a, axis), dim(b, axis)) {
            (a, b) if a == b => Ok(a),
            (1, other) | (other, 1) => Ok(other),
            _ => Err(format!("cannot broadcast shapes {a:?} and {b:?}")),
        })
        .collect()
}

/// Resolves an axis that may be negative.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(from_start)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| format!("has axis {axis}, but its input has {rank} dimensions"))
}
