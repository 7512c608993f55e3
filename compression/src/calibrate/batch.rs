//! Checks that a batch fits the model.

use super::Batch;
use crate::CompressError;
use crate::suggest::nearest;
use skysail_graph::{Dim, Kind, Model, Tensor, ValueInfo};

/// Returns the tensors of a batch in the order of the model's inputs.
///
/// # Errors
/// `BadBatch` names the input and what was expected.
pub(super) fn in_order(
    model: &Model,
    index: usize,
    batch: &Batch,
) -> Result<Vec<Tensor>, CompressError> {
    let bad = |problem| CompressError::BadBatch { batch: index, problem };
    let inputs = model.graph().inputs();
    let known = |name: &str| inputs.iter().any(|input| input.name == name);
    if let Some((name, _)) = batch.iter().find(|(name, _)| !known(name)) {
        let names = inputs.iter().map(|input| input.name.as_str());
        let near = nearest(name, names, inputs.len()).join("', '");
        return Err(bad(format!("the model has no input '{name}'; its inputs are '{near}'")));
    }
    let tensors = inputs.iter().map(|input| {
        let mut matches = batch.iter().filter(|(name, _)| *name == input.name);
        let tensor = match (matches.next(), matches.next()) {
            (None, _) => return Err(bad(format!("input '{}' is missing", input.name))),
            (Some(_), Some(_)) => {
                return Err(bad(format!("input '{}' is given twice", input.name)));
            }
            (Some((_, tensor)), None) => tensor,
        };
        if !fits(tensor, input) {
            let found = format!("{} {:?}", tensor.element(), tensor.shape());
            return Err(bad(format!(
                "input '{}' must be {}, and is {found}",
                input.name, input.kind
            )));
        }
        Ok(tensor.clone())
    });
    tensors.collect()
}

fn fits(tensor: &Tensor, input: &ValueInfo) -> bool {
    let Kind::Tensor { element, dims } = &input.kind else { return false };
    let same = |(dim, size): (&Dim, &u64)| match dim {
        Dim::Fixed(fixed) => fixed == size,
        Dim::Symbol(_) | Dim::Computed(_) | Dim::Unknown => true,
    };
    let shape = tensor.shape();
    let fits = |dims: &Vec<Dim>| dims.len() == shape.len() && dims.iter().zip(shape).all(same);
    *element == tensor.element() && dims.as_ref().is_none_or(fits)
}
