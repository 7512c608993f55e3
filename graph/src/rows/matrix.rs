//! Matrix products.

use super::Dependence;
use super::dependence::{Problem, dependent, unknown};
use super::elementwise::broadcast_operands;
use super::rule::Outcome;
use crate::Dim;
use crate::shapes::call::Call;

/// Operand of a product: its dependence and its dimensions.
type Operand<'c> = (&'c Dependence, &'c [Dim]);

/// A product of the first two inputs; the others are parameters.
pub(super) fn matmul(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0, 1])?;
    Ok(vec![product(operand(call, 0)?, operand(call, 1)?)?])
}

/// A product of quantized matrices, each followed by scale and zero point.
pub(super) fn matmul_quantized(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0, 3])?;
    Ok(vec![product(operand(call, 0)?, operand(call, 3)?)?])
}

/// A product of matrices that may be transposed.
pub(super) fn matmul_fused(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0, 1])?;
    let flag = |name: &str| call.int(name).unwrap_or(0) != 0;
    if flag("transBatchA") || flag("transBatchB") {
        return unknown("products that transpose their batches are not analysed");
    }
    let a = transposed(operand(call, 0)?, flag("transA"));
    let b = transposed(operand(call, 1)?, flag("transB"));
    Ok(vec![product((&a.0, &a.1), (&b.0, &b.1))?])
}

/// A packed weight of few bits: only the last axis of the first input is summed.
pub(super) fn packed_weight(call: &Call<'_, '_>) -> Outcome {
    super::axes::last(call)
}

/// Swaps the last two axes of an operand, if it is transposed.
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
        None => unknown(format!("the rank of input {input} is not known")),
    }
}

/// Dependence of a product after NumPy's `matmul`: a vector loses its side, and batch dimensions
/// broadcast.
fn product(a: Operand<'_>, b: Operand<'_>) -> Result<Dependence, Problem> {
    let (rank_a, rank_b) = (a.1.len(), b.1.len());
    if rank_a == 0 || rank_b == 0 {
        return unknown("it multiplies a scalar as a matrix");
    }
    let full = rank_a.max(rank_b).max(2);
    // Index of an axis after vectors have lost their sides.
    let kept = |axis: usize| match () {
        () if rank_a == 1 && rank_b == 1 => 0,
        () if rank_a == 1 && axis + 1 == full => axis - 1,
        () => axis,
    };
    let (is_a, is_b) = (a.0.rows(), b.0.rows());
    if is_a.is_some_and(|rows| rows.axis + 1 == rank_a)
        || is_b.is_some_and(|rows| rows.axis + 2 == rank_b || rank_b == 1)
    {
        return dependent("it sums over rows");
    }
    match (is_a, is_b) {
        // Rows of the first matrix.
        (Some(rows), _) if rows.axis + 2 == rank_a => {
            shared(b.0)?;
            Ok(rows.at(kept(full - 2)))
        }
        // Columns of the second matrix.
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
        Dependence::Count => dependent("one of its inputs depends on the number of rows"),
        _ => dependent("it multiplies rows with each other"),
    }
}

/// A product of two matrices that may be transposed, and a third that is added.
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
