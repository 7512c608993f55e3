//! Runs the warm-up that a model's configuration asks for.

use super::synthetic::{INPUT_BYTES_MAX, Input, element_count, noise, row_shape};
use super::trial_run::run;
use crate::batching::Batching;
use crate::config::{WarmUp, WarmUpData};
use crate::executor::Executor;
use crate::payload::Payload;
use crate::repository::source::is_plain;
use crate::signature::{Signature, TensorSpec};
use std::fs;
use std::io;
use std::path::Path;

#[cfg(test)]
mod tests;

/// Makes the configured runs; `folder` is the model's.
///
/// # Errors
/// Names the warm-up that failed.
pub(crate) fn run_configured(
    executor: &mut dyn Executor,
    signature: &Signature,
    batching: &Batching,
    warm_ups: &[WarmUp],
    folder: &Path,
) -> Result<(), String> {
    for warm_up in warm_ups {
        let named = |error: String| format!("warm-up '{}': {error}", warm_up.name);
        if let Some(name) = warm_up.inputs.keys().find(|n| signature.input_index(n).is_none()) {
            return Err(named(format!("the model has no input '{name}'")));
        }
        let (rows, limit) = (warm_up.rows, batching.rows_max);
        if batching.is_on() && rows > limit && !batching.larger_requests_run_alone {
            return Err(named(format!("it has {rows} rows, and max_batch_size is {limit}")));
        }
        let inputs: Result<Vec<Input>, String> =
            signature.inputs.iter().map(|s| input(s, batching, warm_up, folder)).collect();
        let inputs = inputs.map_err(named)?;
        for _ in 0..warm_up.count.max(1) {
            run(executor, &[&inputs]).map_err(|error| named(error.to_string()))?;
        }
    }
    Ok(())
}

/// Data of one input for a configured run.
fn input(
    spec: &TensorSpec,
    batching: &Batching,
    warm_up: &WarmUp,
    folder: &Path,
) -> Result<Input, String> {
    let mut shape = row_shape(spec, batching.is_on());
    let configured = warm_up.inputs.get(&*spec.name);
    if let Some(input) = configured.filter(|input| !input.dims.is_empty()) {
        shape = input.dims.as_slice().into();
        if batching.is_on() {
            shape.insert(0, 1);
        }
    }
    if let (Some(dim), true) = (shape.first_mut(), batching.is_on()) {
        *dim = warm_up.rows.max(1);
    }
    let count = element_count(spec, &shape)?;
    if !spec.accepts(&shape) {
        return Err(format!("input '{}' does not take the shape {:?}", spec.name, &shape[..]));
    }
    let data = match configured.map(|input| &input.data).unwrap_or(&WarmUpData::Zero) {
        WarmUpData::Zero => vec![0; count * spec.datatype.element_bytes().unwrap_or(4)].into(),
        WarmUpData::Random => noise(spec.datatype, count, 7),
        WarmUpData::File(name) => read(folder, name)?,
    };
    Ok((shape, data))
}

fn read(folder: &Path, name: &str) -> Result<Payload, String> {
    if !is_plain(name) {
        return Err(format!("'{name}' is not the name of a file in the model's folder warmup"));
    }
    let path = folder.join("warmup").join(name);
    let with_path = |error: io::Error| format!("{}: {error}", path.display());
    if fs::metadata(&path).map_err(with_path)?.len() > INPUT_BYTES_MAX as u64 {
        return Err(format!("{}: larger than {INPUT_BYTES_MAX} bytes", path.display()));
    }
    fs::read(&path).map(Payload::from).map_err(with_path)
}
