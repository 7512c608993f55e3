//! Quantization.

use super::call::{Call, Made};
use super::value::{ANY, Value};
use crate::{Dim, ElementType};

/// Of the type of the zero point, else of the one that is said, else of unsigned bytes.
pub(super) fn quantize(call: &Call<'_, '_>) -> Made {
    let said = call.type_("output_dtype").filter(|element| *element != ANY);
    let element = if call.has(2) { call.element(2) } else { said.unwrap_or(ElementType::UInt8) };
    made(call, element)
}

/// Of the type of the scale, unless another is said.
pub(super) fn dequantize(call: &Call<'_, '_>) -> Made {
    let said = call.type_("output_dtype").filter(|element| *element != ANY);
    made(call, said.unwrap_or_else(|| call.element(1)))
}

fn made(call: &Call<'_, '_>, element: ElementType) -> Made {
    Some(vec![Value::tensor(element, call.dims(0).map(<[Dim]>::to_vec))])
}

/// Unsigned bytes, their scale and their zero point.
pub(super) fn dynamic(call: &Call<'_, '_>) -> Made {
    let alone = |element| Value::tensor(element, Some(vec![]));
    let bytes = Value::tensor(ElementType::UInt8, call.dims(0).map(<[Dim]>::to_vec));
    Some(vec![bytes, alone(ElementType::Float32), alone(ElementType::UInt8)])
}
