//! Requests whose inputs have no elements. Not every kernel of ONNX Runtime is safe for them: some
//! end the process. So they are answered from proven shapes where that can be done, run where a
//! trial in another process lived through the same, and refused otherwise.

use crate::request::{OutputTensor, Outputs};
use crate::signature::{Signature, TensorSpec, list};
use crate::tensor::elements;
use crate::validate::{InvalidRequest, ValidInput, ValidRequest};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[cfg(test)]
mod tests;

/// Open dimensions that are zero together: an input's place and a dimension of it, in order.
pub(crate) type Places = Vec<(usize, usize)>;

/// What trials in another process showed of dimensions that are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Zeros {
    /// The process lived.
    pub(crate) lived: BTreeSet<Places>,
    /// The process ended, or did not come back in time.
    pub(crate) ended: BTreeSet<Places>,
}

/// What a version does with inputs that have no elements.
#[derive(Debug, Default)]
pub(crate) struct Empty {
    /// What trials showed; everything is run where there were none.
    pub(crate) zeros: Option<Zeros>,
}

impl Empty {
    /// The outputs that a request wants, where they follow without a run; `None`: it is to be run.
    ///
    /// # Errors
    /// When an input has no elements, its outputs do not follow, and nobody knows that a run of it
    /// is safe.
    pub(crate) fn answer(
        &self,
        request: &ValidRequest,
        signature: &Signature,
    ) -> Result<Option<Outputs>, InvalidRequest> {
        if !request.inputs.iter().any(is_empty) {
            return Ok(None);
        }
        if let Some(outputs) = outputs(request, signature) {
            return Ok(Some(outputs));
        }
        let Some(zeros) = &self.zeros else { return Ok(None) };
        let places = places(&request.inputs, &signature.inputs);
        // A size that the graph itself fixes at zero was zero in every trial.
        if places.is_empty() || zeros.lived.contains(&places) {
            return Ok(None);
        }
        Err(refusal(request, signature, &places, zeros))
    }
}

fn is_empty(input: &ValidInput) -> bool {
    input.shape.contains(&0)
}

/// The open dimensions that are zero.
fn places(inputs: &[ValidInput], specs: &[TensorSpec]) -> Places {
    let of_input = |(index, (input, spec)): (usize, (&ValidInput, &TensorSpec))| {
        let dims = input.shape.iter().zip(&spec.dims).enumerate();
        let zero = dims.filter(|(_, (size, dim))| **size == 0 && dim.is_none());
        zero.map(|(dim, _)| (index, dim)).collect::<Places>()
    };
    inputs.iter().zip(specs).enumerate().flat_map(of_input).collect()
}

/// The wanted outputs, if the shapes of all are proven and none has an element.
fn outputs(request: &ValidRequest, signature: &Signature) -> Option<Outputs> {
    // What is proven holds while every optional input has its default.
    if !request.given.is_empty() {
        return None;
    }
    let sizes: Vec<&[usize]> = request.inputs.iter().map(|input| &input.shape[..]).collect();
    let all: Vec<usize> = (0..signature.outputs.len()).collect();
    let wanted = if request.outputs.is_empty() { &all[..] } else { &request.outputs[..] };
    let output = |&place: &usize| {
        let spec = signature.outputs.get(place)?;
        let shape = signature.output_shape(place, &sizes)?;
        let fits = spec.accepts(&shape) && elements(&shape) == Some(0);
        fits.then(|| OutputTensor {
            name: spec.name.clone(),
            datatype: spec.datatype,
            shape,
            data: Bytes::new(),
        })
    };
    wanted.iter().map(output).collect()
}

fn refusal(
    request: &ValidRequest,
    signature: &Signature,
    places: &Places,
    zeros: &Zeros,
) -> InvalidRequest {
    let first = places.first().map_or(0, |place| place.0);
    let text = |index: usize| -> Option<(String, String)> {
        let name = signature.inputs.get(index)?.name.to_string();
        Some((name, list(request.inputs.get(index)?.shape.iter())))
    };
    let (name, sent) = text(first).unwrap_or_default();
    let why = match zeros.ended.contains(places) {
        true => "a trial of that ended the runtime's process",
        false => "no trial has shown that the runtime lives through that",
    };
    InvalidRequest::NoElements { name, sent, why }
}
