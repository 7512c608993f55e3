//! Synthetic inputs for trial runs: deterministic values of a model's datatypes and shapes.

use crate::executor::ExecuteError;
use crate::payload::Payload;
use crate::signature::{Signature, TensorSpec};
use crate::tensor::{DataType, Shape, elements, push_bytes_element};
use half::{bf16, f16};

/// Bytes of the largest input that is generated or read from a file.
pub(crate) const INPUT_BYTES_MAX: usize = 1 << 30;

/// Size given to open dimensions other than the batch dimension.
pub(crate) const OPEN_DIM: usize = 8;

/// Shape and data of one input of a run.
pub(crate) type Input = (Shape, Payload);

/// Makes one row of every input, different for each seed.
///
/// # Errors
/// An input would be larger than [`INPUT_BYTES_MAX`].
pub(crate) fn row(signature: &Signature, seed: u64) -> Result<Vec<Input>, ExecuteError> {
    let input = |(index, spec): (usize, &TensorSpec)| {
        let shape = row_shape(spec, spec.dims.first() == Some(&None));
        let count = element_count(spec, &shape).map_err(ExecuteError::Request)?;
        let data = noise(spec.datatype, count, seed * 31 + index as u64);
        Ok((shape, data))
    };
    signature.inputs.iter().enumerate().map(input).collect()
}

/// Number of elements of an input of this shape.
///
/// # Errors
/// The input would be larger than [`INPUT_BYTES_MAX`].
pub(crate) fn element_count(spec: &TensorSpec, shape: &[usize]) -> Result<usize, String> {
    let element_bytes = spec.datatype.element_bytes().unwrap_or(4 + 1);
    let count = elements(shape).filter(|count| *count <= INPUT_BYTES_MAX / element_bytes);
    count.ok_or_else(|| format!("input '{}' is too large for a trial run: {shape:?}", spec.name))
}

/// Shape of one row of an input; open dimensions get the size [`OPEN_DIM`].
pub(crate) fn row_shape(spec: &TensorSpec, first_is_rows: bool) -> Shape {
    let mut shape: Shape = spec.dims.iter().map(|dim| dim.unwrap_or(OPEN_DIM)).collect();
    if let (Some(dim), true) = (shape.first_mut(), first_is_rows) {
        *dim = 1;
    }
    shape
}

/// Deterministic noise: floats in [0, 1), integers and booleans 0 or 1, strings "0" or "1".
///
/// So indices and parsed numbers are mostly valid. The first integer is the seed's lowest bit, so
/// that rows of one element differ from their neighbours too.
pub(crate) fn noise(datatype: DataType, count: usize, seed: u64) -> Payload {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut data = Vec::new();
    for index in 0..count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let unit = (state >> 40) as f32 / (1 << 24) as f32;
        let bit = u8::from(if index == 0 { seed % 2 == 1 } else { unit >= 0.5 });
        match datatype {
            DataType::Fp16 => data.extend_from_slice(&f16::from_f32(unit).to_le_bytes()),
            DataType::Bf16 => data.extend_from_slice(&bf16::from_f32(unit).to_le_bytes()),
            DataType::Fp32 => data.extend_from_slice(&unit.to_le_bytes()),
            DataType::Fp64 => data.extend_from_slice(&f64::from(unit).to_le_bytes()),
            DataType::Bytes => push_bytes_element(&mut data, if bit == 1 { b"1" } else { b"0" }),
            _ => {
                data.push(bit);
                data.resize(data.len() + datatype.element_bytes().unwrap_or(1) - 1, 0);
            }
        }
    }
    data.into()
}
