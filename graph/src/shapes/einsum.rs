//! `Einsum`: sums of products by an equation.

use super::call::{Call, Inferred};
use super::dims;
use super::value::{RANK_MAX, Value};
use crate::Dim;

/// Most operands of an equation; real ones have two or three.
const OPERANDS_MAX: usize = 16;

/// Letter of the axes of an ellipsis; each has its own number, counted from the end.
pub(crate) const ELLIPSIS: char = '\u{2026}';

/// Label of an axis: its letter, or its position in the ellipsis counted from the end.
pub(crate) type Label = (char, usize);

/// An equation that fits its operands.
pub(crate) struct Equation {
    /// Axis labels of each operand.
    pub(crate) operands: Vec<Vec<Label>>,
    /// Axis labels of the result.
    pub(crate) output: Vec<Label>,
}

impl Equation {
    /// Reads the equation of a node; `None` if it does not fit the inputs.
    pub(crate) fn of(call: &Call<'_, '_>) -> Option<Self> {
        let text: String =
            call.text("equation").chars().filter(|letter| !letter.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != call.input_count() || terms.len() > OPERANDS_MAX {
            return None;
        }
        let operands = terms.iter().enumerate();
        let operands: Vec<Vec<Label>> = operands
            .map(|(input, term)| labels(term, call.dims(input)?.len()))
            .collect::<Option<_>>()?;
        let output = match right {
            Some(right) => {
                let width = if right.contains("...") { width(&operands) } else { 0 };
                labels(right, right.replace("...", "").chars().count() + width)?
            }
            None => implicit(&operands)?,
        };
        (output.len() <= RANK_MAX).then_some(Self { operands, output })
    }
}

/// Infers the dimensions of the result: each letter has that of its axes.
pub(super) fn einsum(call: &Call<'_, '_>) -> Inferred {
    let dims = Equation::of(call).and_then(|equation| {
        let dim = |label: &Label| {
            let axes = equation.operands.iter().enumerate().filter_map(|(input, labels)| {
                let axis = labels.iter().position(|other| other == label)?;
                call.dims(input)?.get(axis)
            });
            // Axes of size one broadcast.
            axes.cloned().reduce(|a, b| dims::broadcast(&[a], &[b]).swap_remove(0))
        };
        equation.output.iter().map(dim).collect::<Option<Vec<Dim>>>()
    });
    Some(vec![Value::tensor(call.element(0), dims)])
}

/// Axis labels of a term of this rank.
fn labels(term: &str, rank: usize) -> Option<Vec<Label>> {
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
    (labels.len() == rank && labels.iter().all(|label| label.0 != '.')).then_some(labels)
}

/// Number of axes of the widest ellipsis.
fn width(operands: &[Vec<Label>]) -> usize {
    let ellipsis = operands.iter().flatten().filter(|label| label.0 == ELLIPSIS);
    ellipsis.map(|label| label.1 + 1).max().unwrap_or(0)
}

/// Output without one in the equation: the ellipsis, then letters that occur once, sorted.
///
/// Runtimes disagree about capitals, so a mix of both cases is unknown.
fn implicit(operands: &[Vec<Label>]) -> Option<Vec<Label>> {
    let all: Vec<Label> = operands.iter().flatten().copied().collect();
    let mut once: Vec<Label> = all
        .iter()
        .filter(|label| label.0 != ELLIPSIS)
        .filter(|label| all.iter().filter(|other| other == label).count() == 1)
        .copied()
        .collect();
    once.sort_unstable();
    let capitals = once.iter().filter(|label| label.0.is_ascii_uppercase()).count();
    let ellipsis = (0..width(operands)).rev().map(|place| (ELLIPSIS, place));
    (capitals == 0 || capitals == once.len()).then(|| ellipsis.chain(once).collect())
}
