//! Elementwise operators.

use super::Dependence;
use super::dependence::{Problem, Rows, dependent, unknown};
use super::rule::Outcome;
use crate::Dim;
use crate::shapes::call::Call;

/// Elementwise on the first input; the other inputs are parameters.
pub(super) fn pointwise(call: &Call<'_, '_>) -> Outcome {
    let rows = call.need_rows(0)?;
    call.shared_besides(&[0])?;
    Ok(vec![Dependence::Rows(rows.clone()); call.output_count()])
}

/// Elementwise on the first input; the second only gives its type.
pub(super) fn like(call: &Call<'_, '_>) -> Outcome {
    Ok(vec![call.dependence(0).clone()])
}

/// Elementwise on all inputs, broadcast to each other.
pub(super) fn broadcast(call: &Call<'_, '_>) -> Outcome {
    if call.has_attribute("broadcast") {
        return unknown("operators before version 7 are not analysed");
    }
    let inputs: Vec<usize> = (0..call.input_count()).collect();
    Ok(vec![broadcast_inputs(call, &inputs)?])
}

/// Elementwise on the first two inputs, with parameters after them.
pub(super) fn broadcast_two(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0, 1])?;
    Ok(vec![broadcast_inputs(call, &[0, 1])?])
}

/// Elementwise on two quantized tensors, each followed by scale and zero point.
pub(super) fn broadcast_quantized(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0, 3])?;
    Ok(vec![broadcast_inputs(call, &[0, 3])?])
}

/// Dependence of these inputs after a broadcast.
pub(super) fn broadcast_inputs(
    call: &Call<'_, '_>,
    inputs: &[usize],
) -> Result<Dependence, Problem> {
    let inputs = inputs.iter().copied().filter(|input| call.has_input(*input));
    let operands: Vec<(&Dependence, &[Dim])> = inputs
        .map(|input| match call.dims(input) {
            Some(dims) => Ok((call.dependence(input), dims)),
            None => unknown("the rank of one of its inputs is not known"),
        })
        .collect::<Result<_, _>>()?;
    broadcast_operands(&operands)
}

/// Dependence of operands that are aligned at their ends and broadcast.
pub(super) fn broadcast_operands(
    operands: &[(&Dependence, &[Dim])],
) -> Result<Dependence, Problem> {
    let rank = operands.iter().map(|(_, dims)| dims.len()).max().unwrap_or(0);
    // Axis of the rows in the result.
    let mut found: Option<Rows> = None;
    for (dependence, dims) in operands {
        if let Dependence::Rows(rows) = dependence {
            let axis = rows.axis + rank - dims.len();
            let rows = Rows { axis, ..rows.clone() };
            match &found {
                Some(other) if *other != rows => return dependent("it pairs rows with each other"),
                _ => found = Some(rows),
            }
        }
    }
    let Some(rows) = found else {
        return dependent("one of its inputs depends on the number of rows");
    };
    for (dependence, dims) in operands {
        let axis = (rows.axis + dims.len()).checked_sub(rank);
        let along = axis.and_then(|axis| dims.get(axis)).unwrap_or(&Dim::Fixed(1));
        match (dependence, along) {
            (Dependence::Rows(_), _) | (Dependence::Shared, Dim::Fixed(1)) => {}
            (Dependence::Shared, Dim::Fixed(size)) => {
                return dependent(format!("it pairs rows with {size} fixed values"));
            }
            (Dependence::Shared, _) => {
                return unknown("it may pair rows with values by index");
            }
            _ => return dependent("one of its inputs depends on the number of rows"),
        }
    }
    Ok(Dependence::Rows(rows))
}

/// Quantization or its inverse: by one scale, or one for each index of an axis.
pub(super) fn quantize(call: &Call<'_, '_>) -> Outcome {
    let rows = call.need_rows(0)?;
    let rank = call.rank(0)?;
    let axis = call.axis(1, rank);
    for input in [1, 2] {
        match (call.dependence(input), call.dims(input)) {
            _ if !call.has_input(input) => {}
            (Dependence::Shared, Some([] | [Dim::Fixed(1)])) => {}
            (Dependence::Shared, Some([_])) if axis.is_some_and(|axis| axis != rows.axis) => {}
            (Dependence::Shared, Some(dims))
                if dims.len() == rank && call.int("block_size").unwrap_or(0) == 0 =>
            {
                if dims[rows.axis] != Dim::Fixed(1) {
                    return dependent("it has a fixed number of scales along rows");
                }
            }
            // A scale for each row is the row's own.
            (Dependence::Rows(of), Some([_])) if axis == Some(rows.axis) && of.is_like(rows) => {}
            (Dependence::Shared, _) => {
                return unknown("the values that its scales are for are not known");
            }
            _ => return dependent("its scale differs from row to row"),
        }
    }
    Ok(vec![Dependence::Rows(rows.clone())])
}

/// Quantization by one scale for the whole tensor.
pub(super) fn quantize_whole(_: &Call<'_, '_>) -> Outcome {
    dependent("its scale is that of all rows together")
}
