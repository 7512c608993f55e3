//! Recurrent layers.

use super::call::{Call, Inferred};
use super::value::{Number, Value};
use crate::Dim;

/// Outputs of all steps, those of the last, and for `LSTM` the last cell state.
pub(super) fn recurrent(call: &Call<'_, '_>) -> Inferred {
    let element = call.element(0);
    let of_weights = || call.dims(2)?.get(2).cloned();
    let explicit = call.int("hidden_size").map(|size| Number::Int(size).dim());
    let hidden = explicit.or_else(of_weights).unwrap_or(Dim::Unknown);
    let directions = Dim::Fixed(if call.text("direction") == "bidirectional" { 2 } else { 1 });
    let (first, second) = match call.dims(0) {
        Some([first, second, _]) => (first.clone(), second.clone()),
        _ => (Dim::Unknown, Dim::Unknown),
    };
    let batch_first = call.int("layout").unwrap_or(0) != 0;
    let (all, last) = if batch_first {
        let all = vec![first.clone(), second, directions.clone(), hidden.clone()];
        (all, vec![first, directions, hidden])
    } else {
        let all = vec![first, directions.clone(), second.clone(), hidden.clone()];
        (all, vec![directions, second, hidden])
    };
    let last = Value::tensor(element, Some(last));
    Some(vec![Value::tensor(element, Some(all)), last.clone(), last])
}
