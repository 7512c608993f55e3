//! Puts a package together as it is to run.

use super::decide::Decision;
use super::decode::Weights;
use super::layer::{Kind, Layer as Found, Operation};
use super::rewrite::{SparseLayer, rewrite};
use super::{Executable, PrepareError};
use crate::layers::{Execution, Layer, Layers};
use skysail_compression::Package;
use skysail_graph::Model;
use skysail_kernels::operators;
use std::collections::HashMap;
use std::sync::Arc;

/// What a package is put together from.
pub(super) struct Parts<'a> {
    pub(super) package: &'a Package,
    pub(super) found: &'a [Found],
    /// Those of layers that may run sparse.
    pub(super) weights: &'a HashMap<String, Weights>,
}

impl Parts<'_> {
    /// What runs as decided. `model` has all other tensors.
    pub(super) fn executable(
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
                (Kind::Either(layer), Execution::Sparse, Ok(kernel)) => {
                    sparse.push(SparseLayer { name, layer, kernel });
                }
                _ => model.set_initializer(name, weights.values.to_dense()?),
            }
        }
        let layers = self.layers(decisions, &sparse);
        if sparse.is_empty() {
            return Ok(Executable { model: model.to_bytes()?, operators: None, layers });
        }
        let operators = operators(&rewrite(&mut model, &sparse)?)?;
        Ok(Executable { model: model.to_bytes()?, operators: Some(Arc::new(operators)), layers })
    }

    /// What is said of it.
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

    /// The same decisions with all convolutions dense, if there are sparse ones and nobody has
    /// wished for them.
    pub(super) fn without_convolutions(&self, decisions: &[Decision]) -> Option<Vec<Decision>> {
        let mut others = decisions.to_vec();
        let mut is_other = false;
        for (found, decision) in self.found.iter().zip(&mut others) {
            let Kind::Either(layer) = &found.kind else { continue };
            let is_convolution = matches!(layer.operation, Operation::Convolution { .. });
            if !is_convolution || decision.execution != Execution::Sparse {
                continue;
            }
            if decision.times.is_empty() {
                return None;
            }
            decision.execution = Execution::Dense;
            decision.why = "the model as a whole is faster so".into();
            is_other = true;
        }
        is_other.then_some(others)
    }
}
