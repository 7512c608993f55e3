//! Which inputs of a graph have a default, so that a request may leave them out.

use crate::config::ExpectedTensor;
use skysail_graph::{Model, ValueInfo};
use std::collections::HashSet;

/// The inputs of a model that have a default, each an initializer of the graph too.
///
/// Some exporters list all initializers among the inputs, the weights of layers as well, and mean
/// nothing by it. Of such a model only those count that its owner says to be optional.
pub(crate) fn optional_inputs(model: &Model, expected: &[ExpectedTensor]) -> Vec<ValueInfo> {
    let mut optional = model.optional_inputs();
    if are_inputs_by_accident(model, &optional) {
        let is_wanted =
            |input: &ValueInfo| expected.iter().any(|t| t.optional && t.name == input.name);
        optional.retain(is_wanted);
    }
    optional
}

/// Whether all initializers are inputs, and the weights of a layer among them.
fn are_inputs_by_accident(model: &Model, optional: &[ValueInfo]) -> bool {
    let names: HashSet<&str> = optional.iter().map(|input| input.name.as_str()).collect();
    let graph = model.graph();
    let is_weight = graph
        .weights()
        .is_ok_and(|weights| weights.iter().any(|weight| names.contains(weight.tensor.name())));
    is_weight && graph.initializers().all(|tensor| names.contains(tensor.name()))
}
