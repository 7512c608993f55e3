//! Matrix products.

use super::call::{Call, Inferred};
use super::dims;
use super::value::{ANY, Value};
use crate::{Dim, ElementType};

pub(super) fn matmul(call: &Call<'_, '_>) -> Inferred {
    let element = call.element(0);
    let element = if element == ANY { call.element(1) } else { element };
    Some(vec![Value::tensor(element, product(call.dims(0), call.dims(1)))])
}

pub(super) fn matmul_integer(call: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::tensor(ElementType::Int32, product(call.dims(0), call.dims(1)))])
}

/// Integers are multiplied; the output is float.
pub(super) fn matmul_to_float(call: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::tensor(ElementType::Float32, product(call.dims(0), call.dims(1)))])
}

/// Inputs: a with scale and zero point, b with its own, and those of the output.
pub(super) fn matmul_quantized(call: &Call<'_, '_>) -> Inferred {
    Some(vec![Value::tensor(call.element(7), product(call.dims(0), call.dims(3)))])
}

/// A weight of few bits, with `K` inputs and `N` outputs, packed.
pub(super) fn matmul_n_bits(call: &Call<'_, '_>) -> Inferred {
    let outputs = u64::try_from(call.int("N")?).ok()?;
    let dims = call.dims(0).and_then(|dims| {
        let (_, outer) = dims.split_last()?;
        Some(outer.iter().cloned().chain([Dim::Fixed(outputs)]).collect())
    });
    Some(vec![Value::tensor(call.element(0), dims)])
}

/// A product of matrices that may be transposed.
pub(super) fn matmul_fused(call: &Call<'_, '_>) -> Inferred {
    let flags = ["transA", "transB", "transBatchA", "transBatchB"];
    let [a, b, batch_a, batch_b] = flags.map(|flag| call.int(flag).unwrap_or(0) != 0);
    if batch_a || batch_b {
        return None;
    }
    let a = call.dims(0).map(|dims| transposed(dims, a));
    let b = call.dims(1).map(|dims| transposed(dims, b));
    Some(vec![Value::tensor(call.element(0), product(a.as_deref(), b.as_deref()))])
}

fn transposed(dims: &[Dim], is_transposed: bool) -> Vec<Dim> {
    let mut dims = dims.to_vec();
    if let (true, [.., rows, columns]) = (is_transposed, dims.as_mut_slice()) {
        std::mem::swap(rows, columns);
    }
    dims
}

pub(super) fn gemm(call: &Call<'_, '_>) -> Inferred {
    let side = |input: usize, turn: &str, axis: usize| {
        let transposed = call.int(turn).unwrap_or(0) != 0;
        let dims = call.dims(input).filter(|dims| dims.len() == 2);
        dims.map_or(Dim::Unknown, |dims| dims[if transposed { 1 - axis } else { axis }].clone())
    };
    let dims = vec![side(0, "transA", 0), side(1, "transB", 1)];
    let element = call.element(0);
    let element = if element == ANY { call.element(1) } else { element };
    Some(vec![Value::tensor(element, Some(dims))])
}

/// Shape of a product after NumPy's `matmul`: a vector loses its side, and batch dimensions
/// broadcast.
fn product(a: Option<&[Dim]>, b: Option<&[Dim]>) -> Option<Vec<Dim>> {
    let (a, b) = (a?, b?);
    let one = [Dim::Fixed(1)];
    let (batches_a, rows) = match a {
        [] => return None,
        [_] => (&one[..0], None),
        [batches @ .., rows, _] => (batches, Some(rows)),
    };
    let (batches_b, columns) = match b {
        [] => return None,
        [_] => (&one[..0], None),
        [batches @ .., _, columns] => (batches, Some(columns)),
    };
    let sides = rows.into_iter().chain(columns).cloned();
    Some(dims::broadcast(batches_a, batches_b).into_iter().chain(sides).collect())
}
