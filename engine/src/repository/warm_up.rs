//! Runs that a model makes before it is ready: on inputs that are made up, and those that its owner
//! wants.

use super::source::is_plain;
use crate::config::{WarmUp, WarmUpData};
use crate::executor::{BatchInput, ExecuteError, Executor, Stop};
use crate::payload::Payload;
use crate::request::OutputTensor;
use crate::signature::{Signature, TensorSpec};
use crate::tensor::{DataType, Shape, elements, push_bytes_element};
use half::{bf16, f16};
use smallvec::SmallVec;
use std::fs;
use std::io;
use std::path::Path;

#[cfg(test)]
mod tests;

/// Bytes of the largest input that is made up or read from a file.
pub(super) const INPUT_BYTES_MAX: usize = 1 << 30;

/// Size given to dimensions that are open and not the batch's.
pub(super) const OPEN_DIM: usize = 8;

/// One input's data for a run.
pub(super) type Input = (Shape, Payload);

/// The elements of floating-point data.
pub(super) fn numbers(data: &[u8], datatype: DataType) -> Option<Vec<f64>> {
    fn each<const N: usize>(data: &[u8], to_f64: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks().0.iter().map(|&element| to_f64(element)).collect()
    }
    Some(match datatype {
        DataType::Fp16 => each(data, |b| f16::from_le_bytes(b).to_f64()),
        DataType::Bf16 => each(data, |b| bf16::from_le_bytes(b).to_f64()),
        DataType::Fp32 => each(data, |b| f32::from_le_bytes(b).into()),
        DataType::Fp64 => each(data, f64::from_le_bytes),
        _ => return None,
    })
}

/// Runs rows together and gives the outputs.
pub(super) fn run(
    executor: &mut dyn Executor,
    rows: &[&Vec<Input>],
) -> Result<SmallVec<[OutputTensor; 2]>, ExecuteError> {
    let Some(first) = rows.first() else { return Ok(SmallVec::new()) };
    let together = |index: usize| {
        let mut shape = first[index].0.clone();
        if let (Some(dim), true) = (shape.first_mut(), rows.len() > 1) {
            *dim = rows.len();
        }
        BatchInput { shape, parts: rows.iter().map(|row| &row[index].1).collect() }
    };
    let inputs: Vec<_> = (0..first.len()).map(together).collect();
    Ok(executor.execute(&inputs, &Stop::default())?.outputs)
}

/// One row of every input, different for each seed.
pub(super) fn made_up_row(signature: &Signature, seed: u64) -> Result<Vec<Input>, ExecuteError> {
    let row = |(index, spec): (usize, &TensorSpec)| {
        let shape = row_shape(spec, signature.batches() || spec.dims.first() == Some(&None));
        let count = count(spec, &shape).map_err(ExecuteError::Failed)?;
        let data = noise(spec.datatype, count, seed * 31 + index as u64);
        Ok((shape, data))
    };
    signature.inputs.iter().enumerate().map(row).collect()
}

/// Elements of an input of this shape, unless they are too many.
pub(super) fn count(spec: &TensorSpec, shape: &[usize]) -> Result<usize, String> {
    let element_bytes = spec.datatype.element_bytes().unwrap_or(4 + 1);
    let count = elements(shape).filter(|count| *count <= INPUT_BYTES_MAX / element_bytes);
    count.ok_or_else(|| format!("input '{}' is too large to be made up: {shape:?}", spec.name))
}

pub(super) fn row_shape(spec: &TensorSpec, first_is_rows: bool) -> Shape {
    let mut shape: Shape = spec.dims.iter().map(|dim| dim.unwrap_or(OPEN_DIM)).collect();
    if let (Some(dim), true) = (shape.first_mut(), first_is_rows) {
        *dim = 1;
    }
    shape
}

/// Deterministic elements: floats in [0, 1), integers and booleans 0 or 1, strings "0" or "1", so
/// that indices and parsed numbers are mostly valid. The first of those says whether the seed is
/// odd, so that even rows of one element differ from their neighbours.
pub(super) fn noise(datatype: DataType, count: usize, seed: u64) -> Payload {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut data = Vec::new();
    for index in 0..count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let unit = (state >> 40) as f32 / (1 << 24) as f32;
        let bit = u8::from(if index == 0 { seed % 2 == 1 } else { unit >= 0.5 });
        match datatype {
            DataType::Fp16 => data.extend_from_slice(&f16::from_f32(unit).to_le_bytes()),
            DataType::Bf16 => data.extend_from_slice(&bf16::from_f32(unit).to_le_bytes()),
            DataType::Fp32 => data.extend_from_slice(&unit.to_le_bytes()),
            DataType::Fp64 => data.extend_from_slice(&f64::from(unit).to_le_bytes()),
            DataType::Bytes => push_bytes_element(&mut data, if bit == 1 { b"1" } else { b"0" }),
            _ => {
                data.push(bit);
                data.resize(data.len() + datatype.element_bytes().unwrap_or(1) - 1, 0);
            }
        }
    }
    data.into()
}

/// Makes the runs that the model's owner wants.
///
/// # Errors
/// Names the run that failed.
pub(super) fn configured(
    executor: &mut dyn Executor,
    signature: &Signature,
    wanted: &[WarmUp],
    folder: &Path,
) -> Result<(), String> {
    for warm_up in wanted {
        let named = |error: String| format!("warm-up '{}': {error}", warm_up.name);
        if let Some(name) = warm_up.inputs.keys().find(|n| signature.input_index(n).is_none()) {
            return Err(named(format!("the model has no input '{name}'")));
        }
        let (rows, limit) = (warm_up.rows, signature.batch_rows_max);
        if signature.batches() && rows > limit && !signature.larger_requests_run_alone {
            return Err(named(format!("it has {rows} rows, and max_batch_size is {limit}")));
        }
        let inputs: Result<Vec<Input>, String> =
            signature.inputs.iter().map(|s| wanted_input(s, signature, warm_up, folder)).collect();
        let inputs = inputs.map_err(named)?;
        for _ in 0..warm_up.count.max(1) {
            run(executor, &[&inputs]).map_err(|error| named(error.to_string()))?;
        }
    }
    Ok(())
}

fn wanted_input(
    spec: &TensorSpec,
    signature: &Signature,
    warm_up: &WarmUp,
    folder: &Path,
) -> Result<Input, String> {
    let mut shape = row_shape(spec, signature.batches());
    let wanted = warm_up.inputs.get(&*spec.name);
    if let Some(input) = wanted.filter(|input| !input.dims.is_empty()) {
        shape = input.dims.as_slice().into();
        if signature.batches() {
            shape.insert(0, 1);
        }
    }
    if let (Some(dim), true) = (shape.first_mut(), signature.batches()) {
        *dim = warm_up.rows.max(1);
    }
    let count = count(spec, &shape)?;
    if !spec.accepts(&shape) {
        return Err(format!("input '{}' does not take the shape {:?}", spec.name, &shape[..]));
    }
    let data = match wanted.map(|input| &input.data).unwrap_or(&WarmUpData::Zero) {
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
