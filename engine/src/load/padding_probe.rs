//! Tests whether padded inputs give the same outputs, and finds the output dimensions that must be
//! cut back.

use super::synthetic::{OPEN_DIM, element_count, noise};
use super::trial_run::floats;
use crate::batching::Batching;
use crate::config::PaddingConfig;
use crate::executor::{BatchInput, ExecuteError, Executor, Stop};
use crate::padding::{Axes, Members, Padding, Ties, read};
use crate::payload::Payload;
use crate::request::OutputTensor;
use crate::request::Outputs;
use crate::signature::{Signature, list};
use crate::tensor::{DataType, Shape};
use crate::validate::{ValidInput, ValidRequest};
use smallvec::SmallVec;

#[cfg(test)]
mod tests;

/// Reason not to pad.
#[derive(Debug)]
enum NotPadded {
    /// The model does not run on the synthetic rows, even without padding.
    Fails(String),
    /// Padded rows give other outputs than the same rows alone.
    Differs(String),
}

impl From<ExecuteError> for NotPadded {
    fn from(error: ExecuteError) -> Self {
        Self::Fails(error.to_string())
    }
}

/// Sizes of an axis in the short and in the long row. All sizes of all axes differ, so that an
/// output's size identifies the axis that it follows.
type Sizes = [usize; 2];

/// Decides how a model is padded, as configured and as a test allows. The inner error is the reason
/// not to pad.
///
/// # Errors
/// Names the setting that does not fit the graph.
pub(crate) fn decide(
    executor: &mut dyn Executor,
    signature: &Signature,
    batching: &Batching,
    config: &PaddingConfig,
) -> Result<Result<Padding, String>, String> {
    let by_name = read(config, signature, Ties::Name)?;
    if !batching.is_on() {
        return Ok(Err("it runs every request alone".into()));
    }
    let mut result = test(executor, signature, by_name);
    if matches!(result, Err(NotPadded::Fails(_))) {
        // Some exporters name every dimension differently.
        result = test(executor, signature, read(config, signature, Ties::Position)?);
    }
    Ok(result.map_err(|reason| match reason {
        NotPadded::Fails(error) => format!("it does not run on synthetic inputs: {error}"),
        NotPadded::Differs(how) => format!("it changes its answer when padded: {how}"),
    }))
}

/// Runs a short and a long row alone, and then both in one batch with the short one padded.
fn test(
    executor: &mut dyn Executor,
    signature: &Signature,
    mut padding: Padding,
) -> Result<Padding, NotPadded> {
    let axes = padding.axes;
    let sizes: Vec<Sizes> = (0..axes).map(|a| [7 + 4 * a, 9 + 4 * (axes + a)]).collect();
    let row = |index| synthetic_row(signature, &padding, &sizes, index);
    let rows = [row(0)?, row(1)?];
    let mut alone = Vec::new();
    for row in &rows {
        let inputs = row.inputs.iter().map(|input| (input.shape.clone(), [&input.data]));
        alone.push(run(executor, inputs)?);
    }
    let outputs = alone[0].iter().zip(&alone[1]);
    let outputs = outputs.map(|(short, long)| follow(short, long, &sizes));
    padding.outputs = outputs.collect::<Result<_, _>>().map_err(NotPadded::Differs)?;
    compare_batched(executor, &padding, &rows, &alone).map_err(NotPadded::Differs)?;
    Ok(padding)
}

/// Runs the rows in one batch.
///
/// # Errors
/// Names the output that differs from those of the rows alone.
fn compare_batched(
    executor: &mut dyn Executor,
    padding: &Padding,
    rows: &[ValidRequest; 2],
    alone: &[Outputs],
) -> Result<(), String> {
    let Some(members) = Members::new(padding, rows.iter()) else { return Ok(()) };
    let inputs = (0..padding.inputs.len()).map(|index| {
        let mut shape = rows[0].inputs[index].shape.clone();
        members.enlarge(index, &mut shape);
        set_rows(&mut shape, rows.len());
        let part =
            |row: usize| members.payload(row, index).unwrap_or(&rows[row].inputs[index].data);
        (shape, [part(0), part(1)])
    });
    let outputs = run(executor, inputs).map_err(|error| error.to_string())?;
    for (index, whole) in outputs.iter().enumerate() {
        if whole.shape.first() != Some(&rows.len()) || !members.fits(index, &whole.shape) {
            let (name, shape) = (&whole.name, list(whole.shape.iter()));
            return Err(format!("output '{name}' has the shape {shape}"));
        }
        let alone = [&alone[0][index], &alone[1][index]];
        if !is_same(&members, index, whole, alone) {
            return Err(format!("output '{}' is another", whole.name));
        }
    }
    Ok(())
}

fn run<'a, const N: usize>(
    executor: &mut dyn Executor,
    inputs: impl Iterator<Item = (Shape, [&'a Payload; N])>,
) -> Result<Outputs, ExecuteError> {
    let inputs = inputs.map(|(shape, parts)| BatchInput {
        shape,
        parts: parts.into_iter().collect(),
        members: Vec::new(),
    });
    Ok(executor.execute(&inputs.collect::<Vec<_>>(), &Stop::default())?.outputs)
}

/// Makes a synthetic row: the short one if `row` is 0, or the long one if it is 1.
fn synthetic_row(
    signature: &Signature,
    padding: &Padding,
    sizes: &[Sizes],
    row: usize,
) -> Result<ValidRequest, ExecuteError> {
    let mut inputs = SmallVec::new();
    for (index, spec) in signature.inputs.iter().enumerate() {
        let mut shape: Shape = spec.dims.iter().map(|dim| dim.unwrap_or(OPEN_DIM)).collect();
        let padded = padding.inputs[index].as_ref();
        for (size, axis) in shape.iter_mut().zip(padded.iter().flat_map(|p| &p.axes)) {
            *size = axis.map_or(*size, |axis| sizes[axis][row]);
        }
        set_rows(&mut shape, 1);
        let count = element_count(spec, &shape).map_err(ExecuteError::Request)?;
        // With an odd seed the first integer is 1, so that no mask is all zeros.
        let data = noise(spec.datatype, count, 2 * (10 * row + index) as u64 + 1);
        inputs.push(ValidInput { shape, data });
    }
    Ok(ValidRequest { inputs, rows: 1, ..ValidRequest::default() })
}

fn set_rows(shape: &mut Shape, rows: usize) {
    shape.iter_mut().take(1).for_each(|size| *size = rows);
}

/// Finds the axis that each dimension of an output follows.
fn follow(short: &OutputTensor, long: &OutputTensor, sizes: &[Sizes]) -> Result<Axes, String> {
    let name = &short.name;
    let mut axes: Axes = short.shape.iter().map(|_| None).collect();
    for (dim, (short, long)) in short.shape.iter().zip(&long.shape).enumerate() {
        if short != long {
            axes[dim] = sizes.iter().position(|axis| *axis == [*short, *long]);
            if axes[dim].is_none() {
                return Err(format!(
                    "the size of dimension {dim} of output '{name}' varies, and is that of no \
                     padded dimension"
                ));
            }
        }
    }
    if short.datatype == DataType::Bytes && axes.iter().any(Option::is_some) {
        return Err(format!("output '{name}' holds strings, which can not be cut back"));
    }
    Ok(axes)
}

/// True if each row's part of an output, cut back, equals the row's output alone.
fn is_same(
    members: &Members<'_>,
    index: usize,
    whole: &OutputTensor,
    alone: [&OutputTensor; 2],
) -> bool {
    if whole.datatype == DataType::Bytes {
        return whole.data == [&*alone[0].data, &*alone[1].data].concat();
    }
    let row_bytes = whole.data.len() / 2;
    (0..2).all(|row| {
        let mut part = whole.clone();
        set_rows(&mut part.shape, 1);
        part.data = whole.data.slice(row * row_bytes..(row + 1) * row_bytes);
        let part = members.cut(row, index, part);
        part.shape == alone[row].shape && is_close(&part, alone[row])
    })
}

/// True if numbers differ by rounding at most: by 0.01 % of the largest, or by 1 % for elements of
/// 16 bits. NaN differs from everything.
fn is_close(got: &OutputTensor, wanted: &OutputTensor) -> bool {
    let datatype = wanted.datatype;
    let (Some(got), Some(wanted)) = (floats(&got.data, datatype), floats(&wanted.data, datatype))
    else {
        return got.data == wanted.data;
    };
    let part = if datatype.element_bytes() == Some(2) { 1e-2 } else { 1e-4 };
    let finite = wanted.iter().filter(|number| number.is_finite());
    let rounding = part * finite.fold(0.0_f64, |largest, number| largest.max(number.abs()));
    let close = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= rounding;
    got.len() == wanted.len() && got.iter().zip(&wanted).all(close)
}
