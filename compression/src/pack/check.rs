//! Checks the outputs of a model after every lossy step.
//!
//! They are compared with the outputs before the step, on typical or synthetic inputs. A difference
//! beyond what the method explains is an error.

use crate::data::{DataSet, first_rows};
use crate::session::{Session, Threads};
use crate::synthetic::synthetic_batch;
use serde::Serialize;
use skysail_compression::{Batch, QuantizedTensor, Run, RunnerError};
use skysail_graph::{ElementType, Model, Tensor};

/// Number of typical rows that are compared.
const ROWS: u64 = 16;

/// Factor by which layers may amplify errors of the weights, as later layers pass them on.
const AMPLIFICATION: f64 = 4.0;

/// Additional difference that int8 activations explain, over all layers.
const INT8_ALLOWANCE: f64 = 0.25;

/// Additional difference that rounding always explains.
const ROUNDING_ALLOWANCE: f64 = 0.01;

/// Limit of an explained difference: zeros differ by 1 from anything.
const EXPLAINED_MAX: f64 = 0.9;

/// An output differs by more than the method explains.
#[derive(Debug, thiserror::Error)]
#[error(
    "output '{output}' differs by {found:.3} of its size from what it was before, on {inputs}, and \
     {method} explains {explained:.3}: no package was written. Give typical inputs with --calibrate \
     or --data, leave the step out, or take the package as it is with --accept-difference"
)]
pub(crate) struct Unexplained {
    output: String,
    found: f64,
    inputs: String,
    method: &'static str,
    explained: f64,
}

/// Difference that a method explains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Explained {
    /// Name of the method.
    pub(crate) method: &'static str,
    /// Norm of an output's difference as a share of the output's norm; infinite if any change was
    /// asked for.
    pub(crate) share: f64,
}

/// Result of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Checked {
    /// Description of the inputs.
    pub(crate) inputs: String,
    /// Largest difference of an output, as a share of its norm.
    pub(crate) difference: f64,
    /// Difference that the method explains.
    pub(crate) explained: f64,
}

impl Explained {
    /// Computes the difference that quantized tensors of a model explain.
    pub(crate) fn by(
        method: &'static str,
        tensors: &[QuantizedTensor],
        before: &Model,
        has_bytes: bool,
    ) -> Self {
        let graph = before.graph();
        let squares = tensors.iter().map(|tensor| {
            let view = graph.constant(&tensor.name);
            let values = view.and_then(|view| view.as_f32().ok());
            let Some(values) = values.filter(|values| !values.is_empty()) else { return 0.0 };
            let size = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
            let size = size / values.len() as f64;
            if size > 0.0 { tensor.mean_squared_error / size } else { 0.0 }
        });
        let of_weights = AMPLIFICATION * squares.sum::<f64>().sqrt();
        let of_bytes = if has_bytes { INT8_ALLOWANCE } else { 0.0 };
        Self { method, share: (ROUNDING_ALLOWANCE + of_weights + of_bytes).min(EXPLAINED_MAX) }
    }
}

/// Compares the outputs of two models. Returns a message if they cannot be compared.
///
/// # Errors
/// When an output differs by more than is explained.
pub(crate) fn check(
    [before, after]: [&Model; 2],
    typical: Option<&DataSet>,
    explained: Explained,
) -> Result<Result<Checked, String>, Unexplained> {
    let (batch, inputs) = match inputs(before, typical) {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let outputs = |model: &Model| run(model, &batch);
    let (names, wanted) = match outputs(before) {
        Ok(outputs) => outputs,
        Err(error) => return Ok(Err(format!("the model does not run on {inputs}: {error}"))),
    };
    let found = match outputs(after) {
        Ok((_, found)) => found,
        Err(error) => {
            // The model ran before the step, so the inputs are not the cause.
            let output = format!("{}: {error}", names.join(", "));
            let (method, explained) = (explained.method, explained.share);
            return Err(Unexplained { output, found: f64::INFINITY, inputs, method, explained });
        }
    };
    let mut difference = 0.0_f64;
    for (name, (wanted, found)) in names.into_iter().zip(wanted.iter().zip(&found)) {
        let Some(share) = relative_difference(wanted, found) else { continue };
        // A NaN never passes.
        if share > explained.share || share.is_nan() {
            let (method, explained) = (explained.method, explained.share);
            return Err(Unexplained { output: name, found: share, inputs, method, explained });
        }
        difference = difference.max(share);
    }
    Ok(Ok(Checked { inputs, difference, explained: explained.share }))
}

/// Returns the inputs for both models, and their description.
fn inputs(model: &Model, typical: Option<&DataSet>) -> Result<(Batch, String), String> {
    let typical = typical.and_then(|data| Some((data.batches.first()?, &data.name)));
    match typical {
        Some((batch, name)) => {
            let rows = batch.first().and_then(|(_, tensor)| tensor.shape().first().copied());
            let rows = rows.unwrap_or(1).clamp(1, ROWS);
            let batch = first_rows(batch, rows).map_err(|error| error.to_string())?;
            Ok((batch, format!("{rows} rows of {name}")))
        }
        None => Ok((synthetic_batch(model)?, "synthetic inputs".to_owned())),
    }
}

/// Runs a model, and returns the names and values of its outputs.
fn run(model: &Model, batch: &Batch) -> Result<(Vec<String>, Vec<Tensor>), RunnerError> {
    let mut session = Session::of(model, Threads::All)?;
    let tensors: Vec<Tensor> = batch.iter().map(|(_, tensor)| tensor.clone()).collect();
    Ok((session.outputs().to_vec(), session.run(&tensors)?))
}

/// Returns the norm of the difference as a share of the original's norm.
///
/// It is NaN where the new output is not finite and the original is. `None` unless both are float32
/// of one shape.
fn relative_difference(before: &Tensor, after: &Tensor) -> Option<f64> {
    let is_float = |tensor: &Tensor| tensor.element() == ElementType::Float32;
    if !is_float(before) || !is_float(after) || before.shape() != after.shape() {
        return None;
    }
    let values = |tensor: &Tensor| bytemuck::pod_collect_to_vec::<u8, f32>(tensor.bytes());
    let (mut all, mut lost) = (0.0, 0.0);
    for (before, after) in values(before).into_iter().zip(values(after)) {
        // Elements that were not finite may change.
        if before.is_finite() {
            all += f64::from(before).powi(2);
            lost += (f64::from(before) - f64::from(after)).powi(2);
        }
    }
    if lost == 0.0 {
        return Some(0.0);
    }
    Some(if all > 0.0 { (lost / all).sqrt() } else { lost.sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_relative_and_nan_if_not_finite() {
        let tensor = |values: &[f32]| Tensor::new(&[values.len() as u64], values).unwrap();
        let relative_difference =
            |a: &[f32], b: &[f32]| relative_difference(&tensor(a), &tensor(b)).unwrap();
        assert_eq!(relative_difference(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(relative_difference(&[3.0, 4.0], &[0.0, 0.0]), 1.0);
        assert_eq!(relative_difference(&[0.0, 0.0], &[0.0, 0.5]), 0.5);
        assert_eq!(relative_difference(&[f32::NAN, 1.0], &[2.0, 1.0]), 0.0);
        assert!(relative_difference(&[1.0, 1.0], &[1.0, f32::NAN]).is_nan());
        assert_eq!(super::relative_difference(&tensor(&[1.0]), &tensor(&[1.0, 2.0])), None);
    }
}
