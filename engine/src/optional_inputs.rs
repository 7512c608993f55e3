//! Finds the optional inputs of a graph: those with a default, which a request may leave out.

use crate::config::ExpectedTensor;
use skysail_graph::{Model, ValueInfo};
use std::collections::HashSet;

/// The inputs of a model that have a default: each is an initializer of the graph too.
///
/// Some exporters list all initializers among the inputs, weights included, without a meaning. For
/// such a model only the inputs that its configuration declares optional count.
pub(crate) fn optional_inputs(model: &Model, expected: &[ExpectedTensor]) -> Vec<ValueInfo> {
    let mut optional = model.optional_inputs();
    if lists_all_initializers(model, &optional) {
        let is_declared =
            |input: &ValueInfo| expected.iter().any(|t| t.optional && t.name == input.name);
        optional.retain(is_declared);
    }
    optional
}

/// True if all initializers are inputs, among them the weights of a layer.
fn lists_all_initializers(model: &Model, optional: &[ValueInfo]) -> bool {
    let names: HashSet<&str> = optional.iter().map(|input| input.name.as_str()).collect();
    let graph = model.graph();
    let is_weight = graph
        .weights()
        .is_ok_and(|weights| weights.iter().any(|weight| names.contains(weight.tensor.name())));
    is_weight && graph.initializers().all(|tensor| names.contains(tensor.name()))
}
