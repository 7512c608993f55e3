//! Inputs and outputs as a configuration declares them.

use super::is_inside;
use crate::config::{ExpectedTensor, ModelConfig};
use crate::repository::triton::node::Mistake;
use crate::repository::triton::settings::TritonTensor;
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
