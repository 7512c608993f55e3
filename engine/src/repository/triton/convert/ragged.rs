//! Inputs that are joined flat, and what is made for each batch of them.

use super::tensors;
use crate::config::{BatchInputKind, MadeInput, RaggedConfig, ScatteredOutput};
use crate::repository::triton::node::Mistake;
use crate::repository::triton::settings::{TritonBatchTensor, TritonConfig, TritonTensor};
use crate::tensor::DataType;
use std::collections::BTreeSet;

/// Reads what concerns ragged batches; `None` if nothing does.
///
/// # Errors
/// Names the first field that contradicts another.
pub(super) fn read(triton: &TritonConfig) -> Result<Option<RaggedConfig>, Mistake> {
    let ragged = |(_, input): &(usize, &TritonTensor)| input.allow_ragged_batch;
    let mut inputs = BTreeSet::new();
    for (index, input) in triton.input.iter().enumerate().filter(ragged) {
        check_input(input, triton).map_err(|problem| {
            Mistake::in_field(format!("input[{index}].allow_ragged_batch"), problem)
        })?;
        inputs.insert(input.name.clone());
    }
    let mut targets = BTreeSet::new();
    let mut made = Vec::new();
    for (index, tensor) in triton.batch_input.iter().enumerate() {
        let field = format!("batch_input[{index}]");
        check_batches(triton, &field)?;
        let (name, source) =
            (target(tensor, &field, &mut targets)?, source(tensor, &field, triton)?);
        if triton.input.iter().any(|input| input.name == name) {
            let problem = format!("is '{name}', which requests bring: it is an input too");
            return Err(Mistake::in_field(format!("{field}.target_name"), problem));
        }
        let datatype = tensors::datatype(&tensor.data_type)
            .filter(|datatype| matches!(datatype, DataType::Fp32 | DataType::Int32));
        let Some(datatype) = datatype else {
            let problem = "must be TYPE_INT32 or TYPE_FP32";
            return Err(Mistake::in_field(format!("{field}.data_type"), problem));
        };
        made.push(MadeInput { name, kind: kind(&tensor.kind), datatype, source });
    }
    let mut scattered = Vec::new();
    for (index, tensor) in triton.batch_output.iter().enumerate() {
        let field = format!("batch_output[{index}]");
        check_batches(triton, &field)?;
        let (name, source) =
            (target(tensor, &field, &mut targets)?, source(tensor, &field, triton)?);
        check_output(&name, triton)
            .map_err(|problem| Mistake::in_field(format!("{field}.target_name"), problem))?;
        scattered.push(ScatteredOutput { name, source });
    }
    let is_none = inputs.is_empty() && made.is_empty() && scattered.is_empty();
    Ok((!is_none).then_some(RaggedConfig { inputs, made, scattered }))
}

const NO_BATCHES: &str = "requests share a batch only if max_batch_size is above 0";

fn check_batches(triton: &TritonConfig, field: &str) -> Result<(), Mistake> {
    match triton.max_batch_size {
        1.. => Ok(()),
        _ => Err(Mistake::in_field(field, NO_BATCHES)),
    }
}

fn check_input(input: &TritonTensor, triton: &TritonConfig) -> Result<(), &'static str> {
    if triton.max_batch_size <= 0 {
        Err(NO_BATCHES)
    } else if input.dims.is_empty() {
        Err("needs the dims of a request's row")
    } else if input.reshape.is_some() {
        Err("leaves no shape for a reshape: requests are joined flat")
    } else if input.optional {
        Err("needs the input in every request, and it is optional")
    } else if input.data_type == "TYPE_STRING" {
        Err("is for numbers, and the input is TYPE_STRING")
    } else {
        Ok(())
    }
}

fn check_output(name: &str, triton: &TritonConfig) -> Result<(), String> {
    let output = triton.output.iter().find(|output| output.name == name);
    match output {
        None => Err(format!("is '{name}', which is no output of the configuration")),
        Some(output) if output.reshape.is_some() => {
            Err(format!("is '{name}', which has a reshape: give it dims alone"))
        }
        Some(_) => Ok(()),
    }
}

/// The one name of a target, which no other has.
fn target(
    tensor: &TritonBatchTensor,
    field: &str,
    known: &mut BTreeSet<String>,
) -> Result<String, Mistake> {
    let problem = match tensor.target_name.as_slice() {
        [name] if name.is_empty() => "is empty".into(),
        [name] if known.insert(name.clone()) => return Ok(name.clone()),
        [name] => format!("is '{name}', as another"),
        names => format!("has {} names: exactly one", names.len()),
    };
    Err(Mistake::in_field(format!("{field}.target_name"), problem))
}

/// The one input of the configuration whose shapes count, which every request brings.
fn source(
    tensor: &TritonBatchTensor,
    field: &str,
    triton: &TritonConfig,
) -> Result<String, Mistake> {
    let input = |name: &str| triton.input.iter().find(|input| input.name == name);
    let problem = match tensor.source_input.as_slice() {
        [name] => match input(name) {
            Some(input) if input.optional => {
                format!("is '{name}', which is optional: requests may lack it")
            }
            Some(input) if input.reshape.is_some() => {
                format!("is '{name}', which has a reshape: its shape is not the graph's")
            }
            Some(_) => return Ok(name.clone()),
            None => format!("is '{name}', which is no input of the configuration"),
        },
        names => format!("has {} inputs: exactly one", names.len()),
    };
    Err(Mistake::in_field(format!("{field}.source_input"), problem))
}

/// The schema has no other kinds, and leaves out the first one.
fn kind(name: &str) -> BatchInputKind {
    match name {
        "BATCH_ACCUMULATED_ELEMENT_COUNT" => BatchInputKind::AccumulatedCount,
        "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO" => BatchInputKind::AccumulatedCountWithZero,
        "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE" => BatchInputKind::MaxCountAsShape,
        "BATCH_ITEM_SHAPE" => BatchInputKind::ItemShape,
        "BATCH_ITEM_SHAPE_FLATTEN" => BatchInputKind::ItemShapeFlat,
        _ => BatchInputKind::Count,
    }
}
