//! Operators that concatenate, split, slice, pad and crop.

use super::Dependence;
use super::axes::rows_outside;
use super::dependence::{Rows, dependent, unknown};
use super::layout::check_all_rows;
use super::rule::Outcome;
use crate::Dim;
use crate::shapes::call::{Call, List};
use crate::shapes::dims;
use crate::shapes::value::Number;
use crate::size::is_free_of_rows;

/// Ends past this mean "to the end".
const TO_END: i64 = i32::MAX as i64;

pub(super) fn concat(call: &Call<'_, '_>) -> Outcome {
    let inputs: Vec<usize> = (0..call.input_count()).collect();
    joined(call, &inputs)
}

/// Quantized tensors, each with scale and zero point, after those of the result.
pub(super) fn concat_quantized(call: &Call<'_, '_>) -> Outcome {
    let inputs: Vec<usize> = (2..call.input_count()).step_by(3).collect();
    call.shared_besides(&inputs)?;
    joined(call, &inputs)
}

fn joined(call: &Call<'_, '_>, inputs: &[usize]) -> Outcome {
    let mut found: Option<&Rows> = None;
    for input in inputs {
        match call.dependence(*input) {
            Dependence::Rows(rows) if found.is_none_or(|found| found == rows) => found = Some(rows),
            Dependence::Rows(_) => {
                return dependent("it concatenates rows of different dimensions");
            }
            Dependence::Shared => return dependent("it concatenates rows with what has no rows"),
            _ => return dependent("one of its inputs depends on the number of rows"),
        }
    }
    let Some(rows) = found else { return unknown("it concatenates nothing") };
    let first = inputs.first().copied().unwrap_or_default();
    let axis = call.need_axis(1, call.rank(first)?)?;
    if axis == rows.axis {
        return dependent("it concatenates tensors along the dimension of the rows");
    }
    Ok(vec![Dependence::Rows(rows.clone())])
}

pub(super) fn split(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let axis = call.need_axis(0, call.rank(0)?)?;
    let rows = rows_outside(call, "splits", |rows| rows == axis)?;
    Ok(vec![Dependence::Rows(rows); call.output_count()])
}

/// A slice must keep all rows, or slice other axes.
pub(super) fn slice(call: &Call<'_, '_>) -> Outcome {
    let rows = call.need_rows(0)?;
    let rank = call.rank(0)?;
    for input in 1..call.input_count() {
        if !matches!(call.dependence(input), Dependence::Shared | Dependence::Count) {
            return dependent("its slice depends on values of rows");
        }
    }
    let has_known_steps =
        || call.numbers(4).is_some_and(|steps| steps.iter().all(|step| step.int().is_some()));
    if *call.dependence(4) != Dependence::Shared && !has_known_steps() {
        return dependent("its steps depend on the number of rows");
    }
    let list = |attribute: &str, input: usize| match call.ints(attribute) {
        Some(ints) => Some(ints.iter().copied().map(Number::Int).collect::<Vec<_>>()),
        None => call.numbers(input).map(<[Number]>::to_vec),
    };
    let Some((starts, ends)) = list("starts", 1).zip(list("ends", 2)) else {
        return slice_by_axes(call, rows);
    };
    let has_axes = call.ints("axes").is_some() || call.has_input(3);
    let axes = match (list("axes", 3), has_axes) {
        (Some(axes), _) => axes,
        (None, true) => return unknown("the axes that it slices are not known"),
        (None, false) => (0_i64..).take(starts.len()).map(Number::Int).collect(),
    };
    let steps = list("steps", 4);
    for (place, (start, end)) in starts.iter().zip(&ends).enumerate() {
        let axis = axes.get(place).and_then(Number::int).and_then(|axis| dims::axis(axis, rank));
        let Some(axis) = axis else { return unknown("an axis that it slices is not known") };
        if axis != rows.axis {
            if !is_free_of_rows(&start.dim()) && start.int().is_none()
                || !is_free_of_rows(&end.dim()) && end.int().is_none()
            {
                return dependent("its slice depends on the number of rows");
            }
            continue;
        }
        let step = match &steps {
            None if call.has_input(4) => return unknown("its steps are not known"),
            None => 1,
            Some(steps) => steps.get(place).and_then(Number::int).unwrap_or(0),
        };
        match (start, end, step) {
            (Number::Int(0), Number::Int(TO_END..), 1) => {}
            (Number::Int(0), end @ Number::Open(_), 1) => check_all_rows(rows, &end.dim())?,
            _ => return dependent("it keeps only some rows, or reverses them"),
        }
    }
    Ok(vec![Dependence::Rows(rows.clone())])
}

/// A slice with unknown ends, along known axes.
fn slice_by_axes(call: &Call<'_, '_>, rows: &Rows) -> Outcome {
    let rank = call.rank(0)?;
    call.shared_besides(&[0])?;
    match call.list("axes", 3) {
        List::Known(axes)
            if axes
                .iter()
                .all(|axis| dims::axis(*axis, rank).is_some_and(|axis| axis != rows.axis)) =>
        {
            Ok(vec![Dependence::Rows(rows.clone())])
        }
        _ => unknown("whether it keeps all rows is not known"),
    }
}

/// Padding is allowed around other dimensions than that of the rows.
pub(super) fn pad(call: &Call<'_, '_>) -> Outcome {
    let rows = call.need_rows(0)?;
    let rank = call.rank(0)?;
    call.shared(2..call.input_count())?;
    if call.rows(1).is_some() {
        return dependent("its pads differ from row to row");
    }
    let explicit = call.ints("pads").or_else(|| call.ints("paddings"));
    let pads: Option<Vec<Number>> = match explicit {
        Some(pads) => Some(pads.iter().copied().map(Number::Int).collect()),
        None => call.numbers(1).map(<[Number]>::to_vec),
    };
    let Some(pads) = pads else { return unknown("its pads are not known") };
    let is_free = |number: &Number| number.int().is_some() || is_free_of_rows(&number.dim());
    if !pads.iter().all(is_free) {
        return dependent("its pads depend on the number of rows");
    }
    let place = match call.list("axes", 3) {
        List::Absent => Some(rows.axis),
        List::Unknown => return unknown("the axes that it pads are not known"),
        List::Known(axes) => {
            axes.iter().position(|axis| dims::axis(*axis, rank) == Some(rows.axis))
        }
    };
    let Some(place) = place else { return Ok(vec![Dependence::Rows(rows.clone())]) };
    match (pads.get(place), pads.get(place + pads.len() / 2)) {
        (Some(Number::Int(0)), Some(Number::Int(0))) => Ok(vec![Dependence::Rows(rows.clone())]),
        (Some(Number::Int(_)), Some(Number::Int(_))) => {
            dependent("it pads the dimension of the rows")
        }
        _ => unknown("whether it pads the dimension of the rows is not known"),
    }
}

/// Selected entries along an axis, by a mask.
pub(super) fn compress(call: &Call<'_, '_>) -> Outcome {
    if call.rows(1).is_some() {
        return dependent("the entries that it keeps depend on values of rows");
    }
    call.shared([1])?;
    if !call.has_attribute("axis") {
        return dependent("it selects from all rows together");
    }
    let axis = call.need_axis(0, call.rank(0)?)?;
    let rows = rows_outside(call, "keeps some", |rows| rows == axis)?;
    Ok(vec![Dependence::Rows(rows)])
}

/// Axes cropped or padded to sizes: those that are named, or all.
pub(super) fn center(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let rank = call.rank(0)?;
    let named = call.ints("axes").filter(|axes| !axes.is_empty());
    let rows = rows_outside(call, "crops or pads", |rows| {
        named.is_none_or(|axes| axes.iter().any(|axis| dims::axis(*axis, rank) == Some(rows)))
    })?;
    Ok(vec![Dependence::Rows(rows)])
}

/// Axes whose sizes depend on the number of rows.
pub(super) fn row_axes(dims: &[Dim]) -> Vec<usize> {
    (0..dims.len()).filter(|axis| !is_free_of_rows(&dims[*axis])).collect()
}
