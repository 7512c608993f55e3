//! `Einsum`: sums of products by an equation.

use super::Dependence;
use super::dependence::{Problem, Rows, dependent, unknown};
use super::rule::Outcome;
use crate::Dim;
use crate::shapes::call::Call;
use crate::shapes::einsum::{ELLIPSIS, Equation, Label};

pub(super) fn einsum(call: &Call<'_, '_>) -> Outcome {
    let Some(equation) = Equation::of(call) else {
        return unknown("its equation does not fit its inputs");
    };
    let (label, rows) = label_of_rows(call, &equation.operands)?;
    match equation.output.iter().position(|other| *other == label) {
        Some(axis) => Ok(vec![rows.at(axis)]),
        None => dependent("it sums over rows"),
    }
}

/// Finds the label of the rows' axis, which must be the same in all inputs with rows.
fn label_of_rows(call: &Call<'_, '_>, operands: &[Vec<Label>]) -> Result<(Label, Rows), Problem> {
    let mut found: Option<(Label, Rows)> = None;
    for (input, labels) in operands.iter().enumerate() {
        let Dependence::Rows(rows) = call.dependence(input) else { continue };
        let label =
            labels.get(rows.axis).copied().map_or_else(|| unknown("its axes are not known"), Ok)?;
        if labels.iter().filter(|other| **other == label).count() > 1 {
            return dependent("it takes a diagonal over rows");
        }
        match &found {
            Some((other, of)) if *other != label || !of.is_like(rows) => {
                return dependent("it pairs rows with each other");
            }
            _ => found = Some((label, rows.clone())),
        }
    }
    let Some((label, rows)) = found else { return unknown("none of its inputs has rows") };
    for (input, labels) in operands.iter().enumerate() {
        let axis = labels.iter().position(|other| *other == label);
        match (call.dependence(input), axis) {
            (Dependence::Rows(_), _) | (Dependence::Shared, None) => {}
            // Axes of an ellipsis broadcast.
            (Dependence::Shared, Some(axis))
                if label.0 == ELLIPSIS
                    && call.dims(input).and_then(|dims| dims.get(axis)) == Some(&Dim::Fixed(1)) => {
            }
            (Dependence::Shared, Some(_)) => return dependent("it pairs rows with fixed values"),
            _ => return dependent("one of its inputs depends on the number of rows"),
        }
    }
    Ok((label, rows))
}
