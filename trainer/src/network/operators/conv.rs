//! `Conv`: convolutions of one or two dimensions, with or without groups.
//!
//! A few images at a time become columns, which stay in the processor's cache during
//! multiplication. Shares of the batch run in parallel. Their number is the same on every machine,
//! so that sums are equal.

use super::columns::Columns;
use super::matrix::reshaped;
use super::window::{Grid, Windows};
use crate::network::floats::{Dense, Floats, Function, Inner, dims, record, sum_of, tensor};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::Value;
use burn_backend::ops::FloatTensorOps;
use burn_flex::FlexTensor;
use rayon::prelude::*;
use std::ops::Range;

/// Shares of a batch whose gradients are summed separately.
const SHARES: usize = 8;
/// Target size of the columns of one step in numbers: 256 KiB stay in the L2 cache.
const COLUMNS_NUMBERS: usize = 64 * 1024;

/// Gives images or kernels of one dimension, such as sounds, a height of 1.
fn with_height(x: &Floats) -> Floats {
    match dims(x)[..] {
        [rows, channels, length] => reshaped(x, vec![rows, channels, 1, length]),
        _ => x.clone(),
    }
}

#[derive(Debug)]
struct Conv {
    windows: Windows,
    groups: usize,
}

pub(crate) fn compile(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let groups = usize::try_from(context.int("group", 1)?).unwrap_or(0);
    if groups == 0 {
        return Err("with less than one group is not supported".to_owned().into());
    }
    Ok(Box::new(Conv { windows: Windows::of(context)?, groups }))
}

impl Operator for Conv {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let (x, weight) = (inputs.floats(0)?, inputs.floats(1)?);
        let bias = inputs.floats_if_any(2)?;
        let (image, kernel) = (dims(x), dims(weight));
        let plan = self.plan(&image, &kernel)?;
        let (x, weight) = (&with_height(x), &with_height(weight));
        if bias.is_some_and(|bias| dims(bias) != [plan.outputs]) {
            return Err(format!("has {} outputs, but another number of biases", plan.outputs));
        }
        let function = Convolution {
            plan,
            x: Dense::of(x.primitive()),
            weight: Dense::of(weight.primitive()),
        };
        let result = function.forward(bias.map(|bias| Dense::of(bias.primitive())).as_ref());
        let result = match bias {
            Some(bias) => record([x, weight, bias], function, result),
            None => record([x, weight], function, result),
        };
        let mut shape = vec![image[0], plan.outputs];
        shape.extend(&plan.grid.output[4 - image.len()..]);
        let result = if image.len() == 4 { result } else { reshaped(&result, shape) };
        Ok(vec![Value::Floats(result)])
    }
}

impl Conv {
    fn plan(&self, image: &[usize], kernel: &[usize]) -> Result<Plan, String> {
        if !(3..=4).contains(&image.len()) || kernel.len() != image.len() {
            return Err(format!(
                "requires images of one or two dimensions, not shapes {image:?} and {kernel:?}"
            ));
        }
        let (channels, outputs, groups) = (image[1], kernel[0], self.groups);
        if kernel[1].checked_mul(groups) != Some(channels) || outputs % groups != 0 {
            return Err(format!(
                "has weights {kernel:?} in {groups} groups, which do not fit the image {image:?}"
            ));
        }
        let grid = self.windows.over(&image[2..], Some(&kernel[2..]))?;
        Ok(Plan { grid, rows: image[0], channels, outputs, groups })
    }
}

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
struct Plan {
    grid: Grid,
    rows: usize,
    channels: usize,
    outputs: usize,
    groups: usize,
}

impl Plan {
    /// Numbers in an input image.
    fn image_len(&self) -> usize {
        self.channels * self.grid.pixels()
    }

    /// Numbers in an output image.
    fn output_len(&self) -> usize {
        self.outputs * self.grid.windows()
    }

    fn columns(&self, group: usize) -> Columns<'_> {
        let selected = self.channels / self.groups;
        Columns { grid: &self.grid, channels: self.channels, first: group * selected, selected }
    }

    /// The images as columns, in the memory of `buffer` if it fits.
    fn columns_of(
        &self,
        group: usize,
        images: &[f32],
        buffer: &mut Option<FlexTensor>,
    ) -> FlexTensor {
        let columns = self.columns(group);
        let count = images.len().checked_div(self.image_len()).unwrap_or(0);
        let shape = [columns.rows(), count * self.grid.windows()];
        let fitting = buffer.take().filter(|buffer| dims(buffer) == shape);
        let mut matrix =
            fitting.unwrap_or_else(|| tensor(&shape, vec![0.0; shape.iter().product()]));
        columns.fill(images, matrix.storage_mut::<f32>());
        *buffer = Some(matrix.clone());
        matrix
    }

    /// Images that are multiplied at once.
    fn step_images(&self) -> usize {
        let numbers = self.columns(0).rows() * self.grid.windows();
        (COLUMNS_NUMBERS / numbers.max(1)).max(1)
    }

    /// Images of a share.
    fn share(&self) -> usize {
        self.rows.div_ceil(SHARES).max(1)
    }

    /// Output channels of a group.
    fn outputs_of(&self, group: usize) -> Range<usize> {
        let each = self.outputs / self.groups;
        group * each..(group + 1) * each
    }
}

/// A computed convolution.
#[derive(Debug, Clone)]
struct Convolution {
    plan: Plan,
    x: Dense,
    weight: Dense,
}

impl Convolution {
    /// Weights of a group, `[outputs, channels · pixels of the kernel]`.
    fn weights(&self, group: usize) -> FlexTensor {
        let (plan, columns) = (&self.plan, self.plan.columns(group).rows());
        let all = self.weight.tensor().reshape(vec![plan.outputs, columns].into());
        let outputs = plan.outputs_of(group);
        all.narrow(0, outputs.start, outputs.len())
    }

    fn forward(&self, bias: Option<&Dense>) -> FlexTensor {
        let plan = &self.plan;
        let mut result = vec![0.0; plan.rows * plan.output_len()];
        if result.is_empty() {
            return tensor(&self.shape(), result);
        }
        let weights: Vec<FlexTensor> = (0..plan.groups).map(|group| self.weights(group)).collect();
        let images = self.x.values().par_chunks((plan.share() * plan.image_len()).max(1));
        images.zip(result.par_chunks_mut(plan.share() * plan.output_len())).for_each(
            |(images, result)| {
                let (mut buffer, step_images) = (None, plan.step_images());
                let images = images.chunks((step_images * plan.image_len()).max(1));
                for (images, result) in
                    images.zip(result.chunks_mut(step_images * plan.output_len()))
                {
                    for (group, weights) in weights.iter().enumerate() {
                        let matrix = plan.columns_of(group, images, &mut buffer);
                        let product = Dense::of(&Inner::float_matmul(weights.clone(), matrix));
                        self.spread(group, product.values(), bias.map(Dense::values), result);
                    }
                }
            },
        );
        tensor(&self.shape(), result)
    }

    fn shape(&self) -> [usize; 4] {
        let plan = &self.plan;
        [plan.rows, plan.outputs, plan.grid.output[0], plan.grid.output[1]]
    }

    /// Copies lines of outputs, each over all images, to their positions in each image.
    fn spread(&self, group: usize, product: &[f32], bias: Option<&[f32]>, result: &mut [f32]) {
        let (plan, windows) = (&self.plan, self.plan.grid.windows());
        let images = result.len() / plan.output_len();
        let outputs = plan.outputs_of(group);
        for (output, line) in outputs.zip(product.chunks_exact(images * windows)) {
            let bias = bias.map_or(0.0, |bias| bias[output]);
            for (result, line) in
                result.chunks_exact_mut(plan.output_len()).zip(line.chunks_exact(windows))
            {
                let result = &mut result[output * windows..][..windows];
                result.iter_mut().zip(line).for_each(|(result, value)| *result = value + bias);
            }
        }
    }

    /// Inverse of [`spread`](Self::spread).
    fn gather(&self, group: usize, gradient: &[f32]) -> FlexTensor {
        let (plan, windows) = (&self.plan, self.plan.grid.windows());
        let outputs = plan.outputs_of(group);
        let mut lines = Vec::with_capacity(outputs.len() * gradient.len() / plan.outputs);
        for output in outputs.clone() {
            for image in gradient.chunks_exact(plan.output_len()) {
                lines.extend_from_slice(&image[output * windows..][..windows]);
            }
        }
        matrix(outputs.len(), lines)
    }

    /// Gradients by the images and by the weights.
    fn backward(&self, gradient: &FlexTensor, by_x: bool) -> (FlexTensor, FlexTensor) {
        let plan = &self.plan;
        let gradient = Dense::of(gradient);
        let mut images = vec![0.0; if by_x { plan.rows * plan.image_len() } else { 0 }];
        let weights = self.weight.values().len();
        let shares = plan.rows.div_ceil(plan.share());
        // Each share has its own sums, even without gradients by the images.
        let (image, share) = (plan.image_len(), plan.share());
        let mut parts: Vec<&mut [f32]> = match by_x {
            true => images.chunks_mut((share * image).max(1)).collect(),
            false => (0..shares).map(|_| Default::default()).collect(),
        };
        let sums: Vec<Vec<f32>> = parts
            .par_iter_mut()
            .enumerate()
            .map(|(index, images)| {
                let first = index * share;
                let rows = first..(first + share).min(plan.rows);
                self.backward_share(rows, gradient.values(), images)
            })
            .collect();
        let mut sum = vec![0.0; weights];
        for part in &sums {
            sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
        let shape = [plan.rows, plan.channels, plan.grid.input[0], plan.grid.input[1]];
        let images = if by_x { tensor(&shape, images) } else { tensor(&[0], images) };
        (images, tensor(&dims(self.weight.tensor()), sum))
    }

    /// Gradients for some rows: adds to `images`, unless empty, and returns the sums for the
    /// weights.
    fn backward_share(&self, rows: Range<usize>, gradient: &[f32], images: &mut [f32]) -> Vec<f32> {
        let (plan, step_images) = (&self.plan, self.plan.step_images());
        let mut sums = vec![0.0; self.weight.values().len()];
        let mut buffer = None;
        for first in rows.clone().step_by(step_images) {
            let step = first..(first + step_images).min(rows.end);
            let gradient = &gradient[step.start * plan.output_len()..step.end * plan.output_len()];
            let taken =
                &self.x.values()[step.start * plan.image_len()..step.end * plan.image_len()];
            for group in 0..plan.groups {
                let columns = plan.columns(group);
                let lines = self.gather(group, gradient);
                let matrix = plan.columns_of(group, taken, &mut buffer);
                let product = Inner::float_matmul(lines.clone(), matrix.transpose(0, 1));
                let outputs = plan.outputs_of(group);
                let sums = &mut sums[outputs.start * columns.rows()..];
                let product = Dense::of(&product);
                sums.iter_mut().zip(product.values()).for_each(|(sum, value)| *sum += value);
                if !images.is_empty() {
                    let weights = self.weights(group).transpose(0, 1);
                    let back = Dense::of(&Inner::float_matmul(weights, lines));
                    let start = (step.start - rows.start) * plan.image_len();
                    let images = &mut images[start..start + taken.len()];
                    columns.add_to(back.values(), images);
                }
            }
        }
        sums
    }

    /// Gradient by each output's bias.
    fn by_bias(&self, gradient: &FlexTensor) -> FlexTensor {
        let (outputs, windows) = (self.plan.outputs, self.plan.grid.windows());
        let gradient = Dense::of(gradient);
        let images = || gradient.values().chunks_exact(self.plan.output_len().max(1));
        let of_output = |output: usize| {
            images().map(|image| sum_of(&image[output * windows..][..windows], |value| value)).sum()
        };
        let sums = (0..outputs).into_par_iter().map(of_output).collect();
        tensor(&[outputs], sums)
    }
}

fn matrix(rows: usize, values: Vec<f32>) -> FlexTensor {
    let columns = values.len().checked_div(rows).unwrap_or(0);
    tensor(&[rows, columns], values)
}

impl Function<2> for Convolution {
    fn gradients(self, gradient: FlexTensor, wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let (images, weights) = self.backward(&gradient, wanted[0]);
        [wanted[0].then_some(images), wanted[1].then_some(weights)]
    }
}

impl Function<3> for Convolution {
    fn gradients(self, gradient: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let bias = wanted[2].then(|| self.by_bias(&gradient));
        let (images, weights) = self.backward(&gradient, wanted[0]);
        [wanted[0].then_some(images), wanted[1].then_some(weights), bias]
    }
}
