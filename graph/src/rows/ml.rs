//! Classical machine learning: a row of a matrix is an example.

use super::Dependence;
use super::axes::rows_outside;
use super::dependence::{dependent, unknown};
use super::rule::Outcome;
use crate::shapes::call::Call;

/// Operators on each row of a matrix. A vector is a single example of any length.
pub(super) fn examples(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    match call.rank(0)? {
        1 => dependent("it takes a vector as one example"),
        2 => {
            let rows = rows_outside(call, "combines", |rows| rows != 0)?;
            Ok(vec![Dependence::Rows(rows); call.output_count()])
        }
        _ => unknown("it takes more than a matrix"),
    }
}

/// Concatenated columns of several matrices.
pub(super) fn concat_features(call: &Call<'_, '_>) -> Outcome {
    for input in 0..call.input_count() {
        if call.rank(input)? != 2 {
            return dependent("it takes a vector as one example");
        }
    }
    super::batched::batched_inputs(call, &(0..call.input_count()).collect::<Vec<_>>())
}

/// A one-hot row for each category, along a new last axis.
pub(super) fn one_hot(call: &Call<'_, '_>) -> Outcome {
    Ok(vec![Dependence::Rows(call.need_rows(0)?.clone())])
}
