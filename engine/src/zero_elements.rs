//! Requests with an input that has no elements, such as zero rows.
//!
//! Some kernels of ONNX Runtime end the process on such inputs. So these requests are answered from
//! proven output shapes where possible. Otherwise they run only if a trial in another process
//! survived the same, and are rejected if not.

use crate::request::{OutputTensor, Outputs};
use crate::signature::{Signature, TensorSpec, list};
use crate::tensor::elements;
use crate::validate::{InvalidRequest, ValidInput, ValidRequest};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

#[cfg(test)]
mod tests;

/// Open dimensions that are zero together, in order: the input's index and the dimension's.
pub(crate) type ZeroDims = Vec<(usize, usize)>;

/// Results of trials of zero dimensions in another process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ZeroTrials {
    /// Dimensions that the process survived.
    pub(crate) survived: BTreeSet<ZeroDims>,
    /// Dimensions that ended the process, or made it hang.
    pub(crate) crashed: BTreeSet<ZeroDims>,
}

/// Results of the trials of one version, once they are over; the inner `None` if there are none, so
/// that every request runs.
pub(crate) type TrialCell = Arc<OnceLock<Option<ZeroTrials>>>;

/// A version's handling of inputs without elements.
#[derive(Debug)]
pub(crate) struct ZeroElements {
    pub(crate) trials: TrialCell,
}

impl Default for ZeroElements {
    fn default() -> Self {
        Self { trials: Arc::new(OnceLock::from(None)) }
    }
}

/// Reason why a request without elements is not answered.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// A run is not known to be safe.
    Invalid(InvalidRequest),
    /// The trials are not over.
    NotYet,
}

impl ZeroElements {
    /// The handling for a version without trials, now and later: what needs a run is rejected.
    pub(crate) fn untried() -> Self {
        Self { trials: Arc::new(OnceLock::from(Some(ZeroTrials::default()))) }
    }

    /// The requested outputs if they follow without a run; `None` if the request must run.
    ///
    /// # Errors
    /// An input has no elements, the outputs do not follow, and a run is not known to be safe, or not
    /// yet.
    pub(crate) fn outputs_without_run(
        &self,
        request: &ValidRequest,
        signature: &Signature,
    ) -> Result<Option<Outputs>, NoAnswer> {
        if !request.inputs.iter().any(is_empty) {
            return Ok(None);
        }
        if let Some(outputs) = proven_outputs(request, signature) {
            return Ok(Some(outputs));
        }
        let trials = self.trials.get().ok_or(NoAnswer::NotYet)?;
        let Some(trials) = trials else { return Ok(None) };
        let dims = zero_dims(&request.inputs, &signature.inputs);
        // A size that the graph fixes at zero was zero in every trial.
        if dims.is_empty() || trials.survived.contains(&dims) {
            return Ok(None);
        }
        Err(NoAnswer::Invalid(rejection(request, signature, &dims, trials)))
    }
}

fn is_empty(input: &ValidInput) -> bool {
    input.shape.contains(&0)
}

/// The open dimensions that are zero.
fn zero_dims(inputs: &[ValidInput], specs: &[TensorSpec]) -> ZeroDims {
    let of_input = |(index, (input, spec)): (usize, (&ValidInput, &TensorSpec))| {
        let dims = input.shape.iter().zip(&spec.dims).enumerate();
        let zero = dims.filter(|(_, (size, dim))| **size == 0 && dim.is_none());
        zero.map(|(dim, _)| (index, dim)).collect::<ZeroDims>()
    };
    inputs.iter().zip(specs).enumerate().flat_map(of_input).collect()
}

/// The requested outputs, if all their shapes are proven and none has an element.
fn proven_outputs(request: &ValidRequest, signature: &Signature) -> Option<Outputs> {
    // A proof holds while every optional input has its default.
    if !request.given.is_empty() {
        return None;
    }
    let sizes: Vec<&[usize]> = request.inputs.iter().map(|input| &input.shape[..]).collect();
    let all: Vec<usize> = (0..signature.outputs.len()).collect();
    let requested = if request.outputs.is_empty() { &all[..] } else { &request.outputs[..] };
    let output = |&index: &usize| {
        let spec = signature.outputs.get(index)?;
        let shape = signature.output_shape(index, &sizes)?;
        let fits = spec.accepts(&shape) && elements(&shape) == Some(0);
        let shape = spec.outer_shape(shape).filter(|_| fits)?;
        let (name, datatype) = (spec.name.clone(), spec.datatype);
        Some(OutputTensor { name, datatype, shape, data: Bytes::new() })
    };
    requested.iter().map(output).collect()
}

fn rejection(
    request: &ValidRequest,
    signature: &Signature,
    dims: &ZeroDims,
    trials: &ZeroTrials,
) -> InvalidRequest {
    let first = dims.first().map_or(0, |(input, _)| *input);
    let text = |index: usize| -> Option<(String, String)> {
        let name = signature.inputs.get(index)?.name.to_string();
        Some((name, list(request.inputs.get(index)?.shape.iter())))
    };
    let (name, sent) = text(first).unwrap_or_default();
    let why = match trials.crashed.contains(dims) {
        true => "a trial of that ended the runtime's process",
        false => "no trial has shown that the runtime lives through that",
    };
    InvalidRequest::NoElements { name, sent, why }
}
