//! Decides for each layer of a package how it runs, by its owner's wish or by measuring.

use super::PrepareError;
use super::decode::Weights;
use super::layer::{Candidate, Kind, Layer as Found};
use super::measure::Measurer;
use super::plan;
use super::sizes::Size;
use crate::config::{Choice, CompressedConfig};
use crate::layers::{Execution, LayerTimes};
use ort::environment::Environment;
use std::cmp::Reverse;
use std::collections::HashMap;

/// How a layer runs, and why.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) execution: Execution,
    pub(super) why: String,
    pub(super) times: Vec<LayerTimes>,
}

impl Decision {
    pub(super) fn new(execution: Execution, why: impl Into<String>) -> Self {
        Self { execution, why: why.into(), times: Vec::new() }
    }
}

/// Checks that what is wished for can be.
pub(super) fn check(config: &CompressedConfig, layers: &[Found]) -> Result<(), PrepareError> {
    let names = layers.iter().map(|layer| layer.name.as_str());
    plan::check_names(config, names).map_err(PrepareError::Config)?;
    for layer in layers {
        let wanted = config.layers.get(&layer.name);
        if let (Kind::Only(_, why), Some(Choice::Sparse)) = (&layer.kind, wanted) {
            return Err(never_sparse(&layer.name, why));
        }
    }
    Ok(())
}

fn never_sparse(name: &str, why: &str) -> PrepareError {
    PrepareError::Config(format!("compressed.layers wants '{name}' sparse, and {why}"))
}

/// The layers that are sparse if that is faster, or in any case.
pub(super) fn candidates<'a>(
    config: &CompressedConfig,
    layers: &'a [Found],
) -> HashMap<&'a str, &'a Candidate> {
    let candidate = |layer: &'a Found| match &layer.kind {
        Kind::Either(candidate) if plan::choice(config, &layer.name) != Choice::Dense => {
            Some((layer.name.as_str(), &**candidate))
        }
        _ => None,
    };
    layers.iter().filter_map(candidate).collect()
}

/// Decides on all layers. Those with most weights are measured first, since time may run out.
pub(super) fn decide(
    config: &CompressedConfig,
    layers: &[Found],
    weights: &HashMap<String, Weights>,
    sizes: &[Size],
    environment: &Environment,
) -> Result<Vec<Decision>, PrepareError> {
    let mut measurer = Measurer::new(environment);
    let mut order: Vec<usize> = (0..layers.len()).collect();
    let count =
        |layer: &usize| layers[*layer].shape.iter().fold(1, |n: u64, d| n.saturating_mul(*d));
    order.sort_by_key(|layer| Reverse(count(layer)));
    let mut decisions: Vec<_> = layers.iter().map(as_it_is).collect();
    for index in order {
        let layer = &layers[index];
        if let (Kind::Either(candidate), Some(weights)) = (&layer.kind, weights.get(&layer.name)) {
            let is_wanted = plan::choice(config, &layer.name) == Choice::Sparse;
            let one = One { name: &layer.name, candidate, weights, is_wanted };
            decisions[index] = one.decide(config, &mut measurer, sizes)?;
        }
    }
    Ok(decisions)
}

/// What is to be said of a layer that is not to be sparse.
pub(super) fn as_it_is(layer: &Found) -> Decision {
    match &layer.kind {
        Kind::Only(execution, why) => Decision::new(*execution, *why),
        Kind::Either(_) => Decision::new(Execution::Dense, "its owner wants it so"),
    }
}

/// A layer to decide on.
struct One<'a> {
    name: &'a str,
    candidate: &'a Candidate,
    weights: &'a Weights,
    is_wanted: bool,
}

impl One<'_> {
    fn decide(
        &self,
        config: &CompressedConfig,
        measurer: &mut Measurer<'_>,
        sizes: &[Size],
    ) -> Result<Decision, PrepareError> {
        let kernel = match &self.weights.kernel {
            Ok(kernel) => kernel,
            Err(error) if config.layers.get(self.name) == Some(&Choice::Sparse) => {
                return Err(never_sparse(self.name, &error.to_string()));
            }
            Err(error) => return Ok(Decision::new(Execution::Dense, error.to_string())),
        };
        if self.is_wanted {
            return Ok(Decision::new(Execution::Sparse, "its owner wants it so"));
        }
        let times = match measurer.times(self.candidate, kernel, sizes) {
            Ok(times) => times,
            Err(error) => {
                return Ok(Decision::new(
                    Execution::Dense,
                    format!("it was not measured: {error}"),
                ));
            }
        };
        let (execution, why) = match plan::is_faster_sparse(&times) {
            _ if times.is_empty() && measurer.is_over() => {
                (Execution::Dense, "there was no time left to measure it")
            }
            _ if times.is_empty() => (Execution::Dense, "its input's size is not known"),
            true => (Execution::Sparse, "it is faster"),
            false => (Execution::Dense, "it is not slower"),
        };
        Ok(Decision { execution, why: why.into(), times })
    }
}
