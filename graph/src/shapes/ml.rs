//! Classical machine learning.

use super::call::{Call, Inferred};
use super::dims;
use super::value::{ANY, Value};
use crate::{Dim, ElementType};

/// Floats with the input's dimensions.
pub(super) fn scaled(call: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::tensor(ElementType::Float32, call.dims(0).map(<[Dim]>::to_vec))])
}

/// Columns, by index.
pub(super) fn features(call: &Call<'_, '_>) -> Inferred {
    let dims = call.dims(0).and_then(|dims| {
        let (_, outer) = dims.split_last()?;
        let indices = dims::product(call.dims(1)?);
        // A vector becomes a matrix of one row.
        let outer = if outer.is_empty() { &[Dim::Fixed(1)] } else { outer };
        Some(outer.iter().cloned().chain([indices]).collect())
    });
    Some(vec![Value::tensor(call.element(0), dims)])
}

/// A label for each row, and a score for each row and class.
pub(super) fn classification(call: &Call<'_, '_>) -> Inferred {
    // The names of the attributes differ from operator to operator.
    let strings = ["classlabels_strings", "classlabels_string"];
    let strings = strings.iter().find_map(|name| call.text_count(name)).filter(|count| *count > 0);
    let numbers = ["classlabels_ints", "classlabels_int64s"];
    let numbers = numbers.iter().find_map(|name| call.ints(name)).map(<[i64]>::len);
    let label = match (strings, numbers) {
        (Some(_), _) => ElementType::String,
        (None, Some(_)) => ElementType::Int64,
        (None, None) => ANY,
    };
    let scores = strings.or(numbers).and_then(|classes| scores(call, classes as u64));
    let rows = match call.dims(0) {
        Some([rows, _]) => rows.clone(),
        Some([_]) => Dim::Fixed(1),
        _ => Dim::Unknown,
    };
    let labels = Value::tensor(label, Some(vec![rows.clone()]));
    Some(vec![
        labels,
        Value::tensor(
            ElementType::Float32,
            Some(vec![rows, scores.map_or(Dim::Unknown, Dim::Fixed)]),
        ),
    ])
}

/// Number of scores for this many classes.
fn scores(call: &Call<'_, '_>, classes: u64) -> Option<u64> {
    let count = |attribute: &str| call.float_list(attribute).map_or(0, <[f32]>::len) as u64;
    let has_score_a_class = match call.operator() {
        "LinearClassifier" => count("intercepts") == classes,
        // Without probabilities, runtimes report pairwise votes differently.
        "SVMClassifier" => count("prob_a") > 0,
        _ => true,
    };
    has_score_a_class.then_some(classes)
}

/// Targets for each example: their number is an attribute, or one.
pub(super) fn regression(call: &Call<'_, '_>) -> Inferred {
    let explicit = call.int("n_targets").or_else(|| call.int("targets"));
    let targets = u64::try_from(explicit.unwrap_or(1)).ok()?;
    Some(vec![Value::tensor(ANY, Some(vec![examples(call), targets.into()]))])
}

/// Number of examples: rows of a matrix, one for a vector.
fn examples(call: &Call<'_, '_>) -> Dim {
    match call.dims(0) {
        Some([rows, _]) => rows.clone(),
        Some([_]) => Dim::Fixed(1),
        _ => Dim::Unknown,
    }
}

/// A new last dimension, with one entry for each category.
pub(super) fn one_hot(call: &Call<'_, '_>) -> Inferred {
    let strings = call.text_count("cats_strings");
    let categories = strings.or_else(|| call.ints("cats_int64s").map(<[i64]>::len));
    let last = categories.map_or(Dim::Unknown, |count| Dim::Fixed(count as u64));
    let dims = call.dims(0).map(|dims| dims.iter().cloned().chain([last]).collect());
    Some(vec![Value::tensor(ElementType::Float32, dims)])
}

/// Concatenated columns of several matrices.
pub(super) fn concat_features(call: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::tensor(ElementType::Float32, Some(vec![examples(call), Dim::Unknown]))])
}

/// Counts of n-grams: one more than the largest index.
pub(super) fn ngram_counts(call: &Call<'_, '_>) -> Inferred {
    let indices = call.ints("ngram_indexes").and_then(|indices| indices.iter().max());
    let count = indices.and_then(|index| u64::try_from(*index).ok()?.checked_add(1));
    let count = count.map_or(Dim::Unknown, Dim::Fixed);
    let (_, outer) = call.dims(0)?.split_last()?;
    let dims = outer.iter().cloned().chain([count]).collect();
    Some(vec![Value::tensor(ElementType::Float32, Some(dims))])
}
