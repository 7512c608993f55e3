//! Checks the inputs and outputs that a configuration declares against the graph.

use crate::config::ExpectedTensor;
use crate::signature::{Signature, TensorSpec, list};
use crate::tensor::DataType;

/// Checks the inputs.
///
/// # Errors
/// Names the first input that differs from its declaration, and its form in the graph.
pub(crate) fn check_inputs(
    expected: &[ExpectedTensor],
    signature: &Signature,
    has_rows: bool,
) -> Result<(), String> {
    for tensor in expected {
        let name = &*tensor.name;
        if let Some(spec) = find(&signature.optional_inputs, name) {
            // Its declaration may leave out a batch dimension or not.
            check_spec("input", tensor, spec, false)
                .or_else(|error| check_spec("input", tensor, spec, has_rows).map_err(|_| error))?;
            continue;
        }
        let spec = find(&signature.inputs, name).ok_or_else(|| missing("input", name))?;
        if tensor.optional {
            return Err(format!(
                "input '{name}' is optional in its configuration, and the graph has no default \
                 for it: give the graph an initializer of that name (IR version 4 or later), or \
                 remove `optional`"
            ));
        }
        check_spec("input", tensor, spec, has_rows)?;
    }
    Ok(())
}

/// Checks the outputs.
///
/// # Errors
/// Names the first output that differs from its declaration, and its form in the graph.
pub(crate) fn check_outputs(
    expected: &[ExpectedTensor],
    signature: &Signature,
    has_rows: bool,
) -> Result<(), String> {
    for tensor in expected {
        let name = &*tensor.name;
        let spec = find(&signature.outputs, name).ok_or_else(|| missing("output", name))?;
        check_spec("output", tensor, spec, has_rows)?;
    }
    Ok(())
}

fn find<'a>(specs: &'a [TensorSpec], name: &str) -> Option<&'a TensorSpec> {
    specs.iter().find(|spec| &*spec.name == name)
}

fn missing(side: &str, name: &str) -> String {
    format!("its configuration has an {side} '{name}', and the graph has none")
}

fn check_spec(
    side: &str,
    tensor: &ExpectedTensor,
    spec: &TensorSpec,
    batches: bool,
) -> Result<(), String> {
    let name = &tensor.name;
    if tensor.datatype.is_some_and(|datatype| datatype != spec.datatype) {
        let (datatype, said) = (spec.datatype, tensor.datatype.map_or("", DataType::name));
        return Err(format!(
            "{side} '{name}' is {datatype} in the graph, and its data_type {said}"
        ));
    }
    let dims = tensor.reshape.as_ref().or(tensor.dims.as_ref());
    let Some(dims) = dims.filter(|_| !spec.any_rank) else { return Ok(()) };
    let graph: Vec<i64> = spec.graph_dims_of_row(batches).collect();
    let fits = |(a, b): (&i64, &i64)| a == b || *a == -1 || *b == -1;
    if graph.len() != dims.len() || !graph.iter().zip(dims).all(fits) {
        let (graph, dims) = (list(graph.iter()), list(dims.iter()));
        let batch = if batches { " after the batch dimension" } else { "" };
        let said = if tensor.reshape.is_some() { "a reshape to " } else { "" };
        return Err(format!(
            "{side} '{name}' has dims {graph}{batch} in the graph, not {said}{dims}"
        ));
    }
    Ok(())
}
