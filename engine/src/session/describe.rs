//! Describes the inputs and outputs of a session.

use super::SessionError;
use super::buffer::element_type;
use crate::signature::{Signature, TensorSpec};
use crate::tensor::DataType;
use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

/// Returns the inputs and outputs of a session, as the runtime declares them.
pub(super) fn signature(session: &Session) -> Result<Signature, SessionError> {
    let specs = |outlets: &[Outlet], side| -> Result<Vec<TensorSpec>, SessionError> {
        outlets.iter().map(|outlet| spec(outlet.name(), outlet.dtype(), side)).collect()
    };
    // An optional input that no protocol can carry always has its default.
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
        reshape: None,
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
    DataType::ALL.into_iter().find(|datatype| element_type(*datatype) == element)
}
