//! Reductions.

use super::call::{Call, Inferred, List};
use super::dims;
use super::value::Value;
use crate::{Dim, ElementType};

/// Sums, means and the like over named axes, or all.
pub(super) fn reduce(call: &Call<'_, '_>) -> Inferred {
    let dims = call.dims(0).and_then(|dims| {
        let all: Vec<i64> = (0..).take(dims.len()).collect();
        match call.list("axes", 1) {
            List::Known(axes) if !axes.is_empty() => without(call, dims, &axes),
            List::Known(_) | List::Absent if call.int("noop_with_empty_axes") == Some(1) => {
                Some(dims.to_vec())
            }
            List::Known(_) | List::Absent => without(call, dims, &all),
            List::Unknown => keeps(call).then(|| dims::unknown(dims.len())),
        }
    });
    Some(vec![Value::tensor(call.element(0), dims)])
}

/// A mean of quantized numbers over the axes of an attribute.
pub(super) fn reduce_quantized(call: &Call<'_, '_>) -> Inferred {
    let dims = call.dims(0).zip(call.ints("axes"));
    let dims = dims.and_then(|(dims, axes)| without(call, dims, axes));
    Some(vec![Value::tensor(call.element(0), dims)])
}

/// Index of the largest or smallest along an axis.
pub(super) fn arg(call: &Call<'_, '_>) -> Inferred {
    let axis = call.int("axis").unwrap_or(0);
    let dims = call.dims(0).and_then(|dims| without(call, dims, &[axis]));
    Some(vec![Value::tensor(ElementType::Int64, dims)])
}

/// True if reduced dimensions stay as ones.
fn keeps(call: &Call<'_, '_>) -> bool {
    call.int("keepdims").unwrap_or(1) != 0
}

fn without(call: &Call<'_, '_>, dims: &[Dim], axes: &[i64]) -> Option<Vec<Dim>> {
    let mut reduced = vec![false; dims.len()];
    for axis in axes {
        reduced[dims::axis(*axis, dims.len())?] = true;
    }
    let left = dims.iter().zip(reduced).filter_map(|(dim, reduced)| match (reduced, keeps(call)) {
        (false, _) => Some(dim.clone()),
        (true, true) => Some(1.into()),
        (true, false) => None,
    });
    Some(left.collect())
}
