//! Copies between ONNX Runtime's tensors and plain bytes.

use crate::executor::BatchInput;
use crate::request::OutputTensor;
use crate::signature::TensorSpec;
use crate::tensor::{DataType, Shape, bytes_elements, elements, push_bytes_element};
use bytemuck::Pod;
use bytes::Bytes;
use half::{bf16, f16};
use ort::session::Session;
use ort::value::{DynTensor, PrimitiveTensorElementType, TensorElementType};
use skysail_kernels::{Strings, string_tensor};

/// Calls a function that is generic over the element type with the type of a datatype. `BOOL` and
/// `BYTES` have their own arms, as not every byte is a valid bool or string.
macro_rules! for_element {
    ($datatype:expr, $f:ident($($arg:expr),*), bool: $bool:expr, bytes: $bytes:expr) => {
        match $datatype {
            DataType::Bool => $bool,
            DataType::Uint8 => $f::<u8>($($arg),*),
            DataType::Uint16 => $f::<u16>($($arg),*),
            DataType::Uint32 => $f::<u32>($($arg),*),
            DataType::Uint64 => $f::<u64>($($arg),*),
            DataType::Int8 => $f::<i8>($($arg),*),
            DataType::Int16 => $f::<i16>($($arg),*),
            DataType::Int32 => $f::<i32>($($arg),*),
            DataType::Int64 => $f::<i64>($($arg),*),
            DataType::Fp16 => $f::<f16>($($arg),*),
            DataType::Fp32 => $f::<f32>($($arg),*),
            DataType::Fp64 => $f::<f64>($($arg),*),
            DataType::Bf16 => $f::<bf16>($($arg),*),
            DataType::Bytes => $bytes,
        }
    };
}

/// Allocates a tensor of this shape in the session's memory.
pub(super) fn allocate(
    session: &Session,
    datatype: DataType,
    shape: &[usize],
) -> ort::Result<DynTensor> {
    let dims: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
    DynTensor::new(session.allocator(), element_type(datatype), dims)
}

/// Bytes of a tensor's elements.
pub(super) fn bytes(tensor: &DynTensor) -> usize {
    tensor.data_type().byte_size(tensor.shape().num_elements()).unwrap_or(0)
}

/// Copies the parts of an input into a tensor of its shape.
pub(super) fn fill(
    tensor: &mut DynTensor,
    datatype: DataType,
    input: &BatchInput<'_>,
) -> ort::Result<()> {
    for_element!(datatype, fill_as(tensor, input), bool: fill_bool(tensor, input), bytes: Ok(()))
}

fn fill_as<T: PrimitiveTensorElementType + Pod>(
    tensor: &mut DynTensor,
    input: &BatchInput<'_>,
) -> ort::Result<()> {
    let (_, elements) = tensor.try_extract_tensor_mut::<T>()?;
    let mut rest: &mut [u8] = bytemuck::cast_slice_mut(elements);
    for part in &input.parts {
        let Some((head, tail)) = rest.split_at_mut_checked(part.len()) else {
            return Err(misfit());
        };
        if !part.copy_to(head) {
            return Err(misfit());
        }
        rest = tail;
    }
    if rest.is_empty() { Ok(()) } else { Err(misfit()) }
}

fn fill_bool(tensor: &mut DynTensor, input: &BatchInput<'_>) -> ort::Result<()> {
    let (_, elements) = tensor.try_extract_tensor_mut::<bool>()?;
    let mut at = 0;
    for part in &input.parts {
        let target = elements.get_mut(at..at + part.len()).ok_or_else(misfit)?;
        target.iter_mut().zip(part.contiguous().iter()).for_each(|(bit, byte)| *bit = *byte != 0);
        at += part.len();
    }
    if at == elements.len() { Ok(()) } else { Err(misfit()) }
}

fn misfit() -> ort::Error {
    ort::Error::new("the members' bytes do not add up to the batch")
}

/// Makes a tensor of the strings of all parts.
pub(super) fn strings(input: &BatchInput<'_>) -> ort::Result<DynTensor> {
    let parts: Vec<_> = input.parts.iter().map(|part| part.contiguous()).collect();
    elements(&input.shape).ok_or_else(misfit)?;
    string_tensor(&input.shape, parts.iter().flat_map(|part| bytes_elements(part)))
}

/// Copies a tensor's elements to an output.
pub(super) fn read(tensor: &DynTensor, spec: &TensorSpec) -> ort::Result<OutputTensor> {
    let shape: Shape =
        tensor.shape().iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect();
    let data = for_element!(
        spec.datatype,
        read_as(tensor),
        bool: read_bool(tensor),
        bytes: read_strings(tensor)
    )?;
    Ok(OutputTensor { name: spec.name.clone(), datatype: spec.datatype, shape, data })
}

fn read_as<T: PrimitiveTensorElementType + Pod>(tensor: &DynTensor) -> ort::Result<Bytes> {
    let (_, elements) = tensor.try_extract_tensor::<T>()?;
    Ok(Bytes::copy_from_slice(bytemuck::cast_slice(elements)))
}

fn read_bool(tensor: &DynTensor) -> ort::Result<Bytes> {
    let (_, elements) = tensor.try_extract_tensor::<bool>()?;
    Ok(elements.iter().map(|&bit| u8::from(bit)).collect())
}

fn read_strings(tensor: &DynTensor) -> ort::Result<Bytes> {
    let strings = Strings::of(tensor)?;
    let mut data = Vec::with_capacity(strings.bytes() + size_of::<u32>() * strings.count());
    strings.iter().for_each(|element| push_bytes_element(&mut data, element));
    Ok(data.into())
}

/// The runtime's element type of a datatype.
pub(super) fn element_type(datatype: DataType) -> TensorElementType {
    match datatype {
        DataType::Bool => TensorElementType::Bool,
        DataType::Uint8 => TensorElementType::Uint8,
        DataType::Uint16 => TensorElementType::Uint16,
        DataType::Uint32 => TensorElementType::Uint32,
        DataType::Uint64 => TensorElementType::Uint64,
        DataType::Int8 => TensorElementType::Int8,
        DataType::Int16 => TensorElementType::Int16,
        DataType::Int32 => TensorElementType::Int32,
        DataType::Int64 => TensorElementType::Int64,
        DataType::Fp16 => TensorElementType::Float16,
        DataType::Fp32 => TensorElementType::Float32,
        DataType::Fp64 => TensorElementType::Float64,
        DataType::Bf16 => TensorElementType::Bfloat16,
        DataType::Bytes => TensorElementType::String,
    }
}
