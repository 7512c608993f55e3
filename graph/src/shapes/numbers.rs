//! Arithmetic of small tensors that are propagated by value.

use super::dims;
use super::value::{NUMBERS_MAX, Number, Value};
use crate::size::{divided, term, times};
use crate::{Dim, ElementType};

/// Adds, subtracts, multiplies or divides, by operator.
pub(super) fn arithmetic(operator: &str, a: &Value, b: &Value) -> Option<Vec<Number>> {
    let is_narrow = [a, b].iter().any(|value| value.element() == ElementType::Int32);
    let numbers = unbounded(operator, a, b)?;
    Some(if is_narrow { numbers.into_iter().map(within_32_bits).collect() } else { numbers })
}

/// Returns the number if it surely fits 32 bits; otherwise the operator wraps.
fn within_32_bits(number: Number) -> Number {
    match number {
        Number::Int(value) if i32::try_from(value).is_err() => Number::Unknown,
        Number::Open(Dim::Computed(size)) if !size.is_small() => Number::Unknown,
        number => number,
    }
}

fn unbounded(operator: &str, a: &Value, b: &Value) -> Option<Vec<Number>> {
    broadcast(a, b, |a, b| match (operator, a, b) {
        ("Add", Number::Int(0), other) | ("Add" | "Sub", other, Number::Int(0)) => other.clone(),
        ("Mul", Number::Int(1), other) | ("Mul" | "Div", other, Number::Int(1)) => other.clone(),
        (_, Number::Int(a), Number::Int(b)) => {
            let number = match operator {
                "Add" => a.checked_add(*b),
                "Sub" => a.checked_sub(*b),
                "Mul" => a.checked_mul(*b),
                "Div" => a.checked_div(*b),
                _ => None,
            };
            number.map_or(Number::Unknown, Number::Int)
        }
        ("Mul", Number::Open(_) | Number::Int(_), Number::Open(_) | Number::Int(_))
            if !is_negative(a) && !is_negative(b) =>
        {
            Number::from(&times(&a.dim(), &b.dim()))
        }
        ("Div", Number::Open(_), Number::Int(1..))
            if divided(&a.dim(), &b.dim()) != Dim::Unknown =>
        {
            Number::from(&divided(&a.dim(), &b.dim()))
        }
        ("Add", ..) if !is_negative(a) && !is_negative(b) => {
            Number::from(&dims::sum(&a.dim(), &b.dim()))
        }
        _ => opaque(operator, a, b),
    })
}

fn is_negative(number: &Number) -> bool {
    matches!(number, Number::Int(..0))
}

/// Makes the opaque result of an operation on two numbers.
fn opaque(operation: &str, a: &Number, b: &Number) -> Number {
    Number::from(&match (a, b) {
        (Number::Int(value @ ..0), b) => term(&format!("{value} {operation}"), &[&b.dim()]),
        (a, Number::Int(value @ ..0)) => term(&format!("{operation} {value}"), &[&a.dim()]),
        (a, b) => term(operation, &[&a.dim(), &b.dim()]),
    })
}

/// 1 where the comparison holds, else 0.
pub(super) fn compared(operator: &str, a: &Value, b: &Value) -> Option<Vec<Number>> {
    broadcast(a, b, |a, b| {
        if let ("Equal", Number::Open(Dim::Computed(size)), Number::Int(..0)) = (operator, a, b)
            && size.is_of_inputs()
        {
            return Number::Int(0);
        }
        let (Some(a), Some(b)) = (a.int(), b.int()) else { return opaque(operator, a, b) };
        let holds = match operator {
            "Equal" => a == b,
            "Less" => a < b,
            "LessOrEqual" => a <= b,
            "Greater" => a > b,
            "GreaterOrEqual" => a >= b,
            "And" => a != 0 && b != 0,
            "Or" => a != 0 || b != 0,
            _ => (a != 0) != (b != 0),
        };
        Number::Int(i64::from(holds))
    })
}

/// Elements of `a` where the condition holds, else of `b`.
pub(super) fn selected(condition: &Value, a: &Value, b: &Value) -> Option<Vec<Number>> {
    let all = [condition.numbers()?, a.numbers()?, b.numbers()?];
    let count = all.iter().map(|numbers| numbers.len()).max()?;
    let at = |which: usize, index| number(all[which], index, count);
    (0..count)
        .map(|index| {
            let (a, b) = (at(1, index)?, at(2, index)?);
            Some(match at(0, index)? {
                Number::Int(0) => b.clone(),
                Number::Int(_) => a.clone(),
                _ if a == b => a.clone(),
                _ => Number::Unknown,
            })
        })
        .collect()
}

/// Negates booleans.
pub(super) fn negated(numbers: &[Number]) -> Vec<Number> {
    let negated = |number: &Number| number.int().map(|value| Number::Int(i64::from(value == 0)));
    numbers.iter().map(|number| negated(number).unwrap_or(Number::Unknown)).collect()
}

/// Casts numbers; only integers and booleans are propagated.
pub(super) fn cast(numbers: &[Number], element: ElementType) -> Option<Vec<Number>> {
    let cast = |number: &Number| match (number, element) {
        (Number::Int(value), ElementType::Bool) => Number::Int(i64::from(*value != 0)),
        (Number::Int(value), ElementType::Int32) => {
            i32::try_from(*value).map_or(Number::Unknown, |value| Number::Int(i64::from(value)))
        }
        (number, ElementType::Int32 | ElementType::Int64) => number.clone(),
        _ => Number::Unknown,
    };
    let followed = matches!(element, ElementType::Bool | ElementType::Int32 | ElementType::Int64);
    followed.then(|| numbers.iter().map(cast).collect())
}

/// Permutes the axes of a tensor of these dimensions.
pub(super) fn transposed(numbers: &[Number], sizes: &[usize], perm: &[i64]) -> Option<Vec<Number>> {
    if numbers.is_empty() {
        return Some(Vec::new());
    }
    // No product exceeds the count of numbers.
    let stride = |axis: usize| Some(sizes.get(axis + 1..)?.iter().product::<usize>());
    let axes: Vec<usize> =
        perm.iter().map(|axis| usize::try_from(*axis).ok()).collect::<Option<_>>()?;
    // Source index of each output element, built axis by axis.
    let mut from = vec![0_usize];
    for axis in axes {
        let (size, stride) = (*sizes.get(axis)?, stride(axis)?);
        if from.len().checked_mul(size)? > NUMBERS_MAX {
            return None;
        }
        let along = |start: usize| (0..size).map(move |step| start + step * stride);
        from = from.into_iter().flat_map(along).collect();
    }
    from.into_iter().map(|index| numbers.get(index).cloned()).collect()
}

/// Repeats one number.
pub(super) fn repeated(number: &Number, count: u64) -> Option<Vec<Number>> {
    let count = usize::try_from(count).ok().filter(|count| *count <= NUMBERS_MAX)?;
    Some(vec![number.clone(); count])
}

fn broadcast(
    a: &Value,
    b: &Value,
    number_of: impl Fn(&Number, &Number) -> Number,
) -> Option<Vec<Number>> {
    let (a, b) = (a.numbers()?, b.numbers()?);
    let count = a.len().max(b.len());
    let pair = |index| Some(number_of(number(a, index, count)?, number(b, index, count)?));
    (0..count).map(pair).collect()
}

/// Number at an index among `count`; a single one is repeated. Other broadcasts are not followed.
fn number(numbers: &[Number], index: usize, count: usize) -> Option<&Number> {
    match numbers {
        [scalar] => Some(scalar),
        many if many.len() == count => many.get(index),
        _ => None,
    }
}
