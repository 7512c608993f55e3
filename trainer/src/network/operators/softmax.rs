//! `Softmax` and `LogSoftmax`.

use super::layout::permuted;
use super::matrix::reshaped;
use crate::network::floats::{Dense, Floats, Function, dims, record, tensor};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::{Value, axis};
use burn_flex::FlexTensor;

/// Version since which a softmax is along one axis; before, over all following axes.
const ALONG_ONE_AXIS: i64 = 13;

#[derive(Debug)]
struct Softmax {
    axis: i64,
    is_along_one: bool,
    is_log: bool,
}

pub(crate) fn compile(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let is_along_one = context.opset >= ALONG_ONE_AXIS;
    let axis = context.int("axis", if is_along_one { -1 } else { 1 })?;
    let is_log = context.node.op_type() == "LogSoftmax";
    Ok(Box::new(Softmax { axis, is_along_one, is_log }))
}

impl Operator for Softmax {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.floats(0)?;
        let shape = dims(x);
        let position = axis(self.axis, shape.len())?;
        if !self.is_along_one {
            let row = shape[position..].iter().product();
            let flat = reshaped(x, vec![shape[..position].iter().product(), row]);
            return Ok(vec![Value::Floats(reshaped(&self.of_rows(&flat), shape))]);
        }
        let mut order: Vec<usize> = (0..shape.len()).collect();
        order.swap(position, shape.len() - 1);
        let is_last = position + 1 == shape.len();
        let permuted_x = if is_last { x.clone() } else { permuted(x, &order) };
        let result = self.of_rows(&permuted_x);
        Ok(vec![Value::Floats(if is_last { result } else { permuted(&result, &order) })])
    }
}

impl Softmax {
    /// Applies it along the last axis.
    fn of_rows(&self, x: &Floats) -> Floats {
        let shape = dims(x);
        let length = shape.last().copied().unwrap_or(1);
        let mut result = Dense::of(x.primitive()).values().to_vec();
        for row in result.chunks_exact_mut(length.max(1)) {
            if self.is_log { log_softmax(row) } else { softmax(row) }
        }
        let result = tensor(&shape, result);
        let function = Rows { result: Dense::of(&result), length, is_log: self.is_log };
        record([x], function, result)
    }
}

/// Replaces a row by its softmax.
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
    result: Dense,
    length: usize,
    is_log: bool,
}

impl Function<1> for Rows {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let shape = dims(&gradient);
        let gradient = Dense::of(&gradient);
        let mut by_x = Vec::with_capacity(gradient.values().len());
        let length = self.length.max(1);
        let rows = self.result.values().chunks_exact(length);
        for (result, gradient) in rows.zip(gradient.values().chunks_exact(length)) {
            let pairs = result.iter().zip(gradient);
            if self.is_log {
                let sum: f32 = gradient.iter().sum();
                by_x.extend(pairs.map(|(result, gradient)| gradient - result.exp() * sum));
            } else {
                let sum: f32 = pairs.clone().map(|(result, gradient)| result * gradient).sum();
                by_x.extend(pairs.map(|(result, gradient)| result * (gradient - sum)));
            }
        }
        [Some(tensor(&shape, by_x))]
    }
}
