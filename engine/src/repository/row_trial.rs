//! Tests the proof that rows are independent by running some of them together and apart.

use super::warm_up::{self, Input, OPEN_DIM, count, made_up_row, numbers, row_shape};
use crate::executor::{ExecuteError, Executor};
use crate::request::OutputTensor;
use crate::signature::{Signature, TensorSpec};
use crate::tensor::{DataType, push_bytes_element};
use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use skysail_graph::SplitMix64;
use smallvec::SmallVec;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Rows that are run together and apart in each draw.
const ROWS: usize = 4;

/// Rows in the largest trial, unless fewer may share a run.
const MANY_ROWS: usize = 64;

/// No further draw is tried once all took so long.
const TIME_ENOUGH: Duration = Duration::from_millis(150);

/// Bytes of the inputs of the largest trial.
const BYTES_MAX: usize = 16 << 20;

/// The outputs of a run.
type Outputs = SmallVec<[OutputTensor; 2]>;

/// What values a draw has. Each row of it has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draw {
    /// Between 0 and 1; indices that are mostly valid.
    Unit,
    /// Of both signs, a row a thousand times as large as the one before.
    Magnitudes,
    /// Whole numbers from 0 to 255.
    Pixels,
    /// A row with missing values, one that is all zeros, one of large numbers.
    Extremes,
}

const DRAWS: [Draw; 4] = [Draw::Unit, Draw::Magnitudes, Draw::Pixels, Draw::Extremes];

/// What came of running rows together and apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowTrial {
    /// Where the outputs of rows that run together differ from those of each alone.
    pub(super) difference: Option<String>,
}

/// Runs rows together and apart; at most `rows_max` share a run.
pub(super) fn run(executor: &mut dyn Executor, signature: &Signature, rows_max: usize) -> RowTrial {
    RowTrial { difference: difference(executor, signature, rows_max) }
}

/// Whether the first dimension of all inputs and outputs is open, as that of rows is.
pub(super) fn has_rows(signature: &Signature) -> bool {
    let mut all = signature.inputs.iter().chain(&signature.outputs);
    all.all(|spec| spec.any_rank || spec.dims.first() == Some(&None))
}

/// Says where the outputs of rows that run together differ from those of each alone; `None` where
/// they do not, or where the model does not run on made-up inputs. At most `rows_max` rows share a
/// run.
fn difference(
    executor: &mut dyn Executor,
    signature: &Signature,
    rows_max: usize,
) -> Option<String> {
    let mut trial = Trial { executor, signature };
    let started = Instant::now();
    for (seed, draw) in (1..).zip(DRAWS) {
        let rows = (0..ROWS.min(rows_max)).map(|row| drawn(signature, draw, seed, row)).collect();
        match trial.compare(rows, ROWS.min(rows_max)) {
            Ok(None) => {}
            // Values that the model does not take say nothing.
            Err(_) if draw != Draw::Unit => {}
            Ok(found) => return found,
            Err(_) => return None,
        }
        if started.elapsed() > TIME_ENOUGH {
            return None;
        }
    }
    let rows: Result<Vec<_>, _> =
        (0..ROWS).map(|row| drawn(signature, Draw::Unit, 9, row)).collect();
    let bytes = |row: &Vec<Input>| row.iter().map(|(_, data)| data.len()).sum::<usize>();
    let row_bytes = rows.as_ref().map_or(0, |rows| rows.iter().map(bytes).max().unwrap_or(0));
    let many = MANY_ROWS.min(rows_max).min(BYTES_MAX / row_bytes.max(1));
    if many > ROWS { trial.compare(rows, many).ok().flatten() } else { None }
}

struct Trial<'a> {
    executor: &'a mut dyn Executor,
    signature: &'a Signature,
}

impl Trial<'_> {
    /// Runs rows one by one, and together in turn until there are `count`; where an output differs.
    ///
    /// # Errors
    /// When a row does not run alone.
    fn compare(
        &mut self,
        rows: Result<Vec<Vec<Input>>, ExecuteError>,
        count: usize,
    ) -> Result<Option<String>, ExecuteError> {
        let rows = rows?;
        let mut alone: Vec<Outputs> = Vec::with_capacity(rows.len());
        for row in &rows {
            alone.push(warm_up::run(self.executor, &[row])?);
        }
        let together: Vec<&Vec<Input>> = rows.iter().cycle().take(count).collect();
        let outputs = match warm_up::run(self.executor, &together) {
            Ok(outputs) => outputs,
            Err(error) => return Ok(Some(format!("rows that run alone do not together: {error}"))),
        };
        for (index, spec) in self.signature.outputs.iter().enumerate() {
            let whole = Whole::new(&outputs[index], count);
            for (place, part) in alone.iter().cycle().take(count).enumerate() {
                let part = &part[index];
                let differs = whole.as_ref().is_none_or(|whole| !whole.has(place, part));
                if differs && self.hangs_on_others(&rows, index, place, count, whole.as_ref()) {
                    let name = &spec.name;
                    return Ok(Some(format!("row {place} of {count} has another '{name}' alone")));
                }
            }
        }
        Ok(None)
    }

    /// Whether a row that differs from itself alone does so because of the other rows. Kernels for
    /// many rows round in another way than those for one, and a number near a step may then fall
    /// to its other side.
    fn hangs_on_others(
        &mut self,
        rows: &[Vec<Input>],
        index: usize,
        place: usize,
        count: usize,
        whole: Option<&Whole<'_>>,
    ) -> bool {
        let Some(whole) = whole.filter(|whole| whole.rounds()) else { return true };
        let same: Vec<&Vec<Input>> = vec![&rows[place % rows.len()]; count];
        let Ok(outputs) = warm_up::run(self.executor, &same) else { return true };
        let of_same = Whole::new(&outputs[index], count);
        of_same.is_none_or(|of_same| !of_same.row(place).eq(whole.row(place)))
    }
}

/// An output of a run whose first dimension is that of the rows.
struct Whole<'a> {
    output: &'a OutputTensor,
    /// Where each row's bytes end.
    ends: Vec<usize>,
}

impl<'a> Whole<'a> {
    /// `None` where the output does not have as many rows.
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

    fn row(&self, place: usize) -> &'a [u8] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.output.data[start..self.ends[place]]
    }

    /// Whether the row at this place is what it is alone, to within rounding.
    fn has(&self, place: usize, alone: &OutputTensor) -> bool {
        if alone.shape.first() != Some(&1) || alone.shape[1..] != self.output.shape[1..] {
            return false;
        }
        let (row, datatype) = (self.row(place), alone.datatype);
        match (numbers(row, datatype), numbers(&alone.data, datatype)) {
            (Some(a), Some(b)) => close(&a, &b),
            _ => row == &*alone.data,
        }
    }

    /// Whether its elements are whole numbers or words, which rounding may change by a step.
    fn rounds(&self) -> bool {
        numbers(&[], self.output.datatype).is_none()
    }
}

/// Whether numbers differ by no more than rounding makes them, in models that quantize too: one
/// part in a hundred, or in a thousand of the largest, or of 1.
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

/// A row of every input.
fn drawn(
    signature: &Signature,
    draw: Draw,
    seed: u64,
    row: usize,
) -> Result<Vec<Input>, ExecuteError> {
    if draw == Draw::Unit {
        return made_up_row(signature, seed * 16 + row as u64);
    }
    let input = |(index, spec): (usize, &TensorSpec)| {
        let shape = row_shape(spec, true);
        let count = count(spec, &shape).map_err(ExecuteError::Failed)?;
        let mut random = SplitMix64::new(seed << 32 | (index as u64) << 8 | row as u64);
        let mut data = Vec::new();
        for _ in 0..count {
            push(&mut data, spec.datatype, value(draw, row, &mut random));
        }
        Ok((shape, data.into()))
    };
    signature.inputs.iter().enumerate().map(input).collect()
}

fn value(draw: Draw, row: usize, random: &mut SplitMix64) -> f64 {
    let unit = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    match (draw, row % ROWS) {
        (Draw::Unit, _) => unit,
        (Draw::Magnitudes, row) => (unit - 0.5) * 1e3_f64.powi(row as i32) * 1e-2,
        (Draw::Pixels, _) => (unit * 255.0).round(),
        (Draw::Extremes, 0) => {
            if unit < 0.2 {
                f64::NAN
            } else {
                unit
            }
        }
        (Draw::Extremes, 1) => 0.0,
        (Draw::Extremes, _) => (unit - 0.5) * 1e6,
    }
}

/// Adds an element. Integers are places in small tables more often than anything else.
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
