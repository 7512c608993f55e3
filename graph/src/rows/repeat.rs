//! Operators that repeat elements, by counts that may depend on the number of rows.

use super::Dependence;
use super::dependence::{Rows, dependent, unknown};
use super::parts::row_axes;
use super::rule::Outcome;
use crate::Dim;
use crate::shapes::call::Call;
use crate::shapes::value::Number;
use crate::size::{is_free_of_rows, row_block};

/// Broadcasts dimensions of one. A shared value becomes identical rows.
pub(super) fn expand(call: &Call<'_, '_>) -> Outcome {
    let Some((from, shape)) = call.dims(0).zip(call.numbers(1)) else {
        return unknown("its output shape is not known");
    };
    let rank = from.len().max(shape.len());
    let target: Vec<Dim> = shape.iter().map(Number::dim).collect();
    let of_target = |axis: usize| {
        (axis + target.len()).checked_sub(rank).map_or(&Dim::Fixed(1), |axis| &target[axis])
    };
    let stretches: Vec<usize> =
        (0..rank).filter(|axis| !is_free_of_rows(of_target(*axis))).collect();
    match (call.dependence(0), stretches.as_slice()) {
        (Dependence::Rows(rows), axes) => {
            let axis = rows.axis + rank - from.len();
            let along = of_target(axis);
            let keeps = *along == Dim::Fixed(1) || *along == rows.size();
            if keeps && axes.iter().all(|other| *other == axis) {
                Ok(vec![rows.at(axis)])
            } else {
                dependent("it broadcasts rows over other rows")
            }
        }
        (Dependence::Shared, [axis]) => {
            let along = (axis + from.len()).checked_sub(rank).map(|axis| &from[axis]);
            match (row_block(of_target(*axis)), along) {
                (Some(block), None | Some(Dim::Fixed(1))) => {
                    Ok(vec![Dependence::Rows(Rows::once(*axis, block))])
                }
                _ => dependent("it broadcasts fixed values over rows"),
            }
        }
        _ => dependent("one of its inputs depends on the number of rows"),
    }
}

/// A constant tensor of a shape with rows.
pub(super) fn constant_of_shape(call: &Call<'_, '_>) -> Outcome {
    let Some(shape) = call.numbers(0) else {
        return unknown("its output shape is not known");
    };
    let dims: Vec<Dim> = shape.iter().map(Number::dim).collect();
    match row_axes(&dims).as_slice() {
        [axis] => match row_block(&dims[*axis]) {
            Some(block) => Ok(vec![Dependence::Rows(Rows::once(*axis, block))]),
            None => dependent("its output shape depends on the number of rows"),
        },
        _ => dependent("its output shape depends on the number of rows"),
    }
}

/// Repeats along each axis.
pub(super) fn tile(call: &Call<'_, '_>) -> Outcome {
    let (Some(dims), Some(repeats)) = (call.dims(0), call.numbers(1)) else {
        return unknown("how often it repeats is not known");
    };
    let repeats: Vec<Dim> = repeats.iter().map(Number::dim).collect();
    let by_rows = row_axes(&repeats);
    match (call.dependence(0), by_rows.as_slice()) {
        (Dependence::Rows(rows), []) => match repeats.get(rows.axis) {
            Some(Dim::Fixed(1)) => Ok(vec![Dependence::Rows(rows.clone())]),
            _ => dependent("it repeats the rows one after the other"),
        },
        (Dependence::Shared, [axis]) => match (row_block(&repeats[*axis]), dims.get(*axis)) {
            (Some(block), Some(dim)) => {
                let block = crate::size::times(&block, dim);
                Ok(vec![Dependence::Rows(Rows::once(*axis, block))])
            }
            _ => dependent("it repeats by the number of rows"),
        },
        _ => dependent("it repeats by the number of rows"),
    }
}

/// Numbers from a start to a limit, which are those of rows if the limit is their number.
pub(super) fn range(_: &Call<'_, '_>) -> Outcome {
    dependent("its numbers depend on values of rows")
}
