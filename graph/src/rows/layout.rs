//! Operators that rearrange elements.

use super::Dependence;
use super::dependence::{Problem, Rows, dependent, unknown};
use super::rule::Outcome;
use crate::Dim;
use crate::shapes::call::{Call, List};
use crate::shapes::dims;
use crate::shapes::scope::kinds;
use crate::shapes::value::Number;
use crate::size::{divided, is_free_of_rows, row_block, times};

/// Other dimensions for the same elements in the same order.
///
/// Rows stay rows if as much lies outside of them as before. Then the entries of a row are
/// contiguous again.
pub(super) fn reshape(call: &Call<'_, '_>) -> Outcome {
    // The shape may depend on the number of rows.
    if !matches!(call.dependence(1), Dependence::Shared | Dependence::Count) {
        return dependent("its output shape depends on values of rows");
    }
    let rows = call.need_rows(0)?;
    let Some(from) = call.dims(0) else {
        return unknown("the dimensions of its input are not known");
    };
    // One size may be inferred from the rest; the others must not depend on the number of rows.
    if call.numbers(1).is_some_and(|shape| shape.contains(&Number::Unknown)) {
        return unknown("its output shape is not known");
    }
    let made = kinds(call);
    let Some(to) = made.first().and_then(|made| made.dims()) else {
        return unknown("the rank of its output is not known");
    };
    reshaped_rows(rows, from, to)
}

/// Finds the rows of a tensor of dimensions `from` after a reshape to `to`.
fn reshaped_rows(rows: &Rows, from: &[Dim], to: &[Dim]) -> Outcome {
    let outside = times(&dims::product(&from[..rows.axis]), &rows.outer);
    let mut before = Dim::Fixed(1);
    for (axis, dim) in to.iter().enumerate() {
        if let Some(inside) = row_block(dim) {
            if before == Dim::Unknown || outside == Dim::Unknown {
                return unknown("where its rows are in its output shape is not known");
            }
            // What lay outside of the rows is still outside, in this dimension or before it.
            let outer = divided(&outside, &before);
            let block = divided(&inside, &outer);
            return match (&outer, &block) {
                (Dim::Unknown, _) | (_, Dim::Unknown) => {
                    dependent("it cuts rows into pieces and mixes them")
                }
                _ => Ok(vec![Dependence::Rows(Rows { axis, outer, block })]),
            };
        }
        before = dims::product(&[before, dim.clone()]);
    }
    if to.contains(&Dim::Unknown) {
        unknown("where its rows are in its output shape is not known")
    } else {
        dependent("its output shape is for a fixed number of rows")
    }
}

/// A matrix: the dimensions before an axis by those after it.
pub(super) fn flatten(call: &Call<'_, '_>) -> Outcome {
    reshape(call)
}

pub(super) fn transpose(call: &Call<'_, '_>) -> Outcome {
    let rows = call.need_rows(0)?;
    let rank = call.rank(0)?;
    let axis = match call.ints("perm") {
        None => (rank - 1).checked_sub(rows.axis),
        Some(perm) => perm.iter().position(|axis| usize::try_from(*axis) == Ok(rows.axis)),
    };
    match axis {
        Some(axis) => Ok(vec![rows.at(axis)]),
        None => unknown("its order of axes is not known"),
    }
}

pub(super) fn squeeze(call: &Call<'_, '_>) -> Outcome {
    let rows = call.need_rows(0)?;
    let rank = call.rank(0)?;
    let axes: Vec<usize> = match call.list("axes", 1) {
        List::Known(axes) if !axes.is_empty() => axes
            .iter()
            .map(|axis| dims::axis(*axis, rank))
            .collect::<Option<_>>()
            .map_or_else(|| unknown("an axis is out of range"), Ok)?,
        List::Known(_) | List::Absent => {
            return unknown("it removes all dimensions of 1, that of the rows too");
        }
        List::Unknown => return unknown("its axes are not known"),
    };
    if axes.contains(&rows.axis) {
        return dependent("it removes the dimension of the rows");
    }
    let before = axes.iter().filter(|axis| **axis < rows.axis).count();
    Ok(vec![rows.at(rows.axis - before)])
}

pub(super) fn unsqueeze(call: &Call<'_, '_>) -> Outcome {
    let rows = call.need_rows(0)?;
    let List::Known(axes) = call.list("axes", 1) else { return unknown("its axes are not known") };
    let rank = call.rank(0)? + axes.len();
    let axes: Vec<usize> = axes
        .iter()
        .map(|axis| dims::axis(*axis, rank))
        .collect::<Option<_>>()
        .map_or_else(|| unknown("an axis is out of range"), Ok)?;
    let kept = (0..rank).filter(|axis| !axes.contains(axis));
    match kept.into_iter().nth(rows.axis) {
        Some(axis) => Ok(vec![rows.at(axis)]),
        None => unknown("its axes are out of range"),
    }
}

/// Resizing keeps an axis if its factor is one, or its size the same.
pub(super) fn resize(call: &Call<'_, '_>) -> Outcome {
    let rows = call.need_rows(0)?;
    let rank = call.rank(0)?;
    if !matches!(call.text("keep_aspect_ratio_policy"), "" | "stretch") {
        return unknown("sizes in proportion are not analysed");
    }
    if call.text("coordinate_transformation_mode") == "tf_crop_and_resize" {
        return unknown("it resizes a part of the tensor");
    }
    call.shared([1, 2])?;
    let place = match call.ints("axes").filter(|axes| !axes.is_empty()) {
        None => Some(rows.axis),
        Some(axes) => axes.iter().position(|axis| dims::axis(*axis, rank) == Some(rows.axis)),
    };
    if *call.dependence(3) != Dependence::Shared {
        // Only the size of the rows may depend on their number.
        let sizes = call.numbers(3).unwrap_or(&[Number::Unknown]).iter().enumerate();
        let mut others = sizes.filter(|(at, _)| Some(*at) != place);
        if !others.all(|(_, size)| is_free_of_rows(&size.dim())) {
            return dependent("its sizes depend on the number of rows");
        }
    }
    let Some(place) = place else { return Ok(vec![Dependence::Rows(rows.clone())]) };
    let keeps = if call.has_input(3) {
        let size = call.numbers(3).and_then(|sizes| sizes.get(place));
        size.map(|size| size.dim() == rows.size())
    } else {
        let scales = match call.float_list("scales") {
            Some(scales) => Some(scales.to_vec()),
            None => call.floats(if call.input_count() == 2 { 1 } else { 2 }),
        };
        scales.and_then(|scales| scales.get(place).map(|scale| *scale == 1.0))
    };
    match keeps {
        Some(true) => Ok(vec![Dependence::Rows(rows.clone())]),
        Some(false) => dependent("it resizes the dimension of the rows"),
        None => unknown("how it resizes the dimension of the rows is not known"),
    }
}

/// Checks that a dimension holds all rows.
pub(super) fn check_all_rows(rows: &Rows, dim: &Dim) -> Result<(), Problem> {
    if *dim == rows.size() { Ok(()) } else { dependent("it keeps only some rows") }
}
