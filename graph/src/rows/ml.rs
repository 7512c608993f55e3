//! Operators of classical machine learning: a row of a matrix is an example.

use super::Dependence;
use super::axes::apart;
use super::dependence::{touch, unclear};
use super::rule::Outcome;
use crate::shapes::call::Call;

/// Each row of a matrix alone. A vector is a lone example, whatever its length.
pub(super) fn examples(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    match call.rank(0)? {
        1 => touch("it takes a vector as one example"),
        2 => {
            let rows = apart(call, "weighs", |rows| rows != 0)?;
            Ok(vec![Dependence::Rows(rows); call.output_count()])
        }
        _ => unclear("it takes more than a matrix"),
    }
}

/// Columns of several matrices side by side.
pub(super) fn side_by_side(call: &Call<'_, '_>) -> Outcome {
    for input in 0..call.input_count() {
        if call.rank(input)? != 2 {
            return touch("it takes a vector as one example");
        }
    }
    super::window::pairs_of_batches(call, &(0..call.input_count()).collect::<Vec<_>>())
}

/// A row of one and zeros for each category, along a new last axis.
pub(super) fn one_hot(call: &Call<'_, '_>) -> Outcome {
    Ok(vec![Dependence::Rows(call.need_rows(0)?.clone())])
}
