//! In which forms a package as a whole may run.
//!
//! Convolutions of the runtime pass their images on in a layout of their own, and a sparse one
//! among them makes it lay them out anew. So whether they gain more than that costs shows only in
//! the whole: there is a form for each of a few sets of sparse convolutions. Products are what
//! they were found to be by themselves.

use super::decide::Decision;
use super::layer::{Kind, Layer, Operation};
use super::plan::gain;
use crate::layers::Execution;

/// How each layer runs.
pub(super) type Form = Vec<Decision>;

/// How many times as fast the sparse convolutions of a form are by themselves, at least.
const GAINS: [f64; 2] = [1.3, 1.05];

/// The forms of a package whose layers have been decided on by themselves; that with the fewest
/// sparse convolutions comes first.
pub(super) fn forms(layers: &[Layer], decisions: &[Decision]) -> Vec<Form> {
    let is_open = |layer: &Layer, decision: &Decision| {
        let Kind::Either(candidate) = &layer.kind else { return false };
        // What its owner wants has not been measured.
        matches!(candidate.operation, Operation::Convolution { .. }) && !decision.times.is_empty()
    };
    let open: Vec<bool> =
        layers.iter().zip(decisions).map(|(layer, decision)| is_open(layer, decision)).collect();
    let mut forms: Vec<Form> = Vec::new();
    for gain_min in std::iter::once(f64::INFINITY).chain(GAINS) {
        let mut form = decisions.to_vec();
        for (decision, _) in form.iter_mut().zip(&open).filter(|(_, open)| **open) {
            let is_sparse = gain(&decision.times) >= gain_min;
            let execution = if is_sparse { Execution::Sparse } else { Execution::Dense };
            if execution != decision.execution {
                decision.execution = execution;
                decision.why = "the model as a whole is faster so".into();
            }
        }
        let executions = |form: &Form| form.iter().map(|it| it.execution).collect::<Vec<_>>();
        if forms.last().is_none_or(|last| executions(last) != executions(&form)) {
            forms.push(form);
        }
    }
    forms
}
