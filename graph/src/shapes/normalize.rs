//! Normalization with several outputs.

use super::call::{Call, Inferred};
use super::value::Value;
use crate::{Dim, ElementType};

/// The tensor, and in training each channel's statistics, like the inputs of these.
pub(super) fn batch(call: &Call<'_, '_>) -> Inferred {
    let like = |input: usize| Value::of(call.input(input).kind.clone());
    Some(vec![like(0), like(3), like(4)])
}

/// The tensor, and the mean and inverse deviation of each normalized group.
pub(super) fn layer(call: &Call<'_, '_>) -> Inferred {
    let input = call.input(0);
    let statistics = input.dims().and_then(|dims| {
        let axis = call.axis(-1, dims.len())?;
        let one = |(index, dim): (usize, &Dim)| if index < axis { dim.clone() } else { 1.into() };
        Some(dims.iter().enumerate().map(one).collect())
    });
    let element = call.element_type("stash_type").unwrap_or(ElementType::Float32);
    let statistics = Value::tensor(element, statistics);
    Some(vec![Value::of(input.kind.clone()), statistics.clone(), statistics])
}

/// The tensor, its statistics, and the sum of the first two inputs.
pub(super) fn skip_layer(call: &Call<'_, '_>) -> Inferred {
    let input = call.input(0);
    let statistics = input.dims().and_then(|dims| {
        let (_, outer) = dims.split_last()?;
        Some(outer.iter().cloned().chain([Dim::Fixed(1)]).collect())
    });
    let statistics = Value::tensor(ElementType::Float32, statistics);
    let like = Value::of(input.kind.clone());
    Some(vec![like.clone(), statistics.clone(), statistics, like])
}
