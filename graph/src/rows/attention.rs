//! Attention operators: all inputs but weights have the batch as their first axis.

use super::Dependence;
use super::batched::batched_or_broadcast;
use super::dependence::{dependent, unknown};
use super::rule::Outcome;
use crate::shapes::call::Call;

/// ONNX's own: queries, keys, values, a mask, and past keys and values.
pub(super) fn attention(call: &Call<'_, '_>) -> Outcome {
    // A mask of lower rank has no batch axis and is shared.
    if call.has_input(3) && call.rank(3)? < 4 {
        call.shared([3])?;
        return batched_inputs(call, &[0, 1, 2, 4, 5, 6], &[]);
    }
    batched_inputs(call, &[0, 1, 2, 3, 4, 5, 6], &[3])
}

/// Queries, keys, values, a key mask, a bias, and past keys and values.
pub(super) fn multi_head(call: &Call<'_, '_>) -> Outcome {
    batched_inputs(call, &[0, 1, 2, 4, 5, 6, 7], &[5])
}

/// Queries, keys and values of head groups, past ones, lengths, positions and a bias.
pub(super) fn group_query(call: &Call<'_, '_>) -> Outcome {
    // ONNX Runtime applies the first row's position to all rows in the first step.
    if call.has_input(9) && call.int("do_rotary").unwrap_or(0) != 0 {
        return dependent("it rotates all rows by the positions of the first");
    }
    batched_inputs(call, &[0, 1, 2, 3, 4, 5, 9, 10], &[10])
}

/// Tokens and a mask; past keys and values have the batch as their second axis.
pub(super) fn with_weights(call: &Call<'_, '_>) -> Outcome {
    require_no_state(call, 4)?;
    second_axis(batched_inputs(call, &[0, 3, 5], &[5])?)
}

/// Quantized variant of the same.
pub(super) fn quantized(call: &Call<'_, '_>) -> Outcome {
    require_no_state(call, 8)?;
    second_axis(batched_inputs(call, &[0, 5], &[])?)
}

fn require_no_state(call: &Call<'_, '_>, input: usize) -> Result<(), super::Problem> {
    if call.has_input(input) { unknown("past keys and values are not analysed") } else { Ok(()) }
}

/// The second output holds keys and values, with the batch as its second axis.
fn second_axis(mut outcome: Vec<Dependence>) -> Outcome {
    if let Some(Dependence::Rows(rows)) = outcome.get(1).cloned() {
        outcome[1] = rows.at(1);
    }
    Ok(outcome)
}

/// Tokens, positions, and tables that are shared or a row's own.
pub(super) fn rotary(call: &Call<'_, '_>) -> Outcome {
    let inputs: &[usize] = if call.domain().is_empty() {
        // Without positions, tables have the batch as their first axis.
        if call.has_input(3) { &[0, 3] } else { &[0, 1, 2] }
    } else {
        // A scalar offset is shared.
        if call.rank(1)? < 2 { &[0] } else { &[0, 1] }
    };
    batched_inputs(call, inputs, &[])
}

/// Tokens and segments, tables, a mask, and positions.
pub(super) fn embed(call: &Call<'_, '_>) -> Outcome {
    batched_inputs(call, &[0, 1, 7, 8], &[8])
}

/// Requires that these inputs are batched, though those in `stretch` may be shared, as all others
/// are.
fn batched_inputs(call: &Call<'_, '_>, inputs: &[usize], stretch: &[usize]) -> Outcome {
    let given: Vec<usize> = inputs.iter().copied().filter(|input| call.has_input(*input)).collect();
    if given.iter().any(|input| call.rows(*input).is_some_and(|rows| rows.axis != 0)) {
        return dependent("it pairs rows with other rows");
    }
    batched_or_broadcast(call, &given, stretch)
}
