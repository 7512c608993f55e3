//! Tests the proof that rows are independent: runs rows in one batch and each alone, and compares
//! the outputs.

use super::synthetic::{self, Input, OPEN_DIM, element_count, row_shape};
use super::trial_run::{self, floats};
use crate::executor::{ExecuteError, Executor};
use crate::request::OutputTensor;
use crate::request::Outputs;
use crate::signature::{Signature, TensorSpec};
use crate::tensor::{DataType, push_bytes_element};
use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use skysail_graph::SplitMix64;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Rows of the batch for each input pattern.
const ROWS: usize = 4;

/// Rows of the largest batch, unless fewer may share a run.
const MANY_ROWS: usize = 64;

/// Total time after which no further pattern is tried.
const TIME_ENOUGH: Duration = Duration::from_millis(150);

/// Bytes of the largest batch's inputs.
const BYTES_MAX: usize = 16 << 20;

/// Pattern of input values. Each row has its own values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    /// Values between 0 and 1; indices that are mostly valid.
    Unit,
    /// Values of both signs; each row is a thousand times as large as the one before.
    Magnitudes,
    /// Whole numbers from 0 to 255.
    Pixels,
    /// A row with NaN, one of zeros, and the others of large numbers.
    Extremes,
}

const PATTERNS: [Pattern; 4] =
    [Pattern::Unit, Pattern::Magnitudes, Pattern::Pixels, Pattern::Extremes];

/// Result of comparing batched rows with the same rows run alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowComparison {
    /// The first difference that was found, in words.
    pub(crate) difference: Option<String>,
}

/// Compares rows in batches of at most `rows_max` with the same rows run alone.
pub(crate) fn run(
    executor: &mut dyn Executor,
    signature: &Signature,
    rows_max: usize,
) -> RowComparison {
    RowComparison { difference: difference(executor, signature, rows_max) }
}

/// True if the first dimension of all inputs and outputs is open, as a batch dimension is.
pub(crate) fn has_rows(signature: &Signature) -> bool {
    let mut all = signature.inputs.iter().chain(&signature.outputs);
    all.all(|spec| spec.any_rank || spec.dims.first() == Some(&None))
}

/// Returns the first difference in words. `None` if there is none, or if the model does not run on
/// synthetic inputs.
fn difference(
    executor: &mut dyn Executor,
    signature: &Signature,
    rows_max: usize,
) -> Option<String> {
    let mut comparer = Comparer { executor, signature };
    let started = Instant::now();
    for (seed, pattern) in (1..).zip(PATTERNS) {
        let rows =
            (0..ROWS.min(rows_max)).map(|row| make_row(signature, pattern, seed, row)).collect();
        match comparer.compare(rows, ROWS.min(rows_max)) {
            Ok(None) => {}
            // The model rejects such values, which proves nothing.
            Err(_) if pattern != Pattern::Unit => {}
            Ok(found) => return found,
            Err(_) => return None,
        }
        if started.elapsed() > TIME_ENOUGH {
            return None;
        }
    }
    let rows: Result<Vec<_>, _> =
        (0..ROWS).map(|row| make_row(signature, Pattern::Unit, 9, row)).collect();
    let bytes = |row: &Vec<Input>| row.iter().map(|(_, data)| data.len()).sum::<usize>();
    let row_bytes = rows.as_ref().map_or(0, |rows| rows.iter().map(bytes).max().unwrap_or(0));
    let many = MANY_ROWS.min(rows_max).min(BYTES_MAX / row_bytes.max(1));
    if many > ROWS { comparer.compare(rows, many).ok().flatten() } else { None }
}

struct Comparer<'a> {
    executor: &'a mut dyn Executor,
    signature: &'a Signature,
}

impl Comparer<'_> {
    /// Runs each row alone, and a batch of `count` rows that repeats them in turn. Returns the first
    /// output that differs.
    ///
    /// # Errors
    /// A row does not run alone.
    fn compare(
        &mut self,
        rows: Result<Vec<Vec<Input>>, ExecuteError>,
        count: usize,
    ) -> Result<Option<String>, ExecuteError> {
        let rows = rows?;
        let mut alone: Vec<Outputs> = Vec::with_capacity(rows.len());
        for row in &rows {
            alone.push(trial_run::run(self.executor, &[row])?);
        }
        let batch: Vec<&Vec<Input>> = rows.iter().cycle().take(count).collect();
        let outputs = match trial_run::run(self.executor, &batch) {
            Ok(outputs) => outputs,
            Err(error) => return Ok(Some(format!("rows that run alone do not together: {error}"))),
        };
        for (index, spec) in self.signature.outputs.iter().enumerate() {
            let batched = BatchedOutput::new(&outputs[index], count);
            for (row, part) in alone.iter().cycle().take(count).enumerate() {
                let part = &part[index];
                let differs = batched.as_ref().is_none_or(|batched| !batched.matches(row, part));
                if differs && self.depends_on_others(&rows, index, row, count, batched.as_ref()) {
                    let name = &spec.name;
                    return Ok(Some(format!("row {row} of {count} has another '{name}' alone")));
                }
            }
        }
        Ok(None)
    }

    /// True if a row differs from itself alone because of the other rows' values.
    ///
    /// Kernels for many rows round differently from those for one, and a number near a rounding
    /// step may then fall to its other side. So the row is compared with a batch of its copies.
    fn depends_on_others(
        &mut self,
        rows: &[Vec<Input>],
        index: usize,
        row: usize,
        count: usize,
        batched: Option<&BatchedOutput<'_>>,
    ) -> bool {
        let Some(batched) = batched.filter(|batched| batched.is_discrete()) else { return true };
        let same: Vec<&Vec<Input>> = vec![&rows[row % rows.len()]; count];
        let Ok(outputs) = trial_run::run(self.executor, &same) else { return true };
        let of_same = BatchedOutput::new(&outputs[index], count);
        of_same.is_none_or(|of_same| !of_same.row(row).eq(batched.row(row)))
    }
}

/// An output of a batch, split into rows along its first dimension.
struct BatchedOutput<'a> {
    output: &'a OutputTensor,
    /// End of each row's bytes.
    ends: Vec<usize>,
}

impl<'a> BatchedOutput<'a> {
    /// Splits an output; `None` if it does not have this many rows.
    fn new(output: &'a OutputTensor, rows: usize) -> Option<Self> {
        if output.shape.first() != Some(&rows) {
            return None;
        }
        let count = crate::tensor::elements(&output.shape[1..])?;
        let mut ends = Vec::with_capacity(rows);
        let mut end = 0;
        for _ in 0..rows {
            end += match output.datatype.element_bytes() {
                Some(bytes) => count.checked_mul(bytes)?,
                None => crate::tensor::bytes_elements(output.data.get(end..)?)
                    .take(count)
                    .map(|element| 4 + element.len())
                    .sum(),
            };
            ends.push(end);
        }
        (end == output.data.len()).then_some(Self { output, ends })
    }

    fn row(&self, row: usize) -> &'a [u8] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.output.data[start..self.ends[row]]
    }

    /// True if a row equals its output alone, to within rounding.
    fn matches(&self, row: usize, alone: &OutputTensor) -> bool {
        if alone.shape.first() != Some(&1) || alone.shape[1..] != self.output.shape[1..] {
            return false;
        }
        let (row, datatype) = (self.row(row), alone.datatype);
        match (floats(row, datatype), floats(&alone.data, datatype)) {
            (Some(a), Some(b)) => close(&a, &b),
            _ => row == &*alone.data,
        }
    }

    /// True if the elements are integers or strings, which rounding may change by a step.
    fn is_discrete(&self) -> bool {
        floats(&[], self.output.datatype).is_none()
    }
}

/// True if numbers differ by rounding at most, also in quantized models: by 1 % of themselves, or
/// by 0.1 % of the largest or of 1.
fn close(a: &[f64], b: &[f64]) -> bool {
    let finite = a.iter().filter(|a| a.is_finite());
    let largest = finite.fold(0.0_f64, |largest, a| largest.max(a.abs()));
    let small = 1e-3 * largest.min(1.0);
    let is_close = |(a, b): (&f64, &f64)| {
        let difference = (a - b).abs();
        a == b || (a.is_nan() && b.is_nan()) || difference <= small + 1e-2 * a.abs().max(b.abs())
    };
    a.len() == b.len() && a.iter().zip(b).all(is_close)
}

/// Makes one row of every input.
fn make_row(
    signature: &Signature,
    pattern: Pattern,
    seed: u64,
    row: usize,
) -> Result<Vec<Input>, ExecuteError> {
    if pattern == Pattern::Unit {
        return synthetic::row(signature, seed * 16 + row as u64);
    }
    let input = |(index, spec): (usize, &TensorSpec)| {
        let shape = row_shape(spec, true);
        let count = element_count(spec, &shape).map_err(ExecuteError::Request)?;
        let mut random = SplitMix64::new(seed << 32 | (index as u64) << 8 | row as u64);
        let mut data = Vec::new();
        for _ in 0..count {
            push(&mut data, spec.datatype, value(pattern, row, &mut random));
        }
        Ok((shape, data.into()))
    };
    signature.inputs.iter().enumerate().map(input).collect()
}

fn value(pattern: Pattern, row: usize, random: &mut SplitMix64) -> f64 {
    let unit = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    match (pattern, row % ROWS) {
        (Pattern::Unit, _) => unit,
        (Pattern::Magnitudes, row) => (unit - 0.5) * 1e3_f64.powi(row as i32) * 1e-2,
        (Pattern::Pixels, _) => (unit * 255.0).round(),
        (Pattern::Extremes, 0) => {
            if unit < 0.2 {
                f64::NAN
            } else {
                unit
            }
        }
        (Pattern::Extremes, 1) => 0.0,
        (Pattern::Extremes, _) => (unit - 0.5) * 1e6,
    }
}

/// Appends an element. Integers stay small, as most of them are indices into small tables.
fn push(data: &mut Vec<u8>, datatype: DataType, value: f64) {
    let whole = (value.abs() as u64 % OPEN_DIM as u64) as u8;
    match datatype {
        DataType::Fp16 => data.extend_from_slice(&f16::from_f64(value).to_le_bytes()),
        DataType::Bf16 => data.extend_from_slice(&bf16::from_f64(value).to_le_bytes()),
        DataType::Fp32 => data.extend_from_slice(&(value as f32).to_le_bytes()),
        DataType::Fp64 => data.extend_from_slice(&value.to_le_bytes()),
        DataType::Bytes => push_bytes_element(data, whole.to_string().as_bytes()),
        DataType::Bool => data.push(whole % 2),
        DataType::Uint8 => data.push(value.abs() as u8),
        DataType::Int8 => data.push((value as i8) as u8),
        _ => {
            data.push(whole);
            data.resize(data.len() + datatype.element_bytes().unwrap_or(1) - 1, 0);
        }
    }
}
