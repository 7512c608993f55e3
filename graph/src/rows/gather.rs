//! Operators that select elements by index.

use super::Dependence;
use super::axes::rows_outside;
use super::dependence::{Rows, dependent, unknown};
use super::rule::Outcome;
use crate::shapes::call::Call;
use crate::shapes::dims;
use crate::size::times;
use crate::{Dim, ElementType};

/// Entries along an axis, whose dimension is replaced by those of the indices.
pub(super) fn gather(call: &Call<'_, '_>) -> Outcome {
    let rank = call.rank(0)?;
    let axis = call.need_axis(0, rank)?;
    match (call.dependence(0), call.dependence(1)) {
        // ONNX Runtime copies only the first of several strings in each entry.
        (Dependence::Rows(rows), Dependence::Shared)
            if rows.axis > axis && call.element(0) == ElementType::String =>
        {
            dependent("it copies only the first string of each entry")
        }
        (Dependence::Rows(rows), Dependence::Shared) if rows.axis != axis => {
            let indices = call.rank(1)?;
            Ok(vec![rows.at(if rows.axis < axis { rows.axis } else { rows.axis + indices - 1 })])
        }
        (Dependence::Shared, Dependence::Rows(indices)) => {
            Ok(vec![indices.at(indices.axis + axis)])
        }
        (_, Dependence::Count) | (Dependence::Count, _) => {
            dependent("it selects by the number of rows")
        }
        (Dependence::Rows(_), Dependence::Shared) => dependent("it selects rows by index"),
        _ => dependent("it selects from rows by indices that differ from row to row"),
    }
}

/// An element for each index, along an axis.
pub(super) fn gather_elements(call: &Call<'_, '_>) -> Outcome {
    let axis = call.need_axis(0, call.rank(0)?)?;
    match (call.dependence(0), call.dependence(1)) {
        (Dependence::Rows(data), Dependence::Rows(indices))
            if data == indices && data.axis != axis =>
        {
            Ok(vec![Dependence::Rows(data.clone())])
        }
        // Each index is looked up in a shared table.
        (Dependence::Shared, Dependence::Rows(indices)) if indices.axis == axis => {
            Ok(vec![Dependence::Rows(indices.clone())])
        }
        _ => dependent("it selects by indices of rows"),
    }
}

/// A slice for each index tuple.
pub(super) fn gather_nd(call: &Call<'_, '_>) -> Outcome {
    let batches = usize::try_from(call.int("batch_dims").unwrap_or(0)).unwrap_or(0);
    let indices_rank = call.rank(1)?;
    match (call.dependence(0), call.dependence(1)) {
        (Dependence::Rows(data), Dependence::Rows(indices))
            if data == indices && data.axis < batches =>
        {
            Ok(vec![Dependence::Rows(data.clone())])
        }
        (Dependence::Shared, Dependence::Rows(indices))
            if indices.axis >= batches && indices.axis + 1 < indices_rank =>
        {
            Ok(vec![Dependence::Rows(indices.clone())])
        }
        // Indices of axes before that of the rows: the rows move with the remaining axes.
        (Dependence::Rows(data), Dependence::Shared) => {
            let picked = call.dims(1).and_then(<[_]>::last).and_then(dims::fixed);
            let picked = picked.and_then(|picked| usize::try_from(picked).ok());
            let Some(picked) = picked else {
                return unknown("the number of axes that it indexes is not known");
            };
            if data.axis < batches || data.axis < batches + picked {
                return dependent("it selects rows by index");
            }
            Ok(vec![data.at(data.axis + indices_rank - 1 - picked - batches)])
        }
        _ => dependent("it selects by indices of rows"),
    }
}

/// A one-hot row for each number.
pub(super) fn one_hot(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let rows = call.need_rows(0)?;
    let axis = call.need_axis(-1, call.rank(0)? + 1)?;
    Ok(vec![rows.at(if rows.axis < axis { rows.axis } else { rows.axis + 1 })])
}

/// Columns of a matrix, by index: as many as there are indices in all.
pub(super) fn columns(call: &Call<'_, '_>) -> Outcome {
    let rank = call.rank(0)?;
    if let (Dependence::Shared, Dependence::Rows(rows), Some(dims)) =
        (call.dependence(0), call.dependence(1), call.dims(1))
    {
        if dims[..rows.axis].iter().any(|dim| *dim != Dim::Fixed(1)) {
            return dependent("it mixes the indices of rows");
        }
        let block = times(&rows.block, &dims::product(&dims[rows.axis + 1..]));
        let last = rank.max(2) - 1;
        return Ok(vec![Dependence::Rows(Rows { axis: last, block, ..rows.clone() })]);
    }
    call.shared_besides(&[0])?;
    let rows = rows_outside(call, "selects from", |rows| rows + 1 == rank)?;
    Ok(vec![Dependence::Rows(rows)])
}

/// Outputs whose size depends on data.
pub(super) fn data_dependent(_: &Call<'_, '_>) -> Outcome {
    dependent("the size of its output depends on values of all rows")
}

/// Outputs that are indices of rows.
pub(super) fn index_dependent(_: &Call<'_, '_>) -> Outcome {
    dependent("its output holds indices of rows")
}
