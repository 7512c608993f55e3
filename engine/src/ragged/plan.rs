//! Reads what a configuration says of ragged batches, and checks it against the graph.

use super::{Ragged, Scatter};
use crate::config::{BatchInputKind, ExpectedTensor, MadeInput, ModelConfig, RaggedConfig};
use crate::signature::{ProvenShapes, Signature, TensorSpec, list};
use crate::tensor::DataType;
use smallvec::SmallVec;
use std::sync::Arc;

/// Dimensions with that of rows; `None` for any size.
type Dims = SmallVec<[Option<usize>; 4]>;

/// A version with ragged inputs: its inputs as requests bring them, and as the graph takes them.
#[derive(Debug)]
pub(crate) struct RaggedPlan {
    /// Signature of rows, which requests fit.
    pub(crate) signature: Arc<Signature>,
    /// Source of each input of the graph, in its order.
    pub(crate) inputs: Arc<[GraphInput]>,
    /// Handling of batches.
    pub(crate) ragged: Arc<Ragged>,
}

/// Source of an input of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GraphInput {
    /// Rows of the requests' input of this index.
    Rows(usize),
    /// All elements of the requests' input of this index.
    Flat(usize),
    /// Shapes of the requests' input `source`.
    Made { kind: BatchInputKind, datatype: DataType, source: usize },
}

impl RaggedPlan {
    /// Reads the plan of a version; `None` if nothing of it is ragged.
    ///
    /// # Errors
    /// Names the field that does not fit the graph.
    pub(crate) fn read(config: &ModelConfig, graph: &Signature) -> Result<Option<Self>, String> {
        let Some(ragged) = &config.ragged else { return Ok(None) };
        let signature = as_rows(config, ragged, graph)?;
        let index = |name: &str| {
            let missing = || format!("its configuration has an input '{name}', and the graph none");
            signature.input_index(name).ok_or_else(missing)
        };
        let input = |spec: &TensorSpec| -> Result<GraphInput, String> {
            let Some(made) = ragged.made.iter().find(|made| made.name == *spec.name) else {
                let index = index(&spec.name)?;
                let is_flat = ragged.inputs.contains(&*spec.name);
                return Ok(if is_flat { GraphInput::Flat(index) } else { GraphInput::Rows(index) });
            };
            let source = index(&made.source)?;
            check_made(made, spec, signature.inputs[source].dims.len())?;
            Ok(GraphInput::Made { kind: made.kind, datatype: made.datatype, source })
        };
        let inputs = graph.inputs.iter().map(input).collect::<Result<_, _>>()?;
        let scatter = |spec: &TensorSpec| {
            let output = ragged.scattered.iter().find(|output| output.name == *spec.name);
            let Some(output) = output else { return Ok(None) };
            let source = index(&output.source)?;
            check_scattered(spec, &signature.inputs[source])?;
            Ok(Some(Scatter { source, dims: spec.dims.clone() }))
        };
        let scattered = signature.outputs.iter().map(scatter).collect::<Result<_, String>>()?;
        let flat = signature.inputs.iter().map(|spec| ragged.inputs.contains(&*spec.name));
        let ragged = Arc::new(Ragged { flat: flat.collect(), scattered });
        Ok(Some(Self { signature: Arc::new(signature), inputs, ragged }))
    }
}

/// The signature with the shapes that requests have, and without inputs that they do not bring.
fn as_rows(
    config: &ModelConfig,
    ragged: &RaggedConfig,
    graph: &Signature,
) -> Result<Signature, String> {
    // What is proven of the graph's inputs is not true of these.
    let mut signature = Signature { proven: ProvenShapes::default(), ..graph.clone() };
    for made in &ragged.made {
        let problem = "and the graph has no such input without a default";
        if graph.input_index(&made.name).is_none() {
            return Err(format!("batch_input makes '{}', {problem}", made.name));
        }
    }
    signature.inputs.retain(|spec| ragged.made.iter().all(|made| made.name != *spec.name));
    for name in &ragged.inputs {
        let index = signature.input_index(name).ok_or_else(|| {
            format!("input '{name}' allows ragged batches, and the graph has no such input")
        })?;
        let spec = &mut signature.inputs[index];
        let is_flat = spec.any_rank || spec.dims.as_slice() == [None];
        if !is_flat || spec.datatype == DataType::Bytes {
            let (dims, datatype) = (list(spec.wire_dims()), spec.datatype);
            return Err(format!(
                "input '{name}' allows ragged batches, and is {datatype} {dims} in the graph: it \
                 must have one dimension of any size, [-1], and numbers"
            ));
        }
        set_dims(spec, &config.expected_inputs);
    }
    for output in &ragged.scattered {
        let index = signature.output_index(&output.name).ok_or_else(|| {
            format!("batch_output divides '{}', and the graph has no such output", output.name)
        })?;
        set_dims(&mut signature.outputs[index], &config.expected_outputs);
    }
    Ok(signature)
}

/// Gives a tensor the dimensions of rows that its declaration has.
fn set_dims(spec: &mut TensorSpec, declared: &[ExpectedTensor]) {
    let declared = declared.iter().find(|tensor| tensor.name == *spec.name);
    let dims = declared.and_then(|tensor| tensor.dims.as_deref()).unwrap_or_default();
    let dims: Dims = dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    spec.dims = std::iter::once(None).chain(dims).collect();
    spec.dim_names.clear();
    spec.any_rank = false;
}

/// Checks that an input of the graph takes what is made for it; `rank` is the source's.
fn check_made(made: &MadeInput, spec: &TensorSpec, rank: usize) -> Result<(), String> {
    let (name, datatype) = (&made.name, made.datatype);
    if spec.datatype != datatype {
        let graph = spec.datatype;
        return Err(format!(
            "input '{name}' is {graph} in the graph, and the data_type of its batch_input is \
             {datatype}"
        ));
    }
    let dims: Dims = match made.kind {
        BatchInputKind::ItemShape => [None, Some(rank.saturating_sub(1))].into_iter().collect(),
        _ => std::iter::once(None).collect(),
    };
    let fits = |(graph, dim): (&Option<usize>, &Option<usize>)| graph.is_none() || graph == dim;
    if !spec.any_rank && (spec.dims.len() != dims.len() || !spec.dims.iter().zip(&dims).all(fits)) {
        let graph = list(spec.wire_dims());
        let dims = list(dims.iter().map(|dim| dim.map_or("-1".into(), |dim| dim.to_string())));
        return Err(format!(
            "input '{name}' has the dimensions {graph} in the graph, and its batch_input {dims}"
        ));
    }
    Ok(())
}

/// Checks that each open dimension of a part has one of the source that gives its size.
fn check_scattered(output: &TensorSpec, source: &TensorSpec) -> Result<(), String> {
    let beyond = output.dims.iter().skip(source.dims.len());
    if beyond.clone().any(Option::is_none) {
        let (name, dims) = (&output.name, list(output.wire_dims().skip(1)));
        let (source, of_source) = (&source.name, list(source.wire_dims().skip(1)));
        return Err(format!(
            "output '{name}' has dims {dims}, and its batch_output takes their sizes from input \
             '{source}', which has {of_source}"
        ));
    }
    Ok(())
}
