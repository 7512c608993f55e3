//! LeNet-300-100 and LeNet-5 written by hand on `burn`'s backend operations: without a graph to
//! interpret, and without `burn`'s own layers.

use super::steps::{RATE, ROWS};
use anyhow::{Context, Result};
use burn_autodiff::Autodiff;
use burn_backend::ops::{ActivationOps, ConvOptions, FloatTensorOps, IntTensorOps, ModuleOps};
use burn_backend::tensor::FloatTensor;
use burn_backend::{AutodiffBackend, Shape, TensorData};
use burn_flex::{Flex, FlexDevice};
use skysail_trainer::Layout;

type Diff = Autodiff<Flex>;
type Floats = FloatTensor<Diff>;

/// Function from a model's parameters and rows to its logits.
pub(super) type Forward = fn(&[Floats], Floats) -> Floats;

/// Model with its parameters.
pub(super) struct ByHand {
    parameters: Vec<Floats>,
    forward: Forward,
}

impl ByHand {
    pub(super) fn new(layout: &Layout, values: &[f32], forward: Forward) -> Self {
        let parameters = layout.entries().iter().map(|entry| {
            let values = values[entry.range.clone()].to_vec();
            Diff::float_set_require_grad(tensor(values, &entry.shape), true)
        });
        Self { parameters: parameters.collect(), forward }
    }

    /// Trains one step, and returns its loss.
    pub(super) fn step(&mut self, values: &[f32], classes: &[u32]) -> Result<f32> {
        let rows = tensor(values.to_vec(), &[ROWS, values.len() / ROWS]);
        let classes: Vec<i64> = classes.iter().map(|class| i64::from(*class)).collect();
        let classes = Diff::int_from_data(TensorData::new(classes, [ROWS, 1]), &FlexDevice);
        let logits = (self.forward)(&self.parameters, rows);
        let chosen = Diff::float_gather(1, Diff::log_softmax(logits, 1), classes);
        let loss = Diff::float_neg(Diff::float_mean(chosen));
        let value = loss.primitive().storage::<f32>().first().copied().context("no loss")?;
        let mut gradients = Diff::backward(loss);
        for parameter in &mut self.parameters {
            let Some(gradient) = Diff::grad_remove(parameter, &mut gradients) else { continue };
            let step = Flex::float_mul_scalar(gradient, RATE.into());
            let moved = Flex::float_sub(parameter.primitive().clone(), step);
            *parameter = Diff::float_set_require_grad(Diff::from_inner(moved), true);
        }
        Ok(value)
    }
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> Floats {
    Diff::float_from_data(TensorData::new(values, shape.to_vec()), &FlexDevice)
}

fn reshaped(x: Floats, shape: &[usize]) -> Floats {
    Diff::float_reshape(x, Shape::from(shape.to_vec()))
}

/// Fully connected layer: multiplies by the first of its parameters, and adds the second.
fn dense(x: Floats, parameters: &[Floats], outputs: usize) -> Floats {
    let product = Diff::float_matmul(x, Diff::float_transpose(parameters[0].clone()));
    Diff::float_add(product, reshaped(parameters[1].clone(), &[1, outputs]))
}

/// Convolution with max pooling of 2 × 2.
fn conv(x: Floats, parameters: &[Floats]) -> Floats {
    let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    let made = Diff::conv2d(x, parameters[0].clone(), Some(parameters[1].clone()), options);
    Diff::max_pool2d(made, [2, 2], [2, 2], [0, 0], [1, 1], false)
}

/// LeNet-300-100.
pub(super) fn perceptron(parameters: &[Floats], rows: Floats) -> Floats {
    let first = Diff::relu(dense(rows, parameters, 300));
    let second = Diff::relu(dense(first, &parameters[2..], 100));
    dense(second, &parameters[4..], 10)
}

/// LeNet-5.
pub(super) fn lenet(parameters: &[Floats], rows: Floats) -> Floats {
    let first = conv(reshaped(rows, &[ROWS, 1, 28, 28]), parameters);
    let second = conv(first, &parameters[2..]);
    let hidden = Diff::relu(dense(reshaped(second, &[ROWS, 800]), &parameters[4..], 500));
    dense(hidden, &parameters[6..], 10)
}
