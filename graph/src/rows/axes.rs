//! Operators that combine elements along axes.

use super::Dependence;
use super::dependence::{Problem, Rows, dependent, unknown};
use super::rule::Outcome;
use crate::shapes::call::{Call, List};
use crate::shapes::dims;
use std::collections::BTreeSet;

/// Returns the rows of the first input, unless they lie along a combined axis.
pub(super) fn rows_outside(
    call: &Call<'_, '_>,
    what: &str,
    touches: impl Fn(usize) -> bool,
) -> Result<Rows, Problem> {
    let rows = call.need_rows(0)?;
    if touches(rows.axis) {
        return dependent(format!("it {what} rows"));
    }
    Ok(rows.clone())
}

/// Outputs that all have the rows of the first input.
fn same(call: &Call<'_, '_>, rows: Rows) -> Outcome {
    Ok(vec![Dependence::Rows(rows); call.output_count()])
}

/// Sums, means and the like over named axes, or all.
pub(super) fn reduce(call: &Call<'_, '_>) -> Outcome {
    let rank = call.rank(0)?;
    call.shared_besides(&[0])?;
    let keeps_all = call.int("noop_with_empty_axes") == Some(1);
    let axes: Vec<usize> = match call.list("axes", 1) {
        List::Unknown => return unknown("the axes that it reduces are not known"),
        List::Known(axes) if !axes.is_empty() => axes
            .iter()
            .map(|axis| dims::axis(*axis, rank))
            .collect::<Option<BTreeSet<usize>>>()
            .map_or_else(
                || unknown("an axis is out of range"),
                |axes| Ok(axes.into_iter().collect()),
            )?,
        _ if keeps_all => return same(call, call.need_rows(0)?.clone()),
        _ => (0..rank).collect(),
    };
    let rows = rows_outside(call, "reduces over", |axis| axes.contains(&axis))?;
    Ok(vec![without(call, &rows, &axes)])
}

/// Rows after a reduction of other axes.
fn without(call: &Call<'_, '_>, rows: &Rows, axes: &[usize]) -> Dependence {
    let before = axes.iter().filter(|axis| **axis < rows.axis).count();
    let keeps = call.int("keepdims").unwrap_or(1) != 0;
    rows.at(if keeps { rows.axis } else { rows.axis - before })
}

/// Index of the largest or smallest along an axis.
pub(super) fn arg(call: &Call<'_, '_>) -> Outcome {
    let axis = call.need_axis(0, call.rank(0)?)?;
    let rows = rows_outside(call, "compares", |rows| rows == axis)?;
    Ok(vec![without(call, &rows, &[axis])])
}

/// `Softmax` and the like: along one axis, before version 13 along all from it on.
pub(super) fn softmax(call: &Call<'_, '_>) -> Outcome {
    let rank = call.rank(0)?;
    let rows = if call.opset() >= 13 {
        let axis = call.need_axis(-1, rank)?;
        rows_outside(call, "normalises over", |rows| rows == axis)?
    } else {
        let axis = call.need_axis(1, rank)?;
        rows_outside(call, "normalises over", |rows| rows >= axis)?
    };
    same(call, rows)
}

/// Operators along one axis, the last by default.
pub(super) fn along_last(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let axis = call.need_axis(-1, call.rank(0)?)?;
    same(call, rows_outside(call, "works along", |rows| rows == axis)?)
}

/// Operators along all axes from one on, the last by default.
pub(super) fn from_axis(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let axis = call.need_axis(-1, call.rank(0)?)?;
    same(call, rows_outside(call, "normalises over", |rows| rows >= axis)?)
}

/// Operators along the last axis.
pub(super) fn last(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let rank = call.rank(0)?;
    same(call, rows_outside(call, "works along", |rows| rows + 1 == rank)?)
}

/// Two tensors are added, then normalized along the last axis.
pub(super) fn skip_normalise(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0, 1])?;
    let rank = call.rank(0)?;
    let on = super::elementwise::broadcast_inputs(call, &[0, 1])?;
    match on.rows() {
        Some(rows) if rows.axis + 1 < rank => Ok(vec![on; call.output_count()]),
        _ => dependent("it normalises over rows"),
    }
}

/// Operators along the axis that the second input holds.
pub(super) fn along_input(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let axis = call.axis_input(1, call.rank(0)?)?;
    same(call, rows_outside(call, "sums over", |rows| rows == axis)?)
}

/// Operators over axes of an attribute, by default the first and those from the third on.
pub(super) fn mean_variance(call: &Call<'_, '_>) -> Outcome {
    let rank = call.rank(0)?;
    let axes = call.ints("axes").filter(|axes| !axes.is_empty()).unwrap_or(&[0, 2, 3]);
    same(
        call,
        rows_outside(call, "normalises over", |rows| {
            axes.iter().any(|axis| dims::axis(*axis, rank) == Some(rows))
        })?,
    )
}

/// Operators along the channels, the second axis.
pub(super) fn channels(call: &Call<'_, '_>) -> Outcome {
    same(call, rows_outside(call, "works along", |rows| rows == 1)?)
}

/// Operators along the last two axes.
pub(super) fn last_two(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let rank = call.rank(0)?;
    same(call, rows_outside(call, "works along", |rows| rows + 2 >= rank)?)
}

/// The largest elements along an axis, and their indices.
pub(super) fn top_k(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let axis = call.need_axis(-1, call.rank(0)?)?;
    same(call, rows_outside(call, "sorts", |rows| rows == axis)?)
}

/// A transform along an axis; the last axis holds real and imaginary parts.
pub(super) fn fourier(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let rank = call.rank(0)?;
    let axis = if call.has_input(2) {
        call.axis_input(2, rank)?
    } else {
        call.need_axis(if call.opset() >= 20 { -2 } else { 1 }, rank)?
    };
    same(call, rows_outside(call, "transforms", |rows| rows == axis || rows + 1 == rank)?)
}

/// Steps in reverse order, with a length for each row.
pub(super) fn reverse(call: &Call<'_, '_>) -> Outcome {
    let rows = call.need_rows(0)?;
    let (batch, time) = (call.int("batch_axis").unwrap_or(1), call.int("time_axis").unwrap_or(0));
    let of_rows = |axis| dims::axis(axis, 2) == Some(rows.axis);
    if of_rows(time) {
        return dependent("it reverses rows");
    }
    match call.rows(1) {
        Some(lengths) if of_rows(batch) && lengths.is_like(rows) => {
            Ok(vec![Dependence::Rows(rows.clone())])
        }
        None if !of_rows(batch) => {
            call.shared([1])?;
            Ok(vec![Dependence::Rows(rows.clone())])
        }
        _ => dependent("its lengths are not those of its rows"),
    }
}
