//! Variants of a package, which differ in their sparse convolutions.
//!
//! The runtime's convolutions pass images on in a layout of their own. A sparse one among them costs
//! a change of layout, so its gain shows only in the whole model. Each variant makes another set of
//! convolutions sparse. Products run as measured alone in all variants.

use super::criteria::gain;
use super::decide::Decision;
use super::layer::{Layer, LayerKind};
use super::operation::Operation;
use crate::layers::Execution;

/// Decision for each layer.
pub(super) type Variant = Vec<Decision>;

/// Minimum speed-ups, each measured alone, for the convolutions that a variant makes sparse.
const GAINS: [f64; 2] = [1.3, 1.05];

/// The variants of a package, from decisions on each layer alone. The variant with the fewest
/// sparse convolutions comes first.
pub(super) fn variants(layers: &[Layer], decisions: &[Decision]) -> Vec<Variant> {
    let is_open = |layer: &Layer, decision: &Decision| {
        let LayerKind::Candidate(candidate) = &layer.kind else { return false };
        // A configured layer has no measurement.
        matches!(candidate.operation, Operation::Convolution { .. }) && !decision.times.is_empty()
    };
    let open: Vec<bool> =
        layers.iter().zip(decisions).map(|(layer, decision)| is_open(layer, decision)).collect();
    let mut variants: Vec<Variant> = Vec::new();
    for gain_min in std::iter::once(f64::INFINITY).chain(GAINS) {
        let mut variant = decisions.to_vec();
        for (decision, _) in variant.iter_mut().zip(&open).filter(|(_, open)| **open) {
            let is_sparse = gain(&decision.times) >= gain_min;
            let execution = if is_sparse { Execution::Sparse } else { Execution::Dense };
            if execution != decision.execution {
                decision.execution = execution;
                decision.why = "the model as a whole is faster so".into();
            }
        }
        let executions = |variant: &Variant| {
            variant.iter().map(|decision| decision.execution).collect::<Vec<_>>()
        };
        if variants.last().is_none_or(|last| executions(last) != executions(&variant)) {
            variants.push(variant);
        }
    }
    variants
}
