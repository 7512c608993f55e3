//! Operators that select elements by index.

use super::call::{Call, Inferred, List};
use super::dims;
use super::value::{Number, Value};
use crate::{Dim, ElementType};

/// Takes entries along an axis, whose dimension is replaced by those of the indices.
pub(super) fn gather(call: &Call<'_, '_>) -> Inferred {
    let dims = call.dims(0).zip(call.dims(1)).and_then(|(data, indices)| {
        let axis = call.axis(0, data.len())?;
        Some([&data[..axis], indices, &data[axis + 1..]].concat())
    });
    let numbers = gathered(call).filter(|_| call.dims(0).is_some_and(|dims| dims.len() == 1));
    Some(vec![Value::tensor(call.element(0), dims).with_numbers(numbers)])
}

fn gathered(call: &Call<'_, '_>) -> Option<Vec<Number>> {
    let data = call.numbers(0)?;
    let number = |index: &Number| {
        let index = index.int().and_then(|index| dims::axis(index, data.len()));
        index.map_or(Number::Unknown, |index| data[index].clone())
    };
    Some(call.numbers(1)?.iter().map(number).collect())
}

/// Takes an element for each index.
pub(super) fn gather_elements(call: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::tensor(call.element(0), call.dims(1).map(<[Dim]>::to_vec))])
}

/// Takes a slice for each index tuple.
pub(super) fn gather_nd(call: &Call<'_, '_>) -> Inferred {
    let dims = call.dims(0).zip(call.dims(1)).and_then(|(data, indices)| {
        let (last, outer) = indices.split_last()?;
        let batches = usize::try_from(call.int("batch_dims").unwrap_or(0)).ok()?;
        let picked = usize::try_from(dims::fixed(last)?).ok()?;
        let rest = data.get(batches.checked_add(picked)?..)?;
        Some([outer, rest].concat())
    });
    Some(vec![Value::tensor(call.element(0), dims)])
}

/// The largest elements along an axis, and their indices.
pub(super) fn top_k(call: &Call<'_, '_>) -> Inferred {
    let count = match (call.int("k"), call.numbers(1)) {
        (Some(count), _) => Number::Int(count).dim(),
        (None, Some([count])) => count.dim(),
        _ => Dim::Unknown,
    };
    let dims = call.dims(0).and_then(|dims| {
        let mut dims = dims.to_vec();
        let axis = call.axis(-1, dims.len())?;
        dims[axis] = count;
        Some(dims)
    });
    let indices = Value::tensor(ElementType::Int64, dims.clone());
    Some(vec![Value::tensor(call.element(0), dims), indices])
}

/// Indices of non-zero elements: a row for each axis.
pub(super) fn non_zero(call: &Call<'_, '_>) -> Inferred {
    let rank = call.dims(0).map_or(Dim::Unknown, |dims| Dim::Fixed(dims.len() as u64));
    Some(vec![Value::tensor(ElementType::Int64, Some(vec![rank, Dim::Unknown]))])
}

/// A one-hot row for each number.
pub(super) fn one_hot(call: &Call<'_, '_>) -> Inferred {
    let depth = match call.list("depth", 1) {
        List::Known(depth) => depth.first().map(|depth| Number::Int(*depth).dim()),
        _ => None,
    };
    let dims = call.dims(0).and_then(|dims| {
        let axis = call.axis(-1, dims.len() + 1)?;
        let mut dims = dims.to_vec();
        dims.insert(axis, depth.unwrap_or(Dim::Unknown));
        Some(dims)
    });
    Some(vec![Value::tensor(call.element(2), dims)])
}
