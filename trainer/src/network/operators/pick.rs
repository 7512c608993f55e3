//! Taking parts of a tensor: `Slice`, `Gather`; and `Pad`, which adds to it.

use crate::network::floats::{Dense, Function, Inner, burn_op, dims, record, tensor};
use crate::network::operator::{Call, Inputs, Operator, Refusal};
use crate::network::pass::Pass;
use crate::network::value::{Value, axis, int_values};
use burn_backend::Slice as BurnSlice;
use burn_backend::ops::IntTensorOps;
use burn_flex::FlexTensor;

/// The most numbers that padding makes.
const PADDED_MAX: usize = 1 << 31;

/// Which places along an axis are taken: from the first on, by steps, before the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) step: usize,
}

/// The places of `x` that `range` takes along an axis; it must lie inside.
pub(crate) fn picked(x: &Value, along: usize, range: Range) -> Value {
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
    /// Starts, ends and axes: attributes before version 10, inputs since.
    attributes: Option<[Vec<i64>; 2]>,
    axes: Option<Vec<i64>>,
}

pub(crate) fn slice(call: &Call<'_>) -> Result<Box<dyn Operator>, Refusal> {
    let attributes = match (call.ints("starts")?, call.ints("ends")?) {
        (Some(starts), Some(ends)) => Some([starts, ends]),
        _ => None,
    };
    Ok(Box::new(Slice { attributes, axes: call.ints("axes")? }))
}

impl Operator for Slice {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let mut made = inputs.value(0)?.clone();
        let shape = made.dims();
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
        for (place, along) in axes.iter().enumerate() {
            let along = axis(*along, shape.len())?;
            let step = usize::try_from(steps[place]).ok().filter(|step| *step > 0);
            let step = step.ok_or_else(|| format!("goes by {}, not forwards", steps[place]))?;
            let (start, end) =
                (clamp(starts[place], shape[along]), clamp(ends[place], shape[along]));
            made = picked(&made, along, Range { start, end: end.max(start), step });
        }
        Ok(vec![made])
    }
}

/// A place along an axis, counted from the back where it is negative, and inside.
fn clamp(place: i64, length: usize) -> usize {
    let place = if place < 0 { place.saturating_add(length as i64) } else { place };
    usize::try_from(place.max(0)).unwrap_or(length).min(length)
}

#[derive(Debug)]
struct Gather {
    axis: i64,
}

pub(crate) fn gather(call: &Call<'_>) -> Result<Box<dyn Operator>, Refusal> {
    Ok(Box::new(Gather { axis: call.int("axis", 0)? }))
}

impl Operator for Gather {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.value(0)?;
        let shape = x.dims();
        let along = axis(self.axis, shape.len())?;
        let places = inputs.ints(1)?;
        let length = shape[along] as i64;
        if let Some(bad) = places.iter().find(|place| !(-length..length).contains(*place)) {
            return Err(format!("takes place {bad} of {length}"));
        }
        let places = places.iter().map(|place| place.rem_euclid(length.max(1)) as usize);
        let function = Gathered { shape: shape.clone(), along, places: places.collect() };
        let mut made_shape = shape[..along].to_vec();
        made_shape.extend(inputs.value(1)?.dims());
        made_shape.extend(&shape[along + 1..]);
        Ok(vec![match x {
            Value::Floats(x) => {
                let made = function.take(Dense::of(x.primitive()).values());
                Value::Floats(record([x], function, tensor(&made_shape, made)))
            }
            Value::Ints(x) => Value::ints(&made_shape, function.take(&int_values(x))),
        }])
    }
}

#[derive(Debug, Clone)]
struct Gathered {
    shape: Vec<usize>,
    along: usize,
    places: std::sync::Arc<[usize]>,
}

impl Gathered {
    /// The numbers at one place along the axis, those of the dimensions behind it.
    fn block(&self) -> usize {
        self.shape[self.along + 1..].iter().product()
    }

    fn take<T: Copy>(&self, x: &[T]) -> Vec<T> {
        let (block, length) = (self.block(), self.shape[self.along]);
        let outer = x.chunks_exact((block * length).max(1));
        let blocks = outer.flat_map(|outer| {
            self.places.iter().map(move |place| &outer[place * block..(place + 1) * block])
        });
        blocks.flatten().copied().collect()
    }
}

impl Function<1> for Gathered {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = Dense::of(&gradient);
        let (block, length) = (self.block(), self.shape[self.along]);
        let mut made = vec![0.0; self.shape.iter().product()];
        let each = (block * self.places.len()).max(1);
        let outer = made.chunks_exact_mut((block * length).max(1));
        for (made, gradient) in outer.zip(gradient.values().chunks_exact(each)) {
            for (place, gradient) in self.places.iter().zip(gradient.chunks_exact(block.max(1))) {
                let made = &mut made[place * block..(place + 1) * block];
                made.iter_mut().zip(gradient).for_each(|(made, value)| *made += value);
            }
        }
        [Some(tensor(&self.shape, made))]
    }
}

/// `Pad` with one number.
#[derive(Debug)]
struct Pad {
    /// The attributes of old versions, which inputs have taken the place of.
    pads: Option<Vec<i64>>,
    value: f32,
}

pub(crate) fn pad(call: &Call<'_>) -> Result<Box<dyn Operator>, Refusal> {
    let mode = call.node.text("mode")?.unwrap_or("constant");
    if mode != "constant" {
        return Err(format!("with mode {mode} is not supported").into());
    }
    Ok(Box::new(Pad { pads: call.ints("pads")?, value: call.float("value", 0.0)? }))
}

impl Operator for Pad {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.floats(0)?;
        let shape = dims(x);
        let pads = self.pads.clone().map_or_else(|| inputs.ints(1), Ok)?;
        if inputs.get(3).is_some() {
            return Err("of some axes alone is not supported".to_owned());
        }
        let pads: Option<Vec<usize>> = pads.iter().map(|pad| usize::try_from(*pad).ok()).collect();
        let pads = pads.filter(|pads| pads.len() == 2 * shape.len());
        let pads = pads.ok_or("has pads that are negative, or not two for each dimension")?;
        let given = inputs.floats_if_any(2)?.map(|value| Dense::of(value.primitive()));
        let value = given.and_then(|value| value.values().first().copied()).unwrap_or(self.value);
        let around = (0..shape.len())
            .map(|axis| pads[axis].checked_add(shape[axis])?.checked_add(pads[axis + shape.len()]));
        let made: Option<Vec<usize>> = around.collect();
        let made = made.filter(|made| {
            let count = made.iter().try_fold(1_usize, |all, dim| all.checked_mul(*dim));
            count.is_some_and(|count| count <= PADDED_MAX)
        });
        let made = made.ok_or("makes a tensor that is too large")?;
        let function = Padded { shape, made, before: pads };
        let values = function.forward(Dense::of(x.primitive()).values(), value);
        let padded = tensor(&function.made, values);
        Ok(vec![Value::Floats(record([x], function, padded))])
    }
}

#[derive(Debug, Clone)]
struct Padded {
    shape: Vec<usize>,
    made: Vec<usize>,
    before: Vec<usize>,
}

impl Padded {
    /// For each row of the tensor, where it begins in the padded one.
    fn rows(&self) -> impl Iterator<Item = usize> + use<'_> {
        let rank = self.shape.len();
        let count: usize = self.shape[..rank.saturating_sub(1)].iter().product();
        (0..count).map(move |mut row| {
            let (mut place, mut stride) =
                (self.before.get(rank.wrapping_sub(1)).copied().unwrap_or(0), 1);
            for axis in (0..rank).rev() {
                if axis + 1 < rank {
                    place += (row % self.shape[axis] + self.before[axis]) * stride;
                    row /= self.shape[axis];
                }
                stride *= self.made[axis];
            }
            place
        })
    }

    fn length(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    fn forward(&self, x: &[f32], value: f32) -> Vec<f32> {
        let mut made = vec![value; self.made.iter().product()];
        for (place, row) in self.rows().zip(x.chunks_exact(self.length().max(1))) {
            made[place..place + row.len()].copy_from_slice(row);
        }
        made
    }
}

impl Function<1> for Padded {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = Dense::of(&gradient);
        let length = self.length();
        let rows = self.rows().flat_map(|place| &gradient.values()[place..place + length]);
        [Some(tensor(&self.shape, rows.copied().collect()))]
    }
}
