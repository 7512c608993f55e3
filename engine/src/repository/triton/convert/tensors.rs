//! Inputs and outputs as a configuration declares them.

use super::is_inside;
use crate::config::{
    BatchInputKind, DerivedInput, ExpectedTensor, ModelConfig, RaggedConfig, ScatteredOutput,
};
use crate::repository::triton::node::Mistake;
use crate::repository::triton::settings::{TritonBatchTensor, TritonTensor};
use crate::signature::list;
use crate::tensor::{DataType, elements};
use std::collections::{BTreeMap, BTreeSet};

/// The datatype of a name of the schema, which has no others; `None` if it is left open.
pub(super) fn datatype(name: &str) -> Option<DataType> {
    match name {
        "TYPE_STRING" => Some(DataType::Bytes),
        name => DataType::from_name(name.strip_prefix("TYPE_")?),
    }
}

/// Reads the inputs or the outputs; `side` is the name of their field.
pub(super) fn expected(
    tensors: Vec<TritonTensor>,
    side: &str,
) -> Result<Vec<ExpectedTensor>, Mistake> {
    let mut names = BTreeSet::new();
    let expect = |(index, tensor): (usize, TritonTensor)| {
        let field = format!("{side}[{index}]");
        if tensor.name.is_empty() {
            return Err(Mistake::in_field(field, "needs a name"));
        }
        if !names.insert(tensor.name.clone()) {
            let problem = format!("is '{}', as another {side}", tensor.name);
            return Err(Mistake::in_field(format!("{field}.name"), problem));
        }
        if let Some(dim) = tensor.dims.iter().find(|dim| **dim < -1 || **dim == 0) {
            let problem = format!("{dim} is no size: at least 1, or -1 for any");
            return Err(Mistake::in_field(format!("{field}.dims"), problem));
        }
        Ok(ExpectedTensor {
            name: tensor.name,
            datatype: datatype(&tensor.data_type),
            dims: Some(tensor.dims).filter(|dims| !dims.is_empty()),
            reshape: tensor.reshape.map(|reshape| reshape.shape),
            optional: tensor.optional,
            ragged: tensor.allow_ragged_batch,
        })
    };
    tensors.into_iter().enumerate().map(expect).collect()
}

/// The files of labels, by output. A file lies in the model's folder, or in one inside.
pub(super) fn labels(outputs: &[TritonTensor]) -> Result<BTreeMap<String, String>, Mistake> {
    let mut labels = BTreeMap::new();
    for (index, output) in outputs.iter().enumerate() {
        let file = &output.label_filename;
        if file.is_empty() {
            continue;
        }
        if !is_inside(file) {
            let field = format!("output[{index}].label_filename");
            let problem = format!("is '{file}', and must be a file in the model's folder");
            return Err(Mistake::in_field(field, problem));
        }
        labels.insert(output.name.clone(), file.clone());
    }
    Ok(labels)
}

/// The order of dimensions of inputs that are images.
pub(super) fn image_formats(inputs: &[TritonTensor]) -> BTreeMap<String, String> {
    let images = inputs.iter().filter(|input| !matches!(&*input.format, "" | "FORMAT_NONE"));
    images.map(|input| (input.name.clone(), input.format.clone())).collect()
}

/// Checks that each reshape keeps the number of elements.
pub(super) fn check_reshapes(config: &ModelConfig) -> Result<(), Mistake> {
    let sides = [("input", &config.expected_inputs), ("output", &config.expected_outputs)];
    for (side, tensors) in sides {
        for (index, tensor) in tensors.iter().enumerate() {
            let Some(shape) = &tensor.reshape else { continue };
            let dims = tensor.dims.as_deref().unwrap_or_default();
            let mistake = |problem| {
                let problem = format!("of {side} '{}' {problem}", tensor.name);
                Err(Mistake::in_field(format!("{side}[{index}].reshape"), problem))
            };
            let (from, to) = (list(dims.iter()), list(shape.iter()));
            if shape.iter().any(|dim| *dim < -1 || *dim == 0) {
                return mistake(format!("is {to}: sizes are at least 1, or -1 for any"));
            }
            if parts(dims) != parts(shape) || parts(dims).contains(&None) {
                return mistake(format!(
                    "is {to} for dims {from}: both need the same number of elements before, \
                     between and behind their -1"
                ));
            }
        }
    }
    Ok(())
}

/// Elements before, between and behind the open dimensions; `None` where they are too many.
fn parts(dims: &[i64]) -> Vec<Option<usize>> {
    let sizes = |part: &[i64]| -> Option<usize> {
        let sizes: Option<Vec<usize>> = part.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        elements(&sizes?)
    };
    dims.split(|dim| *dim == -1).map(sizes).collect()
}

/// Reads the inputs and outputs that are made for each batch.
pub(super) fn ragged(
    inputs: Vec<TritonBatchTensor>,
    outputs: Vec<TritonBatchTensor>,
    config: &ModelConfig,
) -> Result<Option<RaggedConfig>, Mistake> {
    let declared = &config.expected_inputs;
    let ragged: BTreeSet<String> =
        declared.iter().filter(|input| input.ragged).map(|input| input.name.clone()).collect();
    if ragged.is_empty() && inputs.is_empty() && outputs.is_empty() {
        return Ok(None);
    }
    if config.max_batch_size.unwrap_or(0) == 0 {
        let field = if inputs.is_empty() { "input" } else { "batch_input" };
        let problem = "requests share a batch only if max_batch_size is above 0";
        return Err(Mistake::in_field(field, problem));
    }
    let source = |tensor: &TritonBatchTensor, field: &str| {
        let [name] = tensor.source_input.as_slice() else {
            let problem = format!("has {} inputs: exactly one", tensor.source_input.len());
            return Err(Mistake::in_field(format!("{field}.source_input"), problem));
        };
        if !declared.iter().any(|input| input.name == *name) {
            let problem = format!("is '{name}', which is no input of the configuration");
            return Err(Mistake::in_field(format!("{field}.source_input"), problem));
        }
        Ok(name.clone())
    };
    let mut derived = Vec::new();
    for (index, tensor) in inputs.iter().enumerate() {
        let field = format!("batch_input[{index}]");
        let (source, name) = (source(tensor, &field)?, target(tensor, &field)?);
        let kind = kind(&tensor.kind);
        let datatype = datatype(&tensor.data_type);
        let is_number =
            |it: &DataType| matches!(it, DataType::Fp32 | DataType::Int32 | DataType::Int64);
        let Some(datatype) = datatype.filter(is_number) else {
            let problem = "must be TYPE_INT32, TYPE_INT64 or TYPE_FP32";
            return Err(Mistake::in_field(format!("{field}.data_type"), problem));
        };
        derived.push(DerivedInput { name, kind, datatype, source });
    }
    let mut scattered = Vec::new();
    for (index, tensor) in outputs.iter().enumerate() {
        let field = format!("batch_output[{index}]");
        scattered.push(ScatteredOutput {
            name: target(tensor, &field)?,
            source: source(tensor, &field)?,
        });
    }
    Ok(Some(RaggedConfig { inputs: ragged, derived, scattered }))
}

fn target(tensor: &TritonBatchTensor, field: &str) -> Result<String, Mistake> {
    match tensor.target_name.as_slice() {
        [name] => Ok(name.clone()),
        names => {
            let problem = format!("has {} names: exactly one", names.len());
            Err(Mistake::in_field(format!("{field}.target_name"), problem))
        }
    }
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
