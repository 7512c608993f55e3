//! Resizing: to sizes, or by factors.

use super::call::{Call, Inferred};
use super::dims;
use super::value::{Number, Value};
use crate::Dim;

/// `Resize` of every version, and `Upsample`, which it replaced.
pub(super) fn resize(call: &Call<'_, '_>) -> Inferred {
    let dims =
        call.dims(0).map(|dims| resized(call, dims).unwrap_or_else(|| dims::unknown(dims.len())));
    Some(vec![Value::tensor(call.element(0), dims)])
}

fn resized(call: &Call<'_, '_>, dims: &[Dim]) -> Option<Vec<Dim>> {
    // Sizes in proportion are not inferred.
    if !matches!(call.text("keep_aspect_ratio_policy"), "" | "stretch") {
        return None;
    }
    let axes: Vec<usize> = match call.ints("axes").filter(|axes| !axes.is_empty()) {
        None => (0..dims.len()).collect(),
        Some(axes) => {
            axes.iter().map(|axis| dims::axis(*axis, dims.len())).collect::<Option<_>>()?
        }
    };
    let sizes = sizes(call, dims, &axes)?;
    let mut dims = dims.to_vec();
    for (axis, size) in axes.into_iter().zip(sizes) {
        dims[axis] = size;
    }
    Some(dims)
}

/// New sizes of these axes.
fn sizes(call: &Call<'_, '_>, dims: &[Dim], axes: &[usize]) -> Option<Vec<Dim>> {
    if call.has_input(3) {
        let sizes = call.numbers(3).filter(|sizes| sizes.len() == axes.len())?;
        return Some(sizes.iter().map(Number::dim).collect());
    }
    // Factors are an attribute, the second of two inputs, or the third.
    let scales = match call.float_list("scales") {
        Some(scales) => scales.to_vec(),
        None => call.floats(if call.input_count() == 2 { 1 } else { 2 })?,
    };
    let scaled = |(axis, scale): (&usize, f32)| match &dims[*axis] {
        dim if scale == 1.0 => dim.clone(),
        // Single precision, as in runtimes; the cast saturates.
        Dim::Fixed(size) => Dim::Fixed((*size as f32 * scale).floor() as u64),
        _ => Dim::Unknown,
    };
    (scales.len() == axes.len()).then(|| axes.iter().zip(scales).map(scaled).collect())
}
