//! String operators.

use super::Dependence;
use super::dependence::dependent;
use super::elementwise::pointwise;
use super::rule::Outcome;
use crate::shapes::call::Call;

/// Strings in one case; with stop words the count changes.
pub(super) fn normalize(call: &Call<'_, '_>) -> Outcome {
    if call.has_attribute("stopwords") {
        return dependent("the number of its strings depends on all rows");
    }
    if call.rank(0)? != 1 {
        return dependent("it takes a vector of strings, or a single row");
    }
    pointwise(call)
}

/// Parts of strings, padded to the longest of all.
pub(super) fn split(_: &Call<'_, '_>) -> Outcome {
    dependent("it pads all rows to the longest")
}

/// Counts of words in each row of a matrix.
pub(super) fn counts(call: &Call<'_, '_>) -> Outcome {
    let rows = call.need_rows(0)?;
    if call.rank(0)? != 2 || rows.axis != 0 {
        return dependent("it takes a vector as one text");
    }
    Ok(vec![Dependence::Rows(rows.clone())])
}
