//! Recurrent layers.

use super::dependence::dependent;
use super::rule::Outcome;
use crate::shapes::call::Call;

/// Inputs: steps, weights, recurrent weights, bias, lengths, and initial states (two for `LSTM`).
/// All but the weights and the bias are a row's own.
pub(super) fn recurrent(call: &Call<'_, '_>) -> Outcome {
    let batch_first = call.int("layout").unwrap_or(0) != 0;
    let axis = usize::from(!batch_first);
    let rows = call.need_rows(0)?;
    if rows.axis != axis {
        return dependent("it steps along rows, one after the other");
    }
    let own: &[usize] = if call.operator() == "LSTM" { &[4, 5, 6] } else { &[4, 5] };
    let mut others = vec![0];
    others.extend(own);
    call.shared_besides(&others)?;
    for input in own.iter().copied().filter(|input| call.has_input(*input)) {
        let wanted = if input == 4 { 0 } else { axis };
        match call.rows(input) {
            Some(of) if of.axis == wanted && of.is_like(rows) => {}
            _ => return dependent(format!("its input {input} is for a fixed number of rows")),
        }
    }
    // The output of all steps has an axis of directions before that of the rows, or behind it.
    let all = rows.at(if batch_first { 0 } else { 2 });
    Ok(vec![all, rows.at(axis), rows.at(axis)])
}

/// Dynamic quantization: the scale of each step is that of all rows.
pub(super) fn dynamic_quantized(_: &Call<'_, '_>) -> Outcome {
    dependent("its scale is that of all rows together")
}
