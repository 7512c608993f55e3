//! Operators that write elements at indices.

use super::Dependence;
use super::dependence::{dependent, unknown};
use super::rule::Outcome;
use crate::shapes::call::Call;
use crate::shapes::dims;

/// An element at each index, along an axis within a row.
pub(super) fn elements(call: &Call<'_, '_>) -> Outcome {
    let axis = call.need_axis(0, call.rank(0)?)?;
    let rows = [0, 1, 2].map(|input| call.rows(input));
    match rows {
        [Some(data), Some(indices), Some(updates)]
            if data == indices && data == updates && data.axis != axis =>
        {
            Ok(vec![Dependence::Rows(data.clone())])
        }
        _ => dependent("it writes values at indices of rows"),
    }
}

/// A slice at each index tuple. Indices are shared, and rows lie in the slices.
pub(super) fn parts(call: &Call<'_, '_>) -> Outcome {
    let rank = call.rank(1)?;
    let named = call.dims(1).and_then(<[_]>::last).and_then(dims::fixed);
    let Some(named) = named.and_then(|named| usize::try_from(named).ok()) else {
        return unknown("how many axes its indices cover is not known");
    };
    match (call.rows(0), call.dependence(1), call.rows(2)) {
        (Some(data), Dependence::Shared, Some(updates))
            if data.axis >= named
                && updates.axis + named + 1 == data.axis + rank
                && data.is_like(updates) =>
        {
            Ok(vec![Dependence::Rows(data.clone())])
        }
        _ => dependent("it writes values at indices of rows"),
    }
}

/// Slots of a cache, each of its own row: data, updates, and write offsets.
pub(super) fn tensor(call: &Call<'_, '_>) -> Outcome {
    let rows = super::batched::batched_inputs(call, &[0, 1, 2])?;
    let axis = call.need_axis(-2, call.rank(0)?)?;
    let all_rows = (0..call.input_count()).filter(|input| call.has_input(*input));
    if axis == 0 || !all_rows.into_iter().all(|input| call.rows(input).is_some()) {
        return dependent("it writes values at indices of rows");
    }
    Ok(rows)
}
