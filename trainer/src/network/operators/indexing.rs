//! Slicing, gathering and padding: `Slice`, `Gather` and `Pad`.

use crate::network::floats::{Dense, Function, Inner, burn_op, dims, record, tensor};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::{Value, axis, int_values};
use burn_backend::Slice as BurnSlice;
use burn_backend::ops::IntTensorOps;
use burn_flex::FlexTensor;

/// Upper limit of the numbers in a padded tensor.
const PADDED_MAX: usize = 1 << 31;

/// A range of indices along an axis, with a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) step: usize,
}

/// Slices `x` along an axis; the range must be in bounds.
pub(crate) fn sliced(x: &Value, along: usize, range: Range) -> Value {
    let full = x.dims().into_iter().map(|dim| BurnSlice::new(0, Some(dim as isize), 1));
    let mut slices: Vec<BurnSlice> = full.collect();
    let (start, end) = (range.start as isize, range.end as isize);
    slices[along] = BurnSlice::new(start, Some(end), range.step as isize);
    match x {
        Value::Floats(x) => Value::Floats(burn_op!(float_slice(x; &slices))),
        Value::Ints(x) => Value::Ints(Inner::int_slice(x.clone(), &slices)),
    }
}

#[derive(Debug)]
struct Slice {
    /// Starts and ends: attributes before version 10, inputs since.
    attributes: Option<[Vec<i64>; 2]>,
    axes: Option<Vec<i64>>,
}

pub(crate) fn slice(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let attributes = match (context.ints("starts")?, context.ints("ends")?) {
        (Some(starts), Some(ends)) => Some([starts, ends]),
        _ => None,
    };
    Ok(Box::new(Slice { attributes, axes: context.ints("axes")? }))
}

impl Operator for Slice {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let mut result = inputs.value(0)?.clone();
        let shape = result.dims();
        let [starts, ends] = match &self.attributes {
            Some(given) => given.clone(),
            None => [inputs.ints(1)?, inputs.ints(2)?],
        };
        let axes = self.axes.clone().map_or_else(|| inputs.ints_if_any(3), |a| Ok(Some(a)))?;
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = inputs.ints_if_any(4)?.unwrap_or_else(|| vec![1; starts.len()]);
        let lengths = [starts.len(), ends.len(), axes.len(), steps.len()];
        if lengths.iter().any(|length| *length != starts.len()) {
            return Err(format!("has starts, ends, axes and steps of lengths {lengths:?}"));
        }
        for (index, along) in axes.iter().enumerate() {
            let along = axis(*along, shape.len())?;
            let step = usize::try_from(steps[index]).ok().filter(|step| *step > 0);
            let step = step
                .ok_or_else(|| format!("has the step {}, which is not positive", steps[index]))?;
            let (start, end) =
                (clamp(starts[index], shape[along]), clamp(ends[index], shape[along]));
            result = sliced(&result, along, Range { start, end: end.max(start), step });
        }
        Ok(vec![result])
    }
}

/// Resolves an index that may be negative, and clamps it to the axis.
fn clamp(index: i64, length: usize) -> usize {
    let index = if index < 0 { index.saturating_add(length as i64) } else { index };
    usize::try_from(index.max(0)).unwrap_or(length).min(length)
}

#[derive(Debug)]
struct Gather {
    axis: i64,
}

pub(crate) fn gather(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Gather { axis: context.int("axis", 0)? }))
}

impl Operator for Gather {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.value(0)?;
        let shape = x.dims();
        let along = axis(self.axis, shape.len())?;
        let indices = inputs.ints(1)?;
        let length = shape[along] as i64;
        if let Some(bad) = indices.iter().find(|index| !(-length..length).contains(*index)) {
            return Err(format!("has the index {bad} of an axis of {length}"));
        }
        let indices = indices.iter().map(|index| index.rem_euclid(length.max(1)) as usize);
        let function = Gathered { shape: shape.clone(), along, indices: indices.collect() };
        let mut result_shape = shape[..along].to_vec();
        result_shape.extend(inputs.value(1)?.dims());
        result_shape.extend(&shape[along + 1..]);
        Ok(vec![match x {
            Value::Floats(x) => {
                let result = function.take(Dense::of(x.primitive()).values());
                Value::Floats(record([x], function, tensor(&result_shape, result)))
            }
            Value::Ints(x) => Value::ints(&result_shape, function.take(&int_values(x))),
        }])
    }
}

#[derive(Debug, Clone)]
struct Gathered {
    shape: Vec<usize>,
    along: usize,
    indices: std::sync::Arc<[usize]>,
}

impl Gathered {
    /// Numbers at one index of the axis: those of the dimensions behind it.
    fn block(&self) -> usize {
        self.shape[self.along + 1..].iter().product()
    }

    fn take<T: Copy>(&self, x: &[T]) -> Vec<T> {
        let (block, length) = (self.block(), self.shape[self.along]);
        let outer = x.chunks_exact((block * length).max(1));
        let blocks = outer.flat_map(|outer| {
            self.indices.iter().map(move |index| &outer[index * block..(index + 1) * block])
        });
        blocks.flatten().copied().collect()
    }
}

impl Function<1> for Gathered {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = Dense::of(&gradient);
        let (block, length) = (self.block(), self.shape[self.along]);
        let mut result = vec![0.0; self.shape.iter().product()];
        let each = (block * self.indices.len()).max(1);
        let outer = result.chunks_exact_mut((block * length).max(1));
        for (result, gradient) in outer.zip(gradient.values().chunks_exact(each)) {
            for (index, gradient) in self.indices.iter().zip(gradient.chunks_exact(block.max(1))) {
                let result = &mut result[index * block..(index + 1) * block];
                result.iter_mut().zip(gradient).for_each(|(result, value)| *result += value);
            }
        }
        [Some(tensor(&self.shape, result))]
    }
}

/// `Pad` with a constant.
#[derive(Debug)]
struct Pad {
    /// Attributes of old versions, replaced by inputs.
    pads: Option<Vec<i64>>,
    value: f32,
}

pub(crate) fn pad(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let mode = context.node.text("mode")?.unwrap_or("constant");
    if mode != "constant" {
        return Err(format!("with mode {mode} is not supported").into());
    }
    Ok(Box::new(Pad { pads: context.ints("pads")?, value: context.float("value", 0.0)? }))
}

impl Operator for Pad {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.floats(0)?;
        let shape = dims(x);
        let pads = self.pads.clone().map_or_else(|| inputs.ints(1), Ok)?;
        if inputs.get(3).is_some() {
            return Err("with axes as an input is not supported".to_owned());
        }
        let pads: Option<Vec<usize>> = pads.iter().map(|pad| usize::try_from(*pad).ok()).collect();
        let pads = pads.filter(|pads| pads.len() == 2 * shape.len());
        let pads = pads.ok_or("has pads that are negative, or not two for each dimension")?;
        let given = inputs.floats_if_any(2)?.map(|value| Dense::of(value.primitive()));
        let value = given.and_then(|value| value.values().first().copied()).unwrap_or(self.value);
        let around = (0..shape.len())
            .map(|axis| pads[axis].checked_add(shape[axis])?.checked_add(pads[axis + shape.len()]));
        let result: Option<Vec<usize>> = around.collect();
        let result = result.filter(|result| {
            let count = result.iter().try_fold(1_usize, |all, dim| all.checked_mul(*dim));
            count.is_some_and(|count| count <= PADDED_MAX)
        });
        let result = result.ok_or("makes a tensor that is too large")?;
        let function = Padded { shape, result, before: pads };
        let values = function.forward(Dense::of(x.primitive()).values(), value);
        let padded = tensor(&function.result, values);
        Ok(vec![Value::Floats(record([x], function, padded))])
    }
}

#[derive(Debug, Clone)]
struct Padded {
    shape: Vec<usize>,
    result: Vec<usize>,
    before: Vec<usize>,
}

impl Padded {
    /// Start of each row in the padded tensor.
    fn rows(&self) -> impl Iterator<Item = usize> + use<'_> {
        let rank = self.shape.len();
        let count: usize = self.shape[..rank.saturating_sub(1)].iter().product();
        (0..count).map(move |mut row| {
            let (mut index, mut stride) =
                (self.before.get(rank.wrapping_sub(1)).copied().unwrap_or(0), 1);
            for axis in (0..rank).rev() {
                if axis + 1 < rank {
                    index += (row % self.shape[axis] + self.before[axis]) * stride;
                    row /= self.shape[axis];
                }
                stride *= self.result[axis];
            }
            index
        })
    }

    fn length(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    fn forward(&self, x: &[f32], value: f32) -> Vec<f32> {
        let mut result = vec![value; self.result.iter().product()];
        for (index, row) in self.rows().zip(x.chunks_exact(self.length().max(1))) {
            result[index..index + row.len()].copy_from_slice(row);
        }
        result
    }
}

impl Function<1> for Padded {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = Dense::of(&gradient);
        let length = self.length();
        let rows = self.rows().flat_map(|index| &gradient.values()[index..index + length]);
        [Some(tensor(&self.shape, rows.copied().collect()))]
    }
}
