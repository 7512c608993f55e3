//! `If`: one of two subgraphs.

use super::call::{Call, Inferred};
use super::dims;
use super::value::{ANY, Number, Value};
use crate::Kind;

/// Outputs of the branch that runs, or what both branches have in common.
pub(crate) fn if_(call: &Call<'_, '_>) -> Inferred {
    match call.numbers(0) {
        Some([Number::Int(0)]) => call.subgraph_outputs("else_branch"),
        Some([Number::Int(_)]) => call.subgraph_outputs("then_branch"),
        _ => {
            let (a, b) =
                (call.subgraph_outputs("then_branch")?, call.subgraph_outputs("else_branch")?);
            Some(a.iter().zip(&b).map(|(a, b)| common(a, b)).collect())
        }
    }
}

pub(crate) fn common(a: &Value, b: &Value) -> Value {
    if a == b {
        return a.clone();
    }
    let (Kind::Tensor { .. }, Kind::Tensor { .. }) = (&a.kind, &b.kind) else {
        return Value::UNKNOWN;
    };
    let element = if a.element() == b.element() { a.element() } else { ANY };
    let dims = a.dims().zip(b.dims()).filter(|(a, b)| a.len() == b.len());
    let dims = dims.map(|(a, b)| a.iter().zip(b).map(|(a, b)| dims::common(a, b)).collect());
    Value::tensor(element, dims)
}
