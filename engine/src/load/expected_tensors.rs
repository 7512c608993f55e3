//! Checks the inputs and outputs that a configuration declares against the graph.

use crate::config::ExpectedTensor;
use crate::signature::{Signature, TensorSpec, list};

/// A field of a configuration that does not fit the graph.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Path of the field, such as `input[0].dims`.
    pub(crate) field: String,
    /// The difference, and what to do.
    pub(crate) problem: String,
}

/// A declared input or output, with its place in the configuration.
struct Declared<'a> {
    /// Name of the list that it stands in.
    side: &'static str,
    index: usize,
    tensor: &'a ExpectedTensor,
}

/// Checks the inputs.
///
/// # Errors
/// Names the first input that differs from its declaration, and its form in the graph.
pub(crate) fn check_inputs(
    expected: &[ExpectedTensor],
    signature: &Signature,
    has_rows: bool,
) -> Result<(), Mismatch> {
    for (index, tensor) in expected.iter().enumerate() {
        let (name, input) = (&*tensor.name, Declared { side: "input", index, tensor });
        if let Some(spec) = find(&signature.optional_inputs, name) {
            // Its declaration may leave out a batch dimension or not.
            input
                .check(spec, false)
                .or_else(|error| input.check(spec, has_rows).map_err(|_| error))?;
            continue;
        }
        let spec = find(&signature.inputs, name).ok_or_else(|| {
            let all = signature.inputs.iter().chain(&signature.optional_inputs);
            input.missing(all)
        })?;
        if tensor.optional {
            let problem = format!(
                "input '{name}' is optional in its configuration, and the graph has no default \
                 for it: give the graph an initializer of that name (IR version 4 or later), or \
                 remove `optional`"
            );
            return Err(input.mismatch("optional", problem));
        }
        input.check(spec, has_rows)?;
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
) -> Result<(), Mismatch> {
    for (index, tensor) in expected.iter().enumerate() {
        let output = Declared { side: "output", index, tensor };
        let spec = find(&signature.outputs, &tensor.name);
        spec.ok_or_else(|| output.missing(&signature.outputs))
            .and_then(|spec| output.check(spec, has_rows))?;
    }
    Ok(())
}

fn find<'a>(specs: &'a [TensorSpec], name: &str) -> Option<&'a TensorSpec> {
    specs.iter().find(|spec| &*spec.name == name)
}

impl Declared<'_> {
    fn mismatch(&self, part: &str, problem: String) -> Mismatch {
        Mismatch { field: format!("{}[{}].{part}", self.side, self.index), problem }
    }

    fn missing<'s>(&self, all: impl IntoIterator<Item = &'s TensorSpec>) -> Mismatch {
        let (side, name) = (self.side, &self.tensor.name);
        let known: Vec<String> = all.into_iter().map(|spec| format!("'{}'", spec.name)).collect();
        let problem = format!(
            "its configuration has an {side} '{name}', and the graph has none: its {side}s are {}",
            known.join(", ")
        );
        self.mismatch("name", problem)
    }

    fn check(&self, spec: &TensorSpec, batches: bool) -> Result<(), Mismatch> {
        let Self { side, tensor, .. } = *self;
        let name = &tensor.name;
        if let Some(said) = tensor.datatype.filter(|said| *said != spec.datatype) {
            let (datatype, said) = (spec.datatype, said.name());
            let problem =
                format!("{side} '{name}' is {datatype} in the graph, and its data_type {said}");
            return Err(self.mismatch("data_type", problem));
        }
        let dims = tensor.reshape.as_ref().or(tensor.dims.as_ref());
        let Some(dims) = dims.filter(|_| !spec.any_rank) else { return Ok(()) };
        let graph: Vec<i64> = spec.graph_dims_of_row(batches).collect();
        let fits = |(a, b): (&i64, &i64)| a == b || *a == -1 || *b == -1;
        if graph.len() != dims.len() || !graph.iter().zip(dims).all(fits) {
            let (graph, dims) = (list(graph.iter()), list(dims.iter()));
            let batch = if batches { " after the batch dimension" } else { "" };
            let (part, said) = match tensor.reshape {
                Some(_) => ("reshape", "a reshape to "),
                None => ("dims", ""),
            };
            let problem =
                format!("{side} '{name}' has dims {graph}{batch} in the graph, not {said}{dims}");
            return Err(self.mismatch(part, problem));
        }
        Ok(())
    }
}
