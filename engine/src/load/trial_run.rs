//! Runs rows directly on an executor, before a model is ready, and reads floats from its outputs.

use super::synthetic::Input;
use crate::executor::{BatchInput, ExecuteError, Executor, Stop};
use crate::request::Outputs;
use crate::tensor::DataType;
use half::{bf16, f16};

/// Runs rows as one batch and returns the outputs.
///
/// # Errors
/// The run fails.
pub(crate) fn run(
    executor: &mut dyn Executor,
    rows: &[&Vec<Input>],
) -> Result<Outputs, ExecuteError> {
    Ok(executor.execute(&inputs(rows), &Stop::default())?.outputs)
}

/// Gives back memory that trial runs have left, but what a run of this row needs.
pub(crate) fn shrink(executor: &mut dyn Executor, row: &Vec<Input>) {
    executor.shrink(&inputs(&[row]));
}

/// The inputs of a batch of rows.
fn inputs<'a>(rows: &[&'a Vec<Input>]) -> Vec<BatchInput<'a>> {
    let Some(first) = rows.first() else { return Vec::new() };
    let batched = |index: usize| {
        let mut shape = first[index].0.clone();
        if let (Some(dim), true) = (shape.first_mut(), rows.len() > 1) {
            *dim = rows.len();
        }
        let parts = rows.iter().map(|row| &row[index].1).collect();
        BatchInput { shape, parts, members: Vec::new() }
    };
    (0..first.len()).map(batched).collect()
}

/// The elements of floating-point data; `None` for other datatypes.
pub(crate) fn floats(data: &[u8], datatype: DataType) -> Option<Vec<f64>> {
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
