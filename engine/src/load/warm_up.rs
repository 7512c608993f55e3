//! Runs the warm-up that a model's configuration asks for.

use super::synthetic::{INPUT_BYTES_MAX, Input, element_count, noise, row_shape};
use crate::batching::Batching;
use crate::config::{WarmUp, WarmUpData, WarmUpInput};
use crate::executor::{BatchInput, Executor, Stop};
use crate::payload::Payload;
use crate::regular_file;
use crate::repository::source::is_plain;
use crate::signature::{Signature, TensorSpec};
use crate::tensor::{Shape, bytes_elements, elements};
use std::path::Path;

#[cfg(test)]
mod tests;

/// Makes the configured runs; `folder` is the model's.
///
/// # Errors
/// Names the warm-up that failed, and its input.
pub(crate) fn run_configured(
    executor: &mut dyn Executor,
    signature: &Signature,
    batching: &Batching,
    warm_ups: &[WarmUp],
    folder: &Path,
) -> Result<(), String> {
    for warm_up in warm_ups {
        let named = |error: String| format!("warm-up '{}': {error}", warm_up.name);
        check(warm_up, signature, batching).map_err(named)?;
        let rows = batching.is_on().then_some(warm_up.rows.max(1));
        let input = |spec: &TensorSpec, rows: Option<usize>| {
            let configured = warm_up.inputs.get(&*spec.name);
            let made = make(spec, rows, configured, folder);
            made.map_err(|error| named(format!("input '{}' {error}", spec.name)))
        };
        let mut inputs: Vec<Input> =
            signature.inputs.iter().map(|spec| input(spec, rows)).collect::<Result<_, _>>()?;
        let mut given = Vec::new();
        for (index, spec) in signature.optional_inputs.iter().enumerate() {
            if warm_up.inputs.contains_key(&*spec.name) {
                inputs.push(input(spec, None)?);
                given.push(index);
            }
        }
        let batch = inputs.iter().map(|(shape, data)| BatchInput {
            shape: shape.clone(),
            parts: std::iter::once(data).collect(),
            members: Vec::new(),
        });
        let batch: Vec<BatchInput<'_>> = batch.collect();
        for _ in 0..warm_up.count.max(1) {
            let ran = executor.execute_given(&batch, &given, &Stop::default());
            ran.map_err(|error| named(error.to_string()))?;
        }
    }
    Ok(())
}

/// Checks a warm-up against the model, but for its data.
fn check(warm_up: &WarmUp, signature: &Signature, batching: &Batching) -> Result<(), String> {
    let (rows, limit) = (warm_up.rows, batching.rows_max);
    if batching.is_on() && rows > limit && !batching.larger_requests_run_alone {
        return Err(format!("it has {rows} rows, and max_batch_size is {limit}"));
    }
    for (name, input) in &warm_up.inputs {
        let mut specs = signature.inputs.iter().chain(&signature.optional_inputs);
        let spec = specs.find(|spec| *spec.name == **name);
        let spec = spec.ok_or_else(|| format!("the model has no input '{name}'"))?;
        if let Some(said) = input.datatype.filter(|said| *said != spec.datatype) {
            let datatype = spec.datatype;
            return Err(format!(
                "input '{name}' is {datatype} in the graph, and its data_type {said}"
            ));
        }
    }
    Ok(())
}

/// Makes the data of one input of so many rows, or of one that has none.
fn make(
    spec: &TensorSpec,
    rows: Option<usize>,
    configured: Option<&WarmUpInput>,
    folder: &Path,
) -> Result<Input, String> {
    let mut shape = row_shape(spec, rows.is_some());
    if let Some(input) = configured.filter(|input| !input.dims.is_empty()) {
        let outer: Shape = rows.map(|_| 1).into_iter().chain(input.dims.iter().copied()).collect();
        let wrong = || format!("does not take the shape {outer:?}");
        shape = spec.inner_shape(outer.clone()).ok_or_else(wrong)?;
    }
    let row = elements(&shape).ok_or("is too large")?;
    if let (Some(dim), Some(rows)) = (shape.first_mut(), rows) {
        *dim = rows;
    }
    let count = element_count(spec, &shape)?;
    if !spec.accepts(&shape) {
        return Err(format!("does not take the shape {:?}", &shape[..]));
    }
    let data = match configured.map(|input| &input.data).unwrap_or(&WarmUpData::Zero) {
        WarmUpData::Zero => vec![0; count * spec.datatype.element_bytes().unwrap_or(4)].into(),
        WarmUpData::Random => noise(spec.datatype, count, 7),
        WarmUpData::File(name) => {
            let sample = read(folder, name)?;
            repeated(spec, sample, row, rows.unwrap_or(1))
                .map_err(|error| format!("'{name}': {error}"))?
        }
    };
    Ok((shape, data))
}

/// The data of all rows, which the sample is, or one of them.
fn repeated(
    spec: &TensorSpec,
    sample: Vec<u8>,
    row: usize,
    rows: usize,
) -> Result<Payload, String> {
    let wanted = |unit: &str, row: usize| match rows {
        1 => format!("one row needs {row} {unit}"),
        rows => format!("one row needs {row} {unit}, and {rows} rows need {}", row * rows),
    };
    let (there, row) = match spec.datatype.element_bytes() {
        Some(element_bytes) => (sample.len(), row * element_bytes),
        None => {
            let found: Vec<&[u8]> = bytes_elements(&sample).collect();
            let length: usize = found.iter().map(|element| 4 + element.len()).sum();
            if length != sample.len() {
                let bytes = sample.len();
                return Err(format!(
                    "its {bytes} bytes are no BYTES elements: each is its length in 4 bytes, and \
                     then the text"
                ));
            }
            (found.len(), row)
        }
    };
    let unit = if spec.datatype.element_bytes().is_some() { "bytes" } else { "elements" };
    if there == row * rows {
        return Ok(sample.into());
    }
    if there == row {
        return Ok(sample.repeat(rows).into());
    }
    Err(format!("it has {there} {unit}: {}", wanted(unit, row)))
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    if !is_plain(name) {
        return Err(format!(
            "has the file '{name}', which is no name in the model's folder warmup"
        ));
    }
    let read = regular_file::read(&folder.join("warmup").join(name), INPUT_BYTES_MAX as u64);
    read.map_err(|why| format!("has the file 'warmup/{name}', which {why}"))
}
