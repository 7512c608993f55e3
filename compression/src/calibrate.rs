//! Calibration: the distribution of a model's values on typical inputs.
//!
//! This crate runs no models. The caller brings a [`Runner`], and typical inputs as batches. Values
//! are observed once, batch by batch, and only summaries are kept.

use crate::{CompressError, RunnerError};
use skysail_graph::{ElementType, Model, Tensor};
use std::collections::HashMap;

pub use channels::ChannelMagnitudes;
pub use histogram::Histogram;
pub use outputs::bytes_with_outputs;
pub use range::{Range, RangeRule};

mod batch;
mod channels;
mod entropy;
mod histogram;
mod outputs;
mod range;

/// A runtime that runs models, such as ONNX Runtime.
pub trait Runner {
    /// Prepares a model for many runs.
    ///
    /// A run returns the values named in `wanted`. They need not be outputs of the graph: see
    /// [`bytes_with_outputs`].
    ///
    /// # Errors
    /// The runner's error.
    fn load<'a>(
        &'a mut self,
        model: &Model,
        wanted: &[String],
    ) -> Result<Box<dyn Run + 'a>, RunnerError>;
}

/// A model that is ready to run.
pub trait Run {
    /// Runs the model on inputs in the order of [`Graph::inputs`](skysail_graph::Graph::inputs),
    /// and returns the wanted values in their order.
    ///
    /// # Errors
    /// The runner's error.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunnerError>;
}

/// Inputs of one run, by name, in any order.
pub type Batch = Vec<(String, Tensor)>;

/// A runner and the inputs to calibrate with.
pub struct Calibration<'a> {
    /// Runner of the model.
    pub runner: &'a mut dyn Runner,
    /// Typical inputs.
    pub batches: &'a [Batch],
}

/// A summary of the values of one tensor over all batches.
pub(crate) trait Summary: Default {
    /// Adds the finite values of one batch. The last dimension of `shape` counts channels.
    fn add(&mut self, values: &[f32], shape: &[u64]);
}

impl Calibration<'_> {
    /// Finds the distribution of each of `values`.
    ///
    /// # Errors
    /// `NoBatches`, `BadBatch`, `Runner` and `NotFiniteValue`.
    pub fn histograms(
        &mut self,
        model: &Model,
        values: &[String],
    ) -> Result<HashMap<String, Histogram>, CompressError> {
        self.observe(model, values)
    }

    /// Finds the largest magnitude in each channel of each of `values`. Channels are counted by the
    /// last dimension, as for the input of a matrix product.
    ///
    /// # Errors
    /// The same as [`histograms`](Self::histograms).
    pub fn channel_magnitudes(
        &mut self,
        model: &Model,
        values: &[String],
    ) -> Result<HashMap<String, ChannelMagnitudes>, CompressError> {
        self.observe(model, values)
    }

    fn observe<S: Summary>(
        &mut self,
        model: &Model,
        values: &[String],
    ) -> Result<HashMap<String, S>, CompressError> {
        if self.batches.is_empty() {
            return Err(CompressError::NoBatches);
        }
        let batches = self.batches.iter().enumerate();
        let checked = batches.map(|(index, batch)| batch::in_order(model, index, batch));
        let checked = checked.collect::<Result<Vec<_>, _>>()?;
        let inputs = model.graph().inputs();
        let position = |value: &String| inputs.iter().position(|input| input.name == *value);
        let computed: Vec<String> =
            values.iter().filter(|value| position(value).is_none()).cloned().collect();
        let mut run = self.runner.load(model, &computed).map_err(CompressError::Runner)?;
        let mut summaries: Vec<S> = values.iter().map(|_| S::default()).collect();
        for (index, inputs_of_run) in checked.iter().enumerate() {
            let tensors = run.run(inputs_of_run).map_err(CompressError::Runner)?;
            if tensors.len() != computed.len() {
                let message = format!("it gave {} values, not {}", tensors.len(), computed.len());
                return Err(CompressError::Runner(message.into()));
            }
            let mut tensors = tensors.iter();
            for (summary, value) in summaries.iter_mut().zip(values) {
                let tensor = match position(value) {
                    Some(position) => inputs_of_run.get(position),
                    None => tensors.next(),
                };
                if let Some(tensor) = tensor {
                    summary.add(&finite(tensor, value, index)?, tensor.shape());
                }
            }
        }
        Ok(values.iter().cloned().zip(summaries).collect())
    }
}

/// Returns the values of a tensor of finite floats.
fn finite(tensor: &Tensor, value: &str, batch: usize) -> Result<Vec<f32>, CompressError> {
    if tensor.element() != ElementType::Float32 {
        let message = format!("it gave '{value}' as {}, not float32", tensor.element());
        return Err(CompressError::Runner(message.into()));
    }
    let floats: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.bytes());
    match floats.iter().find(|float| !float.is_finite()) {
        None => Ok(floats),
        Some(found) => {
            let (value, found) = (value.to_owned(), *found);
            Err(CompressError::NotFiniteValue { value, batch, found })
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
