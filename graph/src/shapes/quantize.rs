//! Quantization.

use super::call::{Call, Inferred};
use super::value::{ANY, Value};
use crate::{Dim, ElementType};

/// Has the type of the zero point, else the attribute's, else unsigned bytes.
pub(super) fn quantize(call: &Call<'_, '_>) -> Inferred {
    let explicit = call.element_type("output_dtype").filter(|element| *element != ANY);
    let element =
        if call.has_input(2) { call.element(2) } else { explicit.unwrap_or(ElementType::UInt8) };
    like_input(call, element)
}

/// Has the type of the scale, unless an attribute names another.
pub(super) fn dequantize(call: &Call<'_, '_>) -> Inferred {
    let explicit = call.element_type("output_dtype").filter(|element| *element != ANY);
    like_input(call, explicit.unwrap_or_else(|| call.element(1)))
}

fn like_input(call: &Call<'_, '_>, element: ElementType) -> Inferred {
    Some(vec![Value::tensor(element, call.dims(0).map(<[Dim]>::to_vec))])
}

/// Unsigned bytes, their scale and their zero point.
pub(super) fn dynamic(call: &Call<'_, '_>) -> Inferred {
    let alone = |element| Value::tensor(element, Some(vec![]));
    let bytes = Value::tensor(ElementType::UInt8, call.dims(0).map(<[Dim]>::to_vec));
    Some(vec![bytes, alone(ElementType::Float32), alone(ElementType::UInt8)])
}
