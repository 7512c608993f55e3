//! Conversion between tensors of the file and values.

use super::value::Value;
use half::{bf16, f16};
use skysail_graph::{ElementType, GraphError, Tensor, TensorView};

/// Converts a tensor: floats of any precision to `f32`, integers to `i64`. Returns `None` for other
/// types.
pub(crate) fn value(tensor: &TensorView<'_>) -> Result<Option<Value>, GraphError> {
    let shape = shape(tensor)?;
    if let Some(values) = floats(tensor)? {
        return Ok(Some(Value::floats(&shape, values)));
    }
    Ok(ints(tensor)?.map(|values| Value::ints(&shape, values)))
}

/// Dimensions of a tensor.
pub(crate) fn shape(tensor: &TensorView<'_>) -> Result<Vec<usize>, GraphError> {
    Ok(tensor.shape()?.into_iter().map(|dim| usize::try_from(dim).unwrap_or(usize::MAX)).collect())
}

/// Values of a floating-point tensor as `f32`.
pub(crate) fn floats(tensor: &TensorView<'_>) -> Result<Option<Vec<f32>>, GraphError> {
    use ElementType as E;
    Ok(Some(match tensor.element() {
        E::Float32 => tensor.as_f32()?.into_owned(),
        E::Float16 => tensor.values::<f16>()?.iter().map(|value| value.to_f32()).collect(),
        E::BFloat16 => tensor.values::<bf16>()?.iter().map(|value| value.to_f32()).collect(),
        E::Float64 => tensor.values::<f64>()?.iter().map(|value| *value as f32).collect(),
        _ => return Ok(None),
    }))
}

/// Values of an integer or boolean tensor as `i64`.
fn ints(tensor: &TensorView<'_>) -> Result<Option<Vec<i64>>, GraphError> {
    use ElementType as E;
    Ok(Some(match tensor.element() {
        E::Int64 => tensor.as_i64()?.into_owned(),
        E::Int32 => tensor.values::<i32>()?.iter().map(|value| i64::from(*value)).collect(),
        E::Int16 => tensor.values::<i16>()?.iter().map(|value| i64::from(*value)).collect(),
        E::Int8 => tensor.values::<i8>()?.iter().map(|value| i64::from(*value)).collect(),
        E::UInt8 => tensor.values::<u8>()?.iter().map(|value| i64::from(*value)).collect(),
        E::Bool => tensor.bytes()?.iter().map(|value| i64::from(*value != 0)).collect(),
        _ => return Ok(None),
    }))
}

/// A tensor of `values` with the type of `tensor`, so that the graph around it stays valid.
pub(crate) fn like(tensor: &TensorView<'_>, values: &[f32]) -> Result<Tensor, GraphError> {
    let shape = tensor.shape()?;
    match tensor.element() {
        ElementType::Float16 => {
            let half: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
            Tensor::new(&shape, &half)
        }
        ElementType::BFloat16 => {
            let half: Vec<bf16> = values.iter().map(|value| bf16::from_f32(*value)).collect();
            Tensor::new(&shape, &half)
        }
        ElementType::Float64 => {
            let double: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            Tensor::new(&shape, &double)
        }
        _ => Tensor::new(&shape, values),
    }
}
