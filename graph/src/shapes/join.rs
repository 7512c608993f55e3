//! `Concat`, `Split` and `Pad`.

use super::call::{Call, Inferred, List};
use super::dims;
use super::value::{Number, Value};
use crate::Dim;

pub(super) fn concat(call: &Call<'_, '_>) -> Inferred {
    let inputs = 0..call.input_count();
    let known: Vec<&[Dim]> = inputs.clone().filter_map(|input| call.dims(input)).collect();
    let first = known.first()?;
    // Before version 4, the second dimension was the default.
    let axis = call.axis(1, first.len())?;
    let same_rank = known.iter().all(|dims| dims.len() == first.len());
    let mut dims = if same_rank { first.to_vec() } else { return None };
    for other in &known[1..] {
        for (dim, other) in dims.iter_mut().zip(*other) {
            *dim = dims::unified(dim, other);
        }
    }
    let all_known = known.len() == call.input_count();
    let parts = all_known.then(|| known.iter().map(|dims| &dims[axis]));
    dims[axis] = parts.map_or(Dim::Unknown, sum);
    let numbers = (axis == 0).then(|| {
        let parts: Option<Vec<&[Number]>> = inputs.map(|input| call.numbers(input)).collect();
        parts.map(|parts| parts.concat())
    });
    Some(vec![Value::tensor(call.element(0), Some(dims)).with_numbers(numbers.flatten())])
}

fn sum<'d>(mut parts: impl Iterator<Item = &'d Dim>) -> Dim {
    let first = parts.next().cloned().unwrap_or(Dim::Unknown);
    parts.fold(first, |sum, dim| dims::sum(&sum, dim))
}

pub(super) fn split(call: &Call<'_, '_>) -> Inferred {
    let parts = call.output_count();
    let Some(dims) = call.dims(0) else { return unknown_parts(call, parts) };
    let Some(axis) = call.axis(0, dims.len()) else { return unknown_parts(call, parts) };
    let sizes = match call.list("split", 1) {
        List::Known(sizes) => sizes.iter().map(|size| Number::Int(*size).dim()).collect(),
        List::Absent => equal_parts(&dims[axis], parts),
        List::Unknown => Vec::new(),
    };
    let mut start = Some(0_usize);
    let part = |index: usize| {
        let mut dims = dims.to_vec();
        dims[axis] = sizes.get(index).cloned().unwrap_or(Dim::Unknown);
        let end = start
            .zip(dims::fixed(&dims[axis]))
            .and_then(|(start, size)| start.checked_add(usize::try_from(size).ok()?));
        let range = std::mem::replace(&mut start, end).zip(end);
        let numbers = call.numbers(0).filter(|_| dims.len() == 1).zip(range);
        let numbers = numbers.and_then(|(all, (start, end))| all.get(start..end));
        let numbers = numbers.map(<[Number]>::to_vec);
        Value::tensor(call.element(0), Some(dims)).with_numbers(numbers)
    };
    Some((0..parts).map(part).collect())
}

/// Parts with a known element type only.
fn unknown_parts(call: &Call<'_, '_>, parts: usize) -> Inferred {
    Some(vec![Value::tensor(call.element(0), None); parts])
}

/// Parts of equal size; the last may be smaller.
fn equal_parts(whole: &Dim, parts: usize) -> Vec<Dim> {
    let (Some(whole), count) = (dims::fixed(whole), parts as u64) else { return Vec::new() };
    let Some(size) = (count > 0).then(|| whole.div_ceil(count)) else { return Vec::new() };
    let part = |index| whole.saturating_sub(size.saturating_mul(index)).min(size);
    (0..count).map(|index| Dim::Fixed(part(index))).collect()
}

pub(super) fn pad(call: &Call<'_, '_>) -> Inferred {
    let old = call.ints("paddings").map(|pads| List::Known(pads.to_vec()));
    let pads = old.unwrap_or_else(|| call.list("pads", 1));
    let dims = call.dims(0).map(|dims| {
        let padded = padded(dims, &pads, &call.list("axes", 3));
        padded.unwrap_or_else(|| dims::unknown(dims.len()))
    });
    Some(vec![Value::tensor(call.element(0), dims)])
}

/// Applies pads: those before each axis, then those behind each; negative ones crop.
fn padded(dims: &[Dim], pads: &List, axes: &List) -> Option<Vec<Dim>> {
    let List::Known(pads) = pads else { return None };
    let axes: Vec<usize> = match axes {
        List::Absent => (0..dims.len()).collect(),
        List::Known(axes) => {
            axes.iter().map(|axis| dims::axis(*axis, dims.len())).collect::<Option<_>>()?
        }
        List::Unknown => return None,
    };
    let mut dims = dims.to_vec();
    for (index, axis) in axes.iter().enumerate() {
        let more = i128::from(*pads.get(index)?) + i128::from(*pads.get(index + axes.len())?);
        let size = dims::fixed(&dims[*axis]).map(|size| i128::from(size) + more);
        if more != 0 {
            let size = size.and_then(|size| u64::try_from(size).ok());
            dims[*axis] = size.map_or(Dim::Unknown, Dim::Fixed);
        }
    }
    Some(dims)
}
