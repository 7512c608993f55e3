//! Operators of which mainly the rank is inferred.

use super::call::{Call, Inferred};
use super::dims;
use super::value::{ANY, Number, Value};
use crate::{Dim, ElementType};

/// Dimensions of the first input; elements of another type.
pub(super) fn unknown_elements(call: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::tensor(ANY, call.dims(0).map(<[Dim]>::to_vec))])
}

/// Rank and first dimension of the first input.
pub(super) fn same_rank(call: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::tensor(call.element(0), call.dims(0).map(outer))])
}

fn outer(dims: &[Dim]) -> Vec<Dim> {
    let dim = |(axis, dim): (usize, &Dim)| if axis == 0 { dim.clone() } else { Dim::Unknown };
    dims.iter().enumerate().map(dim).collect()
}

/// Dimensions of the first input, but for the last.
pub(super) fn unknown_last_dim(call: &Call<'_, '_>) -> Inferred {
    let dims = call.dims(0).map(|dims| {
        let mut dims = dims.to_vec();
        dims.last_mut().into_iter().for_each(|last| *last = Dim::Unknown);
        dims
    });
    Some(vec![Value::tensor(call.element(0), dims)])
}

/// ONNX's attention: output, present keys and values, and the products.
pub(super) fn attention(call: &Call<'_, '_>) -> Inferred {
    let queries = call.dims(0)?;
    let found = match (queries, call.dims(2)) {
        ([batch, heads, steps, _], Some([_, _, _, size])) => {
            vec![batch.clone(), heads.clone(), steps.clone(), size.clone()]
        }
        ([batch, steps, _], _) => vec![batch.clone(), steps.clone(), Dim::Unknown],
        _ => return None,
    };
    let batch = found[0].clone();
    let four = || Some(vec![batch.clone(), Dim::Unknown, Dim::Unknown, Dim::Unknown]);
    let other = || Value::tensor(call.element(0), four());
    Some(vec![Value::tensor(call.element(0), Some(found)), other(), other(), other()])
}

/// ONNX Runtime's attention: tokens, and present keys and values.
pub(super) fn ort_attention(call: &Call<'_, '_>) -> Inferred {
    let [batch, steps, ..] = call.dims(0)? else { return None };
    let found = vec![batch.clone(), steps.clone(), Dim::Unknown];
    let state = |rank| Value::tensor(call.element(0), Some(dims::unknown(rank)));
    let states = match call.operator() {
        "Attention" | "QAttention" => vec![state(5)],
        _ => vec![state(4), state(4)],
    };
    Some([vec![Value::tensor(call.element(0), Some(found))], states].concat())
}

/// Embedded tokens, and their counts.
pub(super) fn embed_layer_norm(call: &Call<'_, '_>) -> Inferred {
    let [batch, steps] = call.dims(0)? else { return None };
    let size = call.dims(2).and_then(<[Dim]>::last).cloned().unwrap_or(Dim::Unknown);
    let found = vec![batch.clone(), steps.clone(), size];
    let found = Value::tensor(call.element(2), Some(found));
    let counts = Value::tensor(ElementType::Int32, Some(vec![batch.clone()]));
    Some(vec![found.clone(), counts, found])
}

/// Sampled points of images.
pub(super) fn grid_sample(call: &Call<'_, '_>) -> Inferred {
    let ([batch, channels, ..], [_, points @ .., _]) = (call.dims(0)?, call.dims(1)?) else {
        return None;
    };
    let dims = [batch.clone(), channels.clone()].into_iter().chain(points.iter().cloned());
    Some(vec![Value::tensor(call.element(0), Some(dims.collect()))])
}

/// A grid for images of a shape whose second dimension is channels.
pub(super) fn affine_grid(call: &Call<'_, '_>) -> Inferred {
    let shape: Vec<Dim> = call.numbers(1)?.iter().map(Number::dim).collect();
    let (batch, sides) = (shape.first()?, shape.get(2..)?);
    let dims = [batch.clone()].into_iter().chain(sides.iter().cloned());
    let dims = dims.chain([Dim::Fixed(sides.len() as u64)]).collect();
    Some(vec![Value::tensor(call.element(0), Some(dims))])
}

/// A transform along an axis, whose size is not inferred.
pub(super) fn dft(call: &Call<'_, '_>) -> Inferred {
    let dims = call.dims(0).map(|dims| {
        let mut dims = outer(dims);
        dims.last_mut().into_iter().for_each(|last| *last = Dim::Unknown);
        dims
    });
    // The first dimension may be transformed.
    let dims = dims.map(|dims| dims::unknown(dims.len()));
    Some(vec![Value::tensor(call.element(0), dims)])
}

/// Transforms of frames of a signal.
pub(super) fn stft(call: &Call<'_, '_>) -> Inferred {
    let batch = call.dims(0)?.first()?.clone();
    let dims = vec![batch, Dim::Unknown, Dim::Unknown, Dim::Fixed(2)];
    Some(vec![Value::tensor(call.element(0), Some(dims))])
}

/// One number for each square matrix.
pub(super) fn determinant(call: &Call<'_, '_>) -> Inferred {
    let dims = call.dims(0)?;
    let outer = dims.get(..dims.len().checked_sub(2)?)?;
    Some(vec![Value::tensor(call.element(0), Some(outer.to_vec()))])
}

/// Images from patches; the second input holds their sides.
pub(super) fn col2im(call: &Call<'_, '_>) -> Inferred {
    let batch = call.dims(0)?.first()?.clone();
    let [Dim::Fixed(sides)] = call.dims(1)? else { return None };
    let sides = usize::try_from(*sides).ok().filter(|sides| *sides <= 4)?;
    let dims = [vec![batch], dims::unknown(1 + sides)].concat();
    Some(vec![Value::tensor(call.element(0), Some(dims))])
}

/// Selected entries along an axis, or of the whole tensor.
pub(super) fn compress(call: &Call<'_, '_>) -> Inferred {
    let dims = match call.has_attribute("axis") {
        false => Some(dims::unknown(1)),
        true => call.dims(0).and_then(|dims| {
            let mut dims = dims.to_vec();
            let axis = call.axis(0, dims.len())?;
            dims[axis] = Dim::Unknown;
            Some(dims)
        }),
    };
    Some(vec![Value::tensor(call.element(0), dims)])
}

/// Axes cropped or padded to sizes.
pub(super) fn center_crop_pad(call: &Call<'_, '_>) -> Inferred {
    let dims = call.dims(0).map(|dims| {
        let named = call.ints("axes").filter(|axes| !axes.is_empty());
        let is_named = |axis: usize| {
            named.is_none_or(|axes| {
                axes.iter().any(|named| dims::axis(*named, dims.len()) == Some(axis))
            })
        };
        let dim = |(axis, dim): (usize, &Dim)| {
            if is_named(axis) { Dim::Unknown } else { dim.clone() }
        };
        dims.iter().enumerate().map(dim).collect()
    });
    Some(vec![Value::tensor(call.element(0), dims)])
}

/// The loss of each example; for cross entropy also the log probabilities.
pub(super) fn loss(call: &Call<'_, '_>) -> Inferred {
    let each = call.text("reduction") == "none";
    let dims = if each { call.dims(1).map(<[Dim]>::to_vec) } else { Some(vec![]) };
    Some(vec![Value::tensor(call.element(0), dims), Value::of(call.input(0).kind.clone())])
}

/// Distances of the rows of two matrices.
pub(super) fn distances(call: &Call<'_, '_>) -> Inferred {
    let ([a, _], [b, _]) = (call.dims(0)?, call.dims(1)?) else { return None };
    Some(vec![Value::tensor(call.element(0), Some(vec![a.clone(), b.clone()]))])
}

/// A matrix, quantized.
pub(super) fn unknown_matrix(_: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::tensor(ANY, Some(dims::unknown(2)))])
}

/// Entries of a table for each index.
pub(super) fn gather_quantized(call: &Call<'_, '_>) -> Inferred {
    let (indices, table) = (call.dims(1)?, call.dims(0)?);
    let rest = dims::unknown(table.len().checked_sub(1)?);
    Some(vec![Value::tensor(call.element(2), Some([indices.to_vec(), rest].concat()))])
}

/// Rank of the third input, the first of those that are concatenated.
pub(super) fn concat_quantized(call: &Call<'_, '_>) -> Inferred {
    let rank = call.dims(2)?.len();
    Some(vec![Value::tensor(call.element(1), Some(dims::unknown(rank)))])
}
