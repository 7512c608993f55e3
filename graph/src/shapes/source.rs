//! Operators that create tensors, and those that return dimensions.

use super::call::{Call, Inferred};
use super::dims;
use super::numbers;
use super::value::{NUMBERS_MAX, Number, RANK_MAX, Value};
use crate::{Dim, ElementType};

pub(super) fn constant(call: &Call<'_, '_>) -> Inferred {
    let list = |element, count: usize| Value::tensor(element, Some(vec![Dim::Fixed(count as u64)]));
    let value = if let Some(tensor) = call.tensor("value") {
        tensor
    } else if let Some(int) = call.int("value_int") {
        Value::tensor(ElementType::Int64, Some(vec![])).with_numbers(Some(vec![Number::Int(int)]))
    } else if let Some(ints) = call.ints("value_ints") {
        let numbers =
            (ints.len() <= NUMBERS_MAX).then(|| ints.iter().copied().map(Number::Int).collect());
        list(ElementType::Int64, ints.len()).with_numbers(numbers)
    } else if call.has_attribute("value_float") {
        Value::tensor(ElementType::Float32, Some(vec![]))
    } else if let Some(floats) = call.float_list("value_floats") {
        list(ElementType::Float32, floats.len())
    } else if call.has_attribute("value_string") {
        Value::tensor(ElementType::String, Some(vec![]))
    } else if let Some(count) = call.text_count("value_strings") {
        list(ElementType::String, count)
    } else {
        return None;
    };
    Some(vec![value])
}

/// A constant tensor; the input is the shape.
pub(super) fn constant_of_shape(call: &Call<'_, '_>) -> Inferred {
    let value = call.tensor("value");
    let element = value.as_ref().map_or(ElementType::Float32, Value::element);
    let shape = call.numbers(0).filter(|shape| shape.len() <= RANK_MAX);
    let dims: Option<Vec<Dim>> = shape.map(|shape| shape.iter().map(Number::dim).collect());
    let count = dims.as_deref().map(dims::product);
    let numbers = match (value.as_ref().and_then(Value::numbers), count) {
        (Some([number]), Some(Dim::Fixed(count))) => numbers::repeated(number, count),
        _ => None,
    };
    let rank = || match call.dims(0)? {
        [Dim::Fixed(rank)] => usize::try_from(*rank).ok().filter(|rank| *rank <= RANK_MAX),
        _ => None,
    };
    let dims = dims.or_else(|| rank().map(dims::unknown));
    Some(vec![Value::tensor(element, dims).with_numbers(numbers)])
}

/// Dimensions of a tensor, or some of them.
pub(super) fn shape(call: &Call<'_, '_>) -> Inferred {
    let Some(dims) = call.dims(0) else {
        return Some(vec![Value::tensor(ElementType::Int64, Some(dims::unknown(1)))]);
    };
    let rank = i64::try_from(dims.len()).ok()?;
    let index = |attribute: &str, default: i64| {
        let index = call.int(attribute).unwrap_or(default);
        let index = if index < 0 { index.saturating_add(rank) } else { index };
        usize::try_from(index.clamp(0, rank)).ok()
    };
    let (start, end) = (index("start", 0)?, index("end", rank)?);
    let numbers = dims.get(start..end).unwrap_or_default().iter().map(Number::from);
    Some(vec![Value::list(numbers.collect())])
}

/// Number of elements of a tensor.
pub(super) fn size(call: &Call<'_, '_>) -> Inferred {
    let count = call.dims(0).map(|dims| vec![Number::from(&dims::product(dims))]);
    Some(vec![Value::tensor(ElementType::Int64, Some(vec![])).with_numbers(count)])
}

/// Numbers from a start to before a limit, in steps.
pub(super) fn range(call: &Call<'_, '_>) -> Inferred {
    let scalar = |input: usize| match call.numbers(input)? {
        [Number::Int(value)] => Some(i128::from(*value)),
        _ => None,
    };
    let count = scalar(0).zip(scalar(1)).zip(scalar(2)).and_then(|((start, limit), step)| {
        let distance = if step < 0 { start - limit } else { limit - start };
        let step = step.abs();
        (step > 0).then(|| u64::try_from((distance + step - 1) / step).unwrap_or(0))
    });
    let symbol = match [call.numbers(0), call.numbers(1), call.numbers(2)] {
        [Some([Number::Int(0)]), Some([limit]), Some([Number::Int(1)])] => match limit.dim() {
            // The limit may be negative.
            Dim::Computed(size) if !size.is_of_inputs() => Dim::Unknown,
            limit => limit,
        },
        _ => Dim::Unknown,
    };
    let dim = count.map_or(symbol, Dim::Fixed);
    let few = count.and_then(|count| usize::try_from(count).ok());
    let few = few.filter(|count| *count <= NUMBERS_MAX);
    let numbers = few.zip(scalar(0).zip(scalar(2))).map(|(count, (start, step))| {
        let number = |value| i64::try_from(value).map_or(Number::Unknown, Number::Int);
        (0_i128..).take(count).map(|index| number(start + index * step)).collect()
    });
    Some(vec![Value::tensor(call.element(0), Some(vec![dim])).with_numbers(numbers)])
}

/// Random numbers of a shape from an attribute.
pub(super) fn random(call: &Call<'_, '_>) -> Inferred {
    let shape = call.ints("shape")?.iter().map(|size| Number::Int(*size).dim());
    let element = call.element_type("dtype").unwrap_or(ElementType::Float32);
    Some(vec![Value::tensor(element, Some(shape.collect()))])
}

/// A tensor of the input's dimensions, of its type or the attribute's.
pub(super) fn like(call: &Call<'_, '_>) -> Inferred {
    let element = call.element_type("dtype").unwrap_or_else(|| call.element(0));
    Some(vec![Value::tensor(element, call.dims(0).map(<[Dim]>::to_vec))])
}
