//! `LayerNormalization`: each row by its own mean and variance (Ba, Kiros and Hinton, 2016).

use crate::network::floats::{Dense, Floats, Function, dims, record, tensor};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::{Value, axis};
use burn_flex::FlexTensor;

#[derive(Debug)]
struct LayerNorm {
    axis: i64,
    epsilon: f32,
}

pub(crate) fn compile(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    if context.node.outputs().iter().skip(1).any(|name| !name.is_empty()) {
        return Err("with statistics as outputs is not supported".to_owned().into());
    }
    let (axis, epsilon) = (context.int("axis", -1)?, context.float("epsilon", 1e-5)?);
    Ok(Box::new(LayerNorm { axis, epsilon }))
}

impl Operator for LayerNorm {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let (x, scale) = (inputs.floats(0)?, inputs.floats(1)?);
        let shape = dims(x);
        let row = shape[axis(self.axis, shape.len())?..].to_vec();
        let length: usize = row.iter().product();
        let fits = |input: &Floats| dims(input).iter().product::<usize>() == length;
        let bias = inputs.floats_if_any(2)?;
        if length == 0 || !fits(scale) || bias.is_some_and(|bias| !fits(bias)) {
            return Err(format!("normalizes rows of {row:?}, but has scales of {:?}", dims(scale)));
        }
        let values = Dense::of(x.primitive());
        let rows = values.values().chunks_exact(length).map(|row| Row::of(row, self.epsilon));
        let function = Normalization {
            rows: rows.collect(),
            x: values,
            scale: Dense::of(scale.primitive()),
            bias: bias.map(dims).unwrap_or_default(),
        };
        let result = tensor(&shape, function.forward(bias.map(|bias| Dense::of(bias.primitive()))));
        Ok(vec![Value::Floats(match bias {
            Some(bias) => record([x, scale, bias], function, result),
            None => record([x, scale], function, result),
        })])
    }
}

/// Normalization of a row.
#[derive(Debug, Clone, Copy)]
struct Row {
    mean: f32,
    /// Reciprocal of the standard deviation.
    factor: f32,
}

impl Row {
    fn of(row: &[f32], epsilon: f32) -> Self {
        let count = row.len() as f32;
        let mean = row.iter().sum::<f32>() / count;
        let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
        Self { mean, factor: 1.0 / (variance + epsilon).sqrt() }
    }
}

#[derive(Debug, Clone)]
struct Normalization {
    rows: Vec<Row>,
    x: Dense,
    scale: Dense,
    /// Dimensions of the bias.
    bias: Vec<usize>,
}

impl Normalization {
    fn forward(&self, bias: Option<Dense>) -> Vec<f32> {
        let scale = self.scale.values();
        let mut result = Vec::with_capacity(self.x.values().len());
        for (x, row) in self.x.values().chunks_exact(scale.len()).zip(&self.rows) {
            let values = x.iter().zip(scale);
            result.extend(values.map(|(x, scale)| (x - row.mean) * row.factor * scale));
        }
        if let Some(bias) = bias {
            for result in result.chunks_exact_mut(scale.len()) {
                result.iter_mut().zip(bias.values()).for_each(|(result, bias)| *result += bias);
            }
        }
        result
    }

    /// Gradients by x, by the scale and by the bias.
    fn backward(&self, gradient: &FlexTensor) -> [FlexTensor; 3] {
        let shape = dims(gradient);
        let (gradient, scale) = (Dense::of(gradient), self.scale.values());
        let length = scale.len();
        let mut result = Vec::with_capacity(gradient.values().len());
        let (mut by_scale, mut by_bias) = (vec![0.0; length], vec![0.0; length]);
        let rows = self.x.values().chunks_exact(length).zip(gradient.values().chunks_exact(length));
        for ((x, gradient), row) in rows.zip(&self.rows) {
            let normal = |x: f32| (x - row.mean) * row.factor;
            let (mut sum, mut sum_by_normal) = (0.0, 0.0);
            for (index, (x, gradient)) in x.iter().zip(gradient).enumerate() {
                by_scale[index] += gradient * normal(*x);
                by_bias[index] += gradient;
                sum += gradient * scale[index];
                sum_by_normal += gradient * scale[index] * normal(*x);
            }
            let (base, slope) = (sum / length as f32, sum_by_normal / length as f32);
            let values = x.iter().zip(gradient).zip(scale);
            result.extend(values.map(|((x, gradient), scale)| {
                row.factor * (gradient * scale - base - normal(*x) * slope)
            }));
        }
        let scale = tensor(&dims(self.scale.tensor()), by_scale);
        let bias = if self.bias.is_empty() { vec![length] } else { self.bias.clone() };
        [tensor(&shape, result), scale, tensor(&bias, by_bias)]
    }
}

impl Function<2> for Normalization {
    fn gradients(self, gradient: FlexTensor, _: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let [x, scale, _] = self.backward(&gradient);
        [Some(x), Some(scale)]
    }
}

impl Function<3> for Normalization {
    fn gradients(self, gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        self.backward(&gradient).map(Some)
    }
}
