//! `Softmax` and `LogSoftmax`.

use super::layout::permuted;
use super::matrix::reshaped;
use crate::network::floats::{Dense, Floats, Function, dims, record, tensor};
use crate::network::operator::{Call, Inputs, Operator, Refusal};
use crate::network::pass::Pass;
use crate::network::value::{Value, axis};
use burn_flex::FlexTensor;

/// The version from which on a softmax is along one axis; before, over all from it on.
const ALONG_ONE_AXIS: i64 = 13;

#[derive(Debug)]
struct Softmax {
    axis: i64,
    is_along_one: bool,
    is_log: bool,
}

pub(crate) fn compile(call: &Call<'_>) -> Result<Box<dyn Operator>, Refusal> {
    let is_along_one = call.opset >= ALONG_ONE_AXIS;
    let axis = call.int("axis", if is_along_one { -1 } else { 1 })?;
    let is_log = call.node.op_type() == "LogSoftmax";
    Ok(Box::new(Softmax { axis, is_along_one, is_log }))
}

impl Operator for Softmax {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.floats(0)?;
        let shape = dims(x);
        let place = axis(self.axis, shape.len())?;
        if !self.is_along_one {
            let row = shape[place..].iter().product();
            let flat = reshaped(x, vec![shape[..place].iter().product(), row]);
            return Ok(vec![Value::Floats(reshaped(&self.of_rows(&flat), shape))]);
        }
        let mut order: Vec<usize> = (0..shape.len()).collect();
        order.swap(place, shape.len() - 1);
        let is_last = place + 1 == shape.len();
        let turned = if is_last { x.clone() } else { permuted(x, &order) };
        let made = self.of_rows(&turned);
        Ok(vec![Value::Floats(if is_last { made } else { permuted(&made, &order) })])
    }
}

impl Softmax {
    /// Along the last axis.
    fn of_rows(&self, x: &Floats) -> Floats {
        let shape = dims(x);
        let length = shape.last().copied().unwrap_or(1);
        let mut made = Dense::of(x.primitive()).values().to_vec();
        for row in made.chunks_exact_mut(length.max(1)) {
            if self.is_log { log_softmax(row) } else { softmax(row) }
        }
        let made = tensor(&shape, made);
        let function = Rows { made: Dense::of(&made), length, is_log: self.is_log };
        record([x], function, made)
    }
}

/// Turns numbers into what they are of the sum of their exponentials.
pub(crate) fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|value| *value = (*value - largest).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
}

fn log_softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = row.iter().map(|value| (value - largest).exp()).sum();
    let base = largest + sum.ln();
    row.iter_mut().for_each(|value| *value -= base);
}

#[derive(Debug, Clone)]
struct Rows {
    made: Dense,
    length: usize,
    is_log: bool,
}

impl Function<1> for Rows {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let shape = dims(&gradient);
        let gradient = Dense::of(&gradient);
        let mut by_x = Vec::with_capacity(gradient.values().len());
        let length = self.length.max(1);
        let rows = self.made.values().chunks_exact(length);
        for (made, gradient) in rows.zip(gradient.values().chunks_exact(length)) {
            let pairs = made.iter().zip(gradient);
            if self.is_log {
                let sum: f32 = gradient.iter().sum();
                by_x.extend(pairs.map(|(made, gradient)| gradient - made.exp() * sum));
            } else {
                let sum: f32 = pairs.clone().map(|(made, gradient)| made * gradient).sum();
                by_x.extend(pairs.map(|(made, gradient)| made * (gradient - sum)));
            }
        }
        [Some(tensor(&shape, by_x))]
    }
}
