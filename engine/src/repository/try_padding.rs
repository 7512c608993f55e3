//! Tries whether a model gives the same when its inputs are padded, and finds out where its
//! outputs have to be cut back.

use super::warm_up::{OPEN_DIM, count, noise, numbers};
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

/// Why inputs are not padded.
#[derive(Debug)]
enum Refusal {
    /// The model does not run on the made-up rows, even without padding.
    Fails(String),
    /// Padded rows do not give what they give alone.
    Differs(String),
}

impl From<ExecuteError> for Refusal {
    fn from(error: ExecuteError) -> Self {
        Self::Fails(error.to_string())
    }
}

/// The sizes of an axis in the short and in the long row. No two axes have one in common, so that
/// they tell which of them a dimension of an output follows.
type Sizes = [usize; 2];

/// How the model is padded, as its owner wants it and its behaviour allows; or why it is not.
///
/// # Errors
/// Names the setting that does not fit the graph.
pub(super) fn decide(
    executor: &mut dyn Executor,
    signature: &Signature,
    config: &PaddingConfig,
) -> Result<Result<Padding, String>, String> {
    let by_name = read(config, signature, Ties::Name)?;
    if !signature.batches() {
        return Ok(Err("it runs every request alone".into()));
    }
    let mut tried = try_one(executor, signature, by_name);
    if matches!(tried, Err(Refusal::Fails(_))) {
        // Some exporters give every dimension a name of its own.
        tried = try_one(executor, signature, read(config, signature, Ties::Place)?);
    }
    Ok(tried.map_err(|refusal| match refusal {
        Refusal::Fails(error) => format!("it does not run on made-up inputs: {error}"),
        Refusal::Differs(how) => format!("it changes its answer when padded: {how}"),
    }))
}

/// Runs a short and a long row alone, and then together with the short one padded.
fn try_one(
    executor: &mut dyn Executor,
    signature: &Signature,
    mut padding: Padding,
) -> Result<Padding, Refusal> {
    let axes = padding.axes;
    let sizes: Vec<Sizes> = (0..axes).map(|a| [7 + 4 * a, 9 + 4 * (axes + a)]).collect();
    let rows = [made_up(signature, &padding, &sizes, 0)?, made_up(signature, &padding, &sizes, 1)?];
    let mut alone = Vec::new();
    for row in &rows {
        let inputs = row.inputs.iter().map(|input| (input.shape.clone(), [&input.data]));
        alone.push(run(executor, inputs)?);
    }
    let outputs = alone[0].iter().zip(&alone[1]);
    let outputs = outputs.map(|(short, long)| follow(short, long, &sizes));
    padding.outputs = outputs.collect::<Result<_, _>>().map_err(Refusal::Differs)?;
    together(executor, &padding, &rows, &alone).map_err(Refusal::Differs)?;
    Ok(padding)
}

/// Runs the rows together.
///
/// # Errors
/// Says which output is not what the rows gave alone.
fn together(
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
    for (place, whole) in outputs.iter().enumerate() {
        if whole.shape.first() != Some(&rows.len()) || !members.fits(place, &whole.shape) {
            let (name, shape) = (&whole.name, list(whole.shape.iter()));
            return Err(format!("output '{name}' has the shape {shape}"));
        }
        let alone = [&alone[0][place], &alone[1][place]];
        if !is_same(&members, place, whole, alone) {
            return Err(format!("output '{}' is another", whole.name));
        }
    }
    Ok(())
}

fn run<'a, const N: usize>(
    executor: &mut dyn Executor,
    inputs: impl Iterator<Item = (Shape, [&'a Payload; N])>,
) -> Result<Outputs, ExecuteError> {
    let inputs =
        inputs.map(|(shape, parts)| BatchInput { shape, parts: parts.into_iter().collect() });
    Ok(executor.execute(&inputs.collect::<Vec<_>>(), &Stop::default())?.outputs)
}

/// One row whose axes have the sizes of the short one, 0, or of the long one, 1.
fn made_up(
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
        let count = count(spec, &shape).map_err(ExecuteError::Failed)?;
        // An odd seed makes the first integer 1, so that no mask is all zeros.
        let data = noise(spec.datatype, count, 2 * (10 * row + index) as u64 + 1);
        inputs.push(ValidInput { shape, data });
    }
    Ok(ValidRequest { inputs, rows: 1, ..ValidRequest::default() })
}

fn set_rows(shape: &mut Shape, rows: usize) {
    shape.iter_mut().take(1).for_each(|size| *size = rows);
}

/// The axis that each dimension of an output follows.
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

/// Whether each row's part of an output, cut back, is what the row gave alone.
fn is_same(
    members: &Members<'_>,
    place: usize,
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
        let part = members.cut(row, place, part);
        part.shape == alone[row].shape && is_close(&part, alone[row])
    })
}

/// Whether numbers differ by rounding at most: by one part in ten thousand of the largest, or in a
/// hundred where elements have 16 bits. What is no number is not the same as itself.
fn is_close(got: &OutputTensor, wanted: &OutputTensor) -> bool {
    let datatype = wanted.datatype;
    let (Some(got), Some(wanted)) = (numbers(&got.data, datatype), numbers(&wanted.data, datatype))
    else {
        return got.data == wanted.data;
    };
    let part = if datatype.element_bytes() == Some(2) { 1e-2 } else { 1e-4 };
    let finite = wanted.iter().filter(|number| number.is_finite());
    let rounding = part * finite.fold(0.0_f64, |largest, number| largest.max(number.abs()));
    let close = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= rounding;
    got.len() == wanted.len() && got.iter().zip(&wanted).all(close)
}
