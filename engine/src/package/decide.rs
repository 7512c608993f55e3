//! Decides for each layer of a package whether it runs dense or sparse: as configured, or by
//! measuring.

use super::PrepareError;
use super::batch_sizes::BatchShapes;
use super::criteria;
use super::decode::Weights;
use super::layer::{Candidate, Layer as Found, LayerKind};
use super::measure::Measurer;
use crate::config::{Choice, CompressedConfig};
use crate::layers::{Execution, LayerTimes};
use ort::environment::Environment;
use std::cmp::Reverse;
use std::collections::HashMap;

/// Decision on a layer, with its reason.
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

/// Checks that configured layers exist and can run as configured.
pub(super) fn check(config: &CompressedConfig, layers: &[Found]) -> Result<(), PrepareError> {
    let names = layers.iter().map(|layer| layer.name.as_str());
    criteria::check_names(config, names).map_err(PrepareError::Config)?;
    for layer in layers {
        let choice = config.layers.get(&layer.name);
        if let (LayerKind::Fixed(_, why), Some(Choice::Sparse)) = (&layer.kind, choice) {
            return Err(never_sparse(&layer.name, why));
        }
    }
    Ok(())
}

fn never_sparse(name: &str, why: &str) -> PrepareError {
    PrepareError::Config(format!("compressed.layers wants '{name}' sparse, and {why}"))
}

/// Layers that may run sparse, by name.
pub(super) fn candidates<'a>(
    config: &CompressedConfig,
    layers: &'a [Found],
) -> HashMap<&'a str, &'a Candidate> {
    let candidate = |layer: &'a Found| match &layer.kind {
        LayerKind::Candidate(candidate)
            if criteria::choice(config, &layer.name) != Choice::Dense =>
        {
            Some((layer.name.as_str(), &**candidate))
        }
        _ => None,
    };
    layers.iter().filter_map(candidate).collect()
}

/// Decides on all layers. Those with the most weights are measured first, as time is limited.
pub(super) fn decide(
    config: &CompressedConfig,
    layers: &[Found],
    weights: &HashMap<String, Weights>,
    sizes: &[BatchShapes],
    environment: &Environment,
) -> Result<Vec<Decision>, PrepareError> {
    let mut measurer = Measurer::new(environment);
    let mut order: Vec<usize> = (0..layers.len()).collect();
    let count =
        |layer: &usize| layers[*layer].shape.iter().fold(1, |n: u64, d| n.saturating_mul(*d));
    order.sort_by_key(|layer| Reverse(count(layer)));
    let mut decisions: Vec<_> = layers.iter().map(dense).collect();
    for index in order {
        let layer = &layers[index];
        if let (LayerKind::Candidate(candidate), Some(weights)) =
            (&layer.kind, weights.get(&layer.name))
        {
            let is_configured = criteria::choice(config, &layer.name) == Choice::Sparse;
            let open = OpenLayer { name: &layer.name, candidate, weights, is_configured };
            decisions[index] = open.decide(config, &mut measurer, sizes)?;
        }
    }
    Ok(decisions)
}

/// The decision on a layer that does not run sparse.
pub(super) fn dense(layer: &Found) -> Decision {
    match &layer.kind {
        LayerKind::Fixed(execution, why) => Decision::new(*execution, *why),
        LayerKind::Candidate(_) => Decision::new(Execution::Dense, "it is configured so"),
    }
}

/// A layer that may run sparse.
struct OpenLayer<'a> {
    name: &'a str,
    candidate: &'a Candidate,
    weights: &'a Weights,
    is_configured: bool,
}

impl OpenLayer<'_> {
    fn decide(
        &self,
        config: &CompressedConfig,
        measurer: &mut Measurer<'_>,
        sizes: &[BatchShapes],
    ) -> Result<Decision, PrepareError> {
        let kernel = match &self.weights.kernel {
            Ok(kernel) => kernel,
            Err(error) if config.layers.get(self.name) == Some(&Choice::Sparse) => {
                return Err(never_sparse(self.name, &error.to_string()));
            }
            Err(error) => return Ok(Decision::new(Execution::Dense, error.to_string())),
        };
        if self.is_configured {
            return Ok(Decision::new(Execution::Sparse, "it is configured so"));
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
        let (execution, why) = match criteria::is_faster_sparse(&times) {
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
