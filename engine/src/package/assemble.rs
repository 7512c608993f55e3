//! Assembles the model that runs from the parts of a package.

use super::decide::Decision;
use super::decode::Weights;
use super::layer::{Layer as Found, LayerKind};
use super::rewrite::{SparseLayer, fuse, rewrite};
use super::{Executable, PrepareError};
use crate::layers::{Execution, Layer, Layers};
use skysail_compression::{Package, widen_int8};
use skysail_graph::Model;
use skysail_kernels::OperatorWeights;
use std::collections::HashMap;

/// Parts of a package.
pub(super) struct Parts {
    pub(super) package: Package,
    /// The graph with all tensors but `weights`; `None` if there are no such weights and the graph
    /// runs unchanged.
    pub(super) model: Option<Model>,
    pub(super) found: Vec<Found>,
    /// Weights of layers that may run sparse, by name.
    pub(super) weights: HashMap<String, Weights>,
}

impl Parts {
    /// Builds the model with the decisions applied.
    pub(super) fn executable(&self, decisions: &[Decision]) -> Result<Executable, PrepareError> {
        let model = match &self.model {
            Some(model) => model.clone(),
            None if self.has_int8_products() => self.package.model()?,
            None => {
                let (model, layers) = (self.package.model_bytes()?, self.layers(decisions, &[]));
                return Ok(Executable { model, operators: None, layers });
            }
        };
        self.with_weights(model, decisions)
    }

    /// Builds the model with its layers of 8 bits as floats, and the other decisions applied;
    /// `None` if there are no such layers.
    pub(super) fn widened(
        &self,
        decisions: &[Decision],
        why: &str,
    ) -> Result<Option<Executable>, PrepareError> {
        let is_int8 = |layer: &Found| matches!(layer.kind, LayerKind::Fixed(Execution::Int8, _));
        if !self.found.iter().any(is_int8) {
            return Ok(None);
        }
        let mut model = match &self.model {
            Some(model) => model.clone(),
            None => self.package.model()?,
        };
        let widened = widen_int8(&mut model)?;
        if widened.is_empty() {
            return Ok(None);
        }
        let mut decisions = decisions.to_vec();
        for (found, decision) in self.found.iter().zip(&mut decisions) {
            if is_int8(found) && widened.contains(&found.name) {
                *decision = Decision::new(Execution::Dense, why);
            }
        }
        self.with_weights(model, &decisions).map(Some)
    }

    /// Adds the weights of the layers, dense or as custom operators.
    fn with_weights(
        &self,
        mut model: Model,
        decisions: &[Decision],
    ) -> Result<Executable, PrepareError> {
        let mut sparse = Vec::new();
        for (found, decision) in self.found.iter().zip(decisions) {
            let (name, Some(weights)) = (&found.name, self.weights.get(&found.name)) else {
                continue;
            };
            match (&found.kind, decision.execution, &weights.kernel) {
                (LayerKind::Candidate(layer), Execution::Sparse, Ok(kernel)) => {
                    sparse.push(SparseLayer { name, layer, kernel });
                }
                _ => model.set_initializer(name, weights.values.to_dense()?),
            }
        }
        let layers = self.layers(decisions, &sparse);
        let mut operators = match sparse.is_empty() {
            true => OperatorWeights::default(),
            false => rewrite(&mut model, &sparse)?,
        };
        let has_int8 = fuse(&mut model, &mut operators)?;
        let operators = (has_int8 || !sparse.is_empty()).then_some(operators);
        Ok(Executable { model: model.to_bytes()?, operators, layers })
    }

    /// True if there may be products of bytes, which have a custom operator.
    fn has_int8_products(&self) -> bool {
        self.found.iter().any(|layer| layer.operator == "MatMulInteger")
    }

    /// The report on the layers.
    pub(super) fn layers(&self, decisions: &[Decision], sparse: &[SparseLayer<'_>]) -> Layers {
        let bytes = |name: &str| {
            let entry = self.package.tensors().iter().rfind(|entry| entry.name == name);
            entry.map_or(0, |entry| entry.dense_bytes)
        };
        let dense_bytes = self.package.tensors().iter().map(|entry| entry.dense_bytes).sum();
        let weights_bytes = sparse.iter().fold(dense_bytes, |sum: u64, layer| {
            sum.saturating_sub(bytes(layer.name)) + layer.kernel.bytes()
        });
        let layer = |(found, decision): (&Found, &Decision)| Layer {
            name: found.name.clone(),
            operator: found.operator.clone(),
            shape: found.shape.clone(),
            density: found.density,
            execution: decision.execution,
            why: decision.why.clone(),
            times: decision.times.clone(),
        };
        let layers = self.found.iter().zip(decisions).map(layer).collect();
        Layers { layers, weights_bytes, dense_bytes }
    }
}
