//! Operators that rearrange or repeat elements.

use super::call::{Call, Inferred, List};
use super::dims;
use super::numbers;
use super::value::{Number, RANK_MAX, Value};
use crate::Dim;

/// Output with other dimensions and the same elements in the same order.
fn with_same_elements(call: &Call<'_, '_>, dims: Option<Vec<Dim>>) -> Inferred {
    let numbers = call.numbers(0).map(<[Number]>::to_vec);
    Some(vec![Value::tensor(call.element(0), dims).with_numbers(numbers)])
}

pub(super) fn reshape(call: &Call<'_, '_>) -> Inferred {
    let explicit = call.ints("shape").map(|shape| shape.iter().copied().map(Number::Int).collect());
    let shape = explicit.or_else(|| call.numbers(1).map(<[Number]>::to_vec));
    let keeps_zero = call.int("allowzero").unwrap_or(0) != 0;
    let is_open = |number: &Number| matches!(number, Number::Open(_));
    if !keeps_zero && shape.as_ref().is_some_and(|shape: &Vec<Number>| shape.iter().any(is_open)) {
        call.scope().context().exclude_zero();
    }
    let dims = match shape {
        Some(shape) if shape.len() <= RANK_MAX => Some(reshaped(call.dims(0), &shape, keeps_zero)),
        Some(_) => None,
        None => rank_of(call, 1).map(dims::unknown),
    };
    with_same_elements(call, dims)
}

/// Rank of a shape that an input lists: the length of the list.
fn rank_of(call: &Call<'_, '_>, input: usize) -> Option<usize> {
    let [length] = call.dims(input)? else { return None };
    dims::fixed(length).and_then(|rank| usize::try_from(rank).ok()).filter(|rank| *rank <= RANK_MAX)
}

/// Applies a `Reshape`: 0 copies the dimension of the same index, -1 takes the rest.
fn reshaped(from: Option<&[Dim]>, shape: &[Number], keeps_zero: bool) -> Vec<Dim> {
    let copied = |index: usize| shape[index] == Number::Int(0) && !keeps_zero;
    // A number that is no size of the tensor may be 0 or -1 in a run, which mean something else.
    let is_open = |number: &Number| match number {
        Number::Open(Dim::Computed(size)) => !from.is_some_and(|from| size.is_part_of(from)),
        _ => false,
    };
    let dim = |(index, number): (usize, &Number)| match from {
        Some(from) if copied(index) => from.get(index).cloned().unwrap_or(Dim::Unknown),
        None if copied(index) => Dim::Unknown,
        _ if is_open(number) => Dim::Unknown,
        _ => number.dim(),
    };
    let mut dims: Vec<Dim> = shape.iter().enumerate().map(dim).collect();
    let open =
        |number: &Number| matches!(number, Number::Int(-1) | Number::Unknown) || is_open(number);
    let mut holes = (0..shape.len()).filter(|index| open(&shape[*index]));
    if let (Some(from), Some(hole), None) = (from, holes.next(), holes.next()) {
        // Copied dimensions are equal on both sides, even unknown ones.
        let whole =
            from.iter().enumerate().filter(|(index, _)| *index >= shape.len() || !copied(*index));
        let parts = dims.iter().enumerate().filter(|(index, _)| *index != hole && !copied(*index));
        let whole: Vec<Dim> = whole.map(|(_, dim)| dim.clone()).collect();
        let parts: Vec<Dim> = parts.map(|(_, dim)| dim.clone()).collect();
        dims[hole] = dims::quotient(&whole, &parts);
    }
    dims
}

/// A matrix: the dimensions before an axis by those from it on.
pub(super) fn flatten(call: &Call<'_, '_>) -> Inferred {
    let flat = |dims: &[Dim]| {
        // The rank itself is a valid axis.
        let axis = call.int("axis").unwrap_or(1);
        let axis = dims::axis(axis, dims.len() + usize::from(axis >= 0))?;
        let (rows, columns) = dims.split_at_checked(axis)?;
        Some(vec![dims::product(rows), dims::product(columns)])
    };
    with_same_elements(call, Some(call.dims(0).and_then(flat).unwrap_or(dims::unknown(2))))
}

pub(super) fn transpose(call: &Call<'_, '_>) -> Inferred {
    let permuted = |dims: &[Dim]| match call.ints("perm") {
        None => Some(dims.iter().rev().cloned().collect()),
        Some(perm) if perm.len() == dims.len() => {
            perm.iter().map(|axis| dims.get(usize::try_from(*axis).ok()?).cloned()).collect()
        }
        Some(_) => None,
    };
    let numbers = call.input(0).block().and_then(|(sizes, numbers)| {
        let reversed: Vec<i64> = (0..i64::try_from(sizes.len()).ok()?).rev().collect();
        numbers::transposed(numbers, &sizes, call.ints("perm").unwrap_or(&reversed))
    });
    let value = Value::tensor(call.element(0), call.dims(0).and_then(permuted));
    Some(vec![value.with_numbers(numbers)])
}

/// Removes dimensions of one: those that are named, or all.
pub(super) fn squeeze(call: &Call<'_, '_>) -> Inferred {
    let squeezed = |dims: &[Dim]| -> Option<Vec<Dim>> {
        let axes: Vec<usize> = match call.list("axes", 1) {
            List::Known(axes) if !axes.is_empty() => {
                let axes = axes.iter().map(|axis| dims::axis(*axis, dims.len()));
                axes.collect::<Option<_>>()?
            }
            List::Known(_) | List::Absent => {
                let sizes: Vec<u64> = dims.iter().map(dims::fixed).collect::<Option<_>>()?;
                (0..sizes.len()).filter(|axis| sizes[*axis] == 1).collect()
            }
            List::Unknown => return None,
        };
        let kept = dims.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
        Some(kept.map(|(_, dim)| dim.clone()).collect())
    };
    with_same_elements(call, call.dims(0).and_then(squeezed))
}

/// Inserts dimensions of one, at these indices of the output.
pub(super) fn unsqueeze(call: &Call<'_, '_>) -> Inferred {
    let List::Known(axes) = call.list("axes", 1) else { return with_same_elements(call, None) };
    let expanded = |dims: &[Dim]| -> Option<Vec<Dim>> {
        let rank = dims.len() + axes.len();
        if rank > RANK_MAX {
            return None;
        }
        let axes: Vec<usize> =
            axes.iter().map(|axis| dims::axis(*axis, rank)).collect::<Option<_>>()?;
        let mut rest = dims.iter().cloned();
        let dim = |axis| if axes.contains(&axis) { Some(1.into()) } else { rest.next() };
        (0..rank).map(dim).collect()
    };
    with_same_elements(call, call.dims(0).and_then(expanded))
}

pub(super) fn expand(call: &Call<'_, '_>) -> Inferred {
    let shape = call.numbers(1).filter(|shape| shape.len() <= RANK_MAX);
    let shape = shape.map(|shape| shape.iter().map(Number::dim).collect());
    let shape: Option<Vec<Dim>> = shape.or_else(|| rank_of(call, 1).map(dims::unknown));
    let dims = shape.and_then(|shape| Some(dims::broadcast(call.dims(0)?, &shape)));
    let numbers = match (call.numbers(0), dims.as_deref().map(dims::product)) {
        (Some([number]), Some(Dim::Fixed(count))) => numbers::repeated(number, count),
        (Some(numbers), Some(Dim::Fixed(count))) if numbers.len() as u64 == count => {
            Some(numbers.to_vec())
        }
        _ => None,
    };
    Some(vec![Value::tensor(call.element(0), dims).with_numbers(numbers)])
}

pub(super) fn tile(call: &Call<'_, '_>) -> Inferred {
    let repeats = call.numbers(1);
    let dims = call.dims(0).map(|dims| {
        let repeat = |axis| repeats.and_then(|repeats| repeats.get(axis)).map(Number::dim);
        let tiled = |(axis, dim): (usize, &Dim)| {
            dims::product(&[dim.clone(), repeat(axis).unwrap_or(Dim::Unknown)])
        };
        dims.iter().enumerate().map(tiled).collect()
    });
    Some(vec![Value::tensor(call.element(0), dims)])
}

/// Channels become squares of pixels.
pub(super) fn depth_to_space(call: &Call<'_, '_>) -> Inferred {
    blocks(call, |size, block| size.checked_div(block.checked_mul(block)?), u64::checked_mul)
}

/// Squares of pixels become channels.
pub(super) fn space_to_depth(call: &Call<'_, '_>) -> Inferred {
    blocks(call, |size, block| size.checked_mul(block.checked_mul(block)?), u64::checked_div)
}

fn blocks(
    call: &Call<'_, '_>,
    channels: impl Fn(u64, u64) -> Option<u64>,
    sides: impl Fn(u64, u64) -> Option<u64>,
) -> Inferred {
    let block = u64::try_from(call.int("blocksize")?).ok()?;
    let [batch, depth, high, wide] = call.dims(0)? else { return None };
    let size = |size: Option<u64>| size.map_or(Dim::Unknown, Dim::Fixed);
    let side = |dim| size(dims::fixed(dim).and_then(|size| sides(size, block)));
    let depth = size(dims::fixed(depth).and_then(|size| channels(size, block)));
    let dims = vec![batch.clone(), depth, side(high), side(wide)];
    Some(vec![Value::tensor(call.element(0), Some(dims))])
}
