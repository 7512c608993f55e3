//! `Einsum`: sums of products, as an equation says.

use super::Dependence;
use super::dependence::{Problem, Rows, touch, unclear};
use super::rule::Outcome;
use crate::Dim;
use crate::shapes::call::Call;

/// The mark of the axes of an ellipsis; each has its own, counted from its end.
const ELLIPSIS: char = '\u{2026}';

/// An axis of an operand: its letter, or its place in the ellipsis counted from the end.
type Label = (char, usize);

pub(super) fn einsum(call: &Call<'_, '_>) -> Outcome {
    let equation: String = call.text("equation").chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != call.input_count() {
        return unclear("its equation does not fit its inputs");
    }
    let ranks = (0..terms.len()).map(|input| call.rank(input));
    let ranks: Vec<usize> = ranks.collect::<Result<_, _>>()?;
    let operands: Vec<Vec<Label>> = terms
        .iter()
        .zip(&ranks)
        .map(|(term, rank)| labels(term, *rank))
        .collect::<Result<_, _>>()?;
    let (label, rows) = label_of_rows(call, &operands)?;
    let output = match right {
        Some(right) => {
            let ellipsis = operands.iter().flatten().filter(|label| label.0 == ELLIPSIS);
            let width = ellipsis.map(|label| label.1 + 1).max().unwrap_or(0);
            let letters = right.replace("...", "").chars().count();
            let ellipsis = if right.contains("...") { width } else { 0 };
            labels(right, letters + ellipsis)?
        }
        None => implicit(&operands),
    };
    match output.iter().position(|other| *other == label) {
        Some(axis) => Ok(vec![rows.at(axis)]),
        None => touch("it adds up rows"),
    }
}

/// The label of the axis of the rows, which is the same wherever they come in.
fn label_of_rows(call: &Call<'_, '_>, operands: &[Vec<Label>]) -> Result<(Label, Rows), Problem> {
    let mut found: Option<(Label, Rows)> = None;
    for (input, labels) in operands.iter().enumerate() {
        let Dependence::Rows(rows) = call.dependence(input) else { continue };
        let label = labels.get(rows.axis).copied().map_or_else(|| unclear("its axes"), Ok)?;
        if labels.iter().filter(|other| **other == label).count() > 1 {
            return touch("it takes a diagonal over rows");
        }
        match &found {
            Some((other, of)) if *other != label || of.block != rows.block => {
                return touch("it pairs rows with each other");
            }
            _ => found = Some((label, rows.clone())),
        }
    }
    let Some((label, rows)) = found else { return unclear("it takes no rows") };
    for (input, labels) in operands.iter().enumerate() {
        let axis = labels.iter().position(|other| *other == label);
        match (call.dependence(input), axis) {
            (Dependence::Rows(_), _) | (Dependence::Shared, None) => {}
            // Axes of an ellipsis stretch.
            (Dependence::Shared, Some(axis))
                if label.0 == ELLIPSIS
                    && call.dims(input).and_then(|dims| dims.get(axis)) == Some(&Dim::Fixed(1)) => {
            }
            (Dependence::Shared, Some(_)) => return touch("it pairs rows with fixed values"),
            _ => return touch("it takes what follows from the number of rows"),
        }
    }
    Ok((label, rows))
}

/// The labels of the axes of a term of this rank.
fn labels(term: &str, rank: usize) -> Result<Vec<Label>, Problem> {
    let letters = |text: &str| text.chars().map(|letter| (letter, 0)).collect::<Vec<Label>>();
    let labels = match term.split_once("...") {
        None => letters(term),
        Some((before, after)) => {
            let (before, after) = (letters(before), letters(after));
            let width = rank.saturating_sub(before.len() + after.len());
            let ellipsis: Vec<Label> = (0..width).rev().map(|place| (ELLIPSIS, place)).collect();
            [before, ellipsis, after].concat()
        }
    };
    if labels.len() != rank || labels.iter().any(|label| label.0 == '.') {
        return unclear("its equation does not fit its inputs");
    }
    Ok(labels)
}

/// Without an output in the equation: the ellipsis, then letters that come once, sorted.
fn implicit(operands: &[Vec<Label>]) -> Vec<Label> {
    let all: Vec<Label> = operands.iter().flatten().copied().collect();
    let width = all.iter().filter(|label| label.0 == ELLIPSIS).map(|label| label.1 + 1).max();
    let mut once: Vec<Label> = all
        .iter()
        .filter(|label| label.0 != ELLIPSIS)
        .filter(|label| all.iter().filter(|other| other == label).count() == 1)
        .copied()
        .collect();
    once.sort_unstable();
    (0..width.unwrap_or(0)).rev().map(|place| (ELLIPSIS, place)).chain(once).collect()
}
