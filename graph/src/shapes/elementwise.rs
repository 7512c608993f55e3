//! Elementwise operators.

use super::call::{Call, Inferred};
use super::dims;
use super::numbers;
use super::value::{ANY, Value};
use crate::{Dim, ElementType};

/// Output like the first input.
pub(super) fn same(call: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::of(call.input(0).kind.clone())])
}

pub(super) fn identity(call: &Call<'_, '_>) -> Inferred {
    Some(vec![call.input(0).clone()])
}

/// Output like the input, and a mask of its elements.
pub(super) fn dropout(call: &Call<'_, '_>) -> Inferred {
    let input = call.input(0);
    let mask = Value::tensor(ElementType::Bool, input.dims().map(<[Dim]>::to_vec));
    Some(vec![Value::of(input.kind.clone()), mask])
}

/// A boolean for each element.
pub(super) fn predicate(call: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::tensor(ElementType::Bool, call.dims(0).map(<[Dim]>::to_vec))])
}

pub(super) fn not(call: &Call<'_, '_>) -> Inferred {
    let numbers = call.numbers(0).map(numbers::negated);
    let outputs = predicate(call)?;
    Some(outputs.into_iter().map(|value| value.with_numbers(numbers.clone())).collect())
}

/// All inputs, broadcast to each other.
pub(super) fn broadcast(call: &Call<'_, '_>) -> Inferred {
    let inputs: Vec<usize> = (0..call.input_count()).collect();
    Some(vec![Value::tensor(element(call, &inputs), broadcast_dims(call, &inputs))])
}

/// Two quantized inputs, each with its scale and zero point, broadcast.
pub(super) fn broadcast_quantized(call: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::tensor(element(call, &[0, 3]), broadcast_dims(call, &[0, 3]))])
}

/// A condition and two quantized tensors, each with its scale and zero point.
pub(super) fn where_quantized(call: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::tensor(element(call, &[1, 4]), broadcast_dims(call, &[0, 1, 4]))])
}

pub(super) fn arithmetic(call: &Call<'_, '_>) -> Inferred {
    let numbers = numbers::arithmetic(call.operator(), call.input(0), call.input(1));
    let outputs = broadcast(call)?;
    Some(outputs.into_iter().map(|value| value.with_numbers(numbers.clone())).collect())
}

pub(super) fn compare(call: &Call<'_, '_>) -> Inferred {
    let numbers = numbers::compared(call.operator(), call.input(0), call.input(1));
    let value = Value::tensor(ElementType::Bool, broadcast_dims(call, &[0, 1]));
    Some(vec![value.with_numbers(numbers)])
}

pub(super) fn where_(call: &Call<'_, '_>) -> Inferred {
    let numbers = numbers::selected(call.input(0), call.input(1), call.input(2));
    let value = Value::tensor(element(call, &[1, 2]), broadcast_dims(call, &[0, 1, 2]));
    Some(vec![value.with_numbers(numbers)])
}

pub(super) fn cast(call: &Call<'_, '_>) -> Inferred {
    converted(call, call.element_type("to").unwrap_or(ANY))
}

pub(super) fn cast_like(call: &Call<'_, '_>) -> Inferred {
    converted(call, call.element(1))
}

fn converted(call: &Call<'_, '_>, element: ElementType) -> Inferred {
    let input = call.input(0);
    let numbers = input.numbers().and_then(|numbers| numbers::cast(numbers, element));
    let value = Value::tensor(element, input.dims().map(<[Dim]>::to_vec));
    Some(vec![value.with_numbers(numbers)])
}

/// Common element type of these inputs.
fn element(call: &Call<'_, '_>, inputs: &[usize]) -> ElementType {
    let known = inputs.iter().map(|input| call.element(*input)).find(|element| *element != ANY);
    known.unwrap_or(ANY)
}

/// Broadcast dimensions of these inputs.
fn broadcast_dims(call: &Call<'_, '_>, inputs: &[usize]) -> Option<Vec<Dim>> {
    // Before version 7, the second input was fitted to the first.
    if call.has_attribute("broadcast") {
        return call.dims(0).map(<[Dim]>::to_vec);
    }
    let (first, others) = inputs.split_first()?;
    others.iter().try_fold(call.dims(*first)?.to_vec(), |all, input| {
        let dims = call.dims(*input)?;
        Some(if all == dims { all } else { dims::broadcast(&all, dims) })
    })
}
