//! Describes the inputs and outputs of a session.

use super::SessionError;
use crate::signature::{Signature, TensorSpec};
use crate::tensor::DataType;
use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

/// Returns the inputs and outputs of a session, as the runtime declares them.
pub(super) fn signature(session: &Session) -> Result<Signature, SessionError> {
    let specs = |outlets: &[Outlet], side| -> Result<Vec<TensorSpec>, SessionError> {
        outlets.iter().map(|outlet| spec(outlet.name(), outlet.dtype(), side)).collect()
    };
    // A default that no protocol carries stays what it is.
    let defaults = session.overridable_initializers();
    let optional = defaults.iter().map(|default| spec(default.name(), default.dtype(), "input"));
    Ok(Signature {
        inputs: specs(session.inputs(), "input")?,
        optional_inputs: optional.flatten().collect(),
        outputs: specs(session.outputs(), "output")?,
        ..Signature::default()
    })
}

fn spec(name: &str, dtype: &ValueType, side: &'static str) -> Result<TensorSpec, SessionError> {
    let name = name.to_owned();
    let ValueType::Tensor { ty, shape, dimension_symbols } = dtype else {
        return Err(SessionError::NotATensor { side, name, kind: kind(dtype) });
    };
    let Some(datatype) = datatype(*ty) else {
        return Err(SessionError::Element { side, name, element: ty.to_string() });
    };
    Ok(TensorSpec {
        name: name.into(),
        datatype,
        dims: shape.iter().map(|&dim| usize::try_from(dim).ok()).collect(),
        dim_names: dimension_symbols.iter().cloned().collect(),
        any_rank: false,
    })
}

fn kind(dtype: &ValueType) -> String {
    match dtype {
        ValueType::Tensor { .. } => "a tensor".into(),
        ValueType::Sequence(of) => format!("a sequence of {}s", kind(of).replace("a ", "")),
        ValueType::Map { .. } => "a map".into(),
        ValueType::Optional(of) => format!("optionally {}", kind(of)),
    }
}

fn datatype(element: TensorElementType) -> Option<DataType> {
    Some(match element {
        TensorElementType::Bool => DataType::Bool,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Float16 => DataType::Fp16,
        TensorElementType::Float32 => DataType::Fp32,
        TensorElementType::Float64 => DataType::Fp64,
        TensorElementType::Bfloat16 => DataType::Bf16,
        TensorElementType::String => DataType::Bytes,
        _ => return None,
    })
}
