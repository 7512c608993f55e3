//! Matrix products.

use super::Dependence;
use super::dependence::{Problem, dependent, unknown};
use super::elementwise::broadcast_operands;
use super::rule::Outcome;
use crate::Dim;
use crate::shapes::call::Call;

/// A matrix of a product: what it depends on, and its dimensions.
type Operand<'c> = (&'c Dependence, &'c [Dim]);

/// A product of the first two inputs; the others are settings.
pub(super) fn matmul(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0, 1])?;
    Ok(vec![product(operand(call, 0)?, operand(call, 1)?)?])
}

/// A product of quantized matrices, each followed by its scale and its zero point.
pub(super) fn matmul_quantized(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0, 3])?;
    Ok(vec![product(operand(call, 0)?, operand(call, 3)?)?])
}

/// A product with matrices that may be turned first.
pub(super) fn matmul_fused(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0, 1])?;
    let flag = |name: &str| call.int(name).unwrap_or(0) != 0;
    if flag("transBatchA") || flag("transBatchB") {
        return unknown("products that turn their batches are not followed");
    }
    let a = transposed(operand(call, 0)?, flag("transA"));
    let b = transposed(operand(call, 1)?, flag("transB"));
    Ok(vec![product((&a.0, &a.1), (&b.0, &b.1))?])
}

/// A weight of few bits, in a form of its own: only the last axis of the first input is summed.
pub(super) fn packed_weight(call: &Call<'_, '_>) -> Outcome {
    super::axes::last(call)
}

/// The operand with its last two axes exchanged, where it is turned.
fn transposed((dependence, dims): Operand<'_>, is_transposed: bool) -> (Dependence, Vec<Dim>) {
    let (mut dims, rank) = (dims.to_vec(), dims.len());
    if !is_transposed || rank < 2 {
        return (dependence.clone(), dims);
    }
    dims.swap(rank - 2, rank - 1);
    let dependence = match dependence {
        Dependence::Rows(rows) if rows.axis + 1 == rank => rows.at(rank - 2),
        Dependence::Rows(rows) if rows.axis + 2 == rank => rows.at(rank - 1),
        other => other.clone(),
    };
    (dependence, dims)
}

fn operand<'c>(call: &Call<'c, '_>, input: usize) -> Result<Operand<'c>, Problem> {
    match call.dims(input) {
        Some(dims) => Ok((call.dependence(input), dims)),
        None => unknown(format!("the number of dimensions of input {input} is not known")),
    }
}

/// What a product depends on, as NumPy has it: a lone row or column loses its side, and the
/// dimensions before the last two stretch to each other's.
fn product(a: Operand<'_>, b: Operand<'_>) -> Result<Dependence, Problem> {
    let (rank_a, rank_b) = (a.1.len(), b.1.len());
    if rank_a == 0 || rank_b == 0 {
        return unknown("it multiplies a scalar as a matrix");
    }
    let full = rank_a.max(rank_b).max(2);
    // Where an axis of the product is when lone rows and columns have lost their sides.
    let kept = |axis: usize| match () {
        () if rank_a == 1 && rank_b == 1 => 0,
        () if rank_a == 1 && axis + 1 == full => axis - 1,
        () => axis,
    };
    let (is_a, is_b) = (a.0.rows(), b.0.rows());
    if is_a.is_some_and(|rows| rows.axis + 1 == rank_a)
        || is_b.is_some_and(|rows| rows.axis + 2 == rank_b || rank_b == 1)
    {
        return dependent("it adds up rows");
    }
    match (is_a, is_b) {
        // The rows of the matrix.
        (Some(rows), _) if rows.axis + 2 == rank_a => {
            shared(b.0)?;
            Ok(rows.at(kept(full - 2)))
        }
        // The columns of the second.
        (_, Some(rows)) if rows.axis + 1 == rank_b => {
            shared(a.0)?;
            Ok(rows.at(kept(full - 1)))
        }
        // A matrix for each row.
        _ => {
            let outer = |(dependence, dims): Operand<'_>| {
                (dependence.clone(), dims[..dims.len().saturating_sub(2)].to_vec())
            };
            let (a, b) = (outer(a), outer(b));
            let batches = broadcast_operands(&[(&a.0, &a.1), (&b.0, &b.1)])?;
            Ok(match batches {
                Dependence::Rows(rows) => {
                    let axis = rows.axis + (full - 2) - a.1.len().max(b.1.len());
                    rows.at(axis)
                }
                other => other,
            })
        }
    }
}

fn shared(dependence: &Dependence) -> Result<(), Problem> {
    match dependence {
        Dependence::Shared => Ok(()),
        Dependence::Count => dependent("it takes what follows from the number of rows"),
        _ => dependent("it multiplies rows with each other"),
    }
}

/// A product of two matrices that may be turned, and a third that is added.
pub(super) fn gemm(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0, 1, 2])?;
    let flag = |name: &str| call.int(name).unwrap_or(0) != 0;
    let a = transposed(operand(call, 0)?, flag("transA"));
    let b = transposed(operand(call, 1)?, flag("transB"));
    if a.1.len() != 2 || b.1.len() != 2 {
        return unknown("it does not multiply matrices");
    }
    let is_shared = |on: &Dependence| *on == Dependence::Shared;
    let sides = [a.1[0].clone(), b.1[1].clone()];
    let product = if is_shared(&a.0) && is_shared(&b.0) {
        Dependence::Shared
    } else {
        product((&a.0, &a.1), (&b.0, &b.1))?
    };
    if !call.has_input(2) {
        return Ok(vec![product]);
    }
    let added = operand(call, 2)?;
    if is_shared(&product) {
        return dependent("it adds rows to a matrix of a fixed size");
    }
    Ok(vec![broadcast_operands(&[(&product, &sides), added])?])
}
