//! `BatchNormalization`: by the batch's own mean and variance during training, by running ones in
//! inference (Ioffe and Szegedy, ICML 2015).

use crate::network::floats::{Dense, Floats, Function, dims, record, sum_of, sum_of_pairs, tensor};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::Value;
use burn_flex::FlexTensor;

#[derive(Debug)]
struct BatchNorm {
    epsilon: f32,
    momentum: f32,
    /// Layout entries of the running mean and variance.
    statistics: [Option<usize>; 2],
}

pub(crate) fn compile(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    if context.node.outputs().iter().skip(1).any(|name| !name.is_empty()) {
        return Err("with statistics as outputs is not supported".to_owned().into());
    }
    let entry = |input: usize| context.entries.get(input).copied().flatten();
    Ok(Box::new(BatchNorm {
        epsilon: context.float("epsilon", 1e-5)?,
        momentum: context.float("momentum", 0.9)?,
        statistics: [entry(3), entry(4)],
    }))
}

impl Operator for BatchNorm {
    fn run(&self, inputs: &Inputs, pass: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.floats(0)?;
        let shape = dims(x);
        let &[rows, channels, ..] = &shape[..] else {
            return Err(format!("requires two or more dimensions, not shape {shape:?}"));
        };
        let of = |index| -> Result<&Floats, String> {
            let input = inputs.floats(index)?;
            match dims(input) == [channels] {
                true => Ok(input),
                false => Err(format!("has {channels} channels, but input {index} does not")),
            }
        };
        let (scale, bias, mean, variance) = (of(1)?, of(2)?, of(3)?, of(4)?);
        let planes = Planes { rows, channels, pixels: shape[2..].iter().product() };
        let image = Dense::of(x.primitive());
        let running = [mean, variance].map(|statistic| Dense::of(statistic.primitive()));
        let is_training = pass.is_training() && planes.each() > 0;
        let [mean, variance] = match is_training {
            true => planes.moments(image.values()),
            false => running.each_ref().map(|statistic| statistic.values().to_vec()),
        };
        if is_training {
            for ((entry, running), seen) in
                self.statistics.iter().zip(&running).zip([&mean, &variance])
            {
                let delta =
                    |(running, seen): (&f32, &f32)| (running - seen) * (1.0 - self.momentum);
                let deltas = running.values().iter().zip(seen).map(delta).collect();
                entry.iter().for_each(|entry| pass.statistics.push((*entry, Vec::clone(&deltas))));
            }
        }
        let factors = variance.iter().map(|variance| 1.0 / (variance + self.epsilon).sqrt());
        let function = Normalization {
            planes,
            x: image,
            mean,
            factors: factors.collect(),
            scale: Dense::of(scale.primitive()),
            depends: is_training,
        };
        let result = function.forward(Dense::of(bias.primitive()).values());
        Ok(vec![Value::Floats(record([x, scale, bias], function, tensor(&shape, result)))])
    }
}

/// A batch of images as planes.
#[derive(Debug, Clone, Copy)]
struct Planes {
    rows: usize,
    channels: usize,
    pixels: usize,
}

impl Planes {
    /// Numbers per channel.
    fn each(&self) -> usize {
        self.rows * self.pixels
    }

    /// The planes with their channels.
    fn of<'a>(&self, x: &'a [f32]) -> impl Iterator<Item = (usize, &'a [f32])> + use<'a> {
        let channels = self.channels;
        let planes = x.chunks_exact(self.pixels.max(1)).enumerate();
        planes.map(move |(index, plane)| (index % channels, plane))
    }

    /// Mean and variance of each channel.
    fn moments(&self, x: &[f32]) -> [Vec<f32>; 2] {
        let count = self.each() as f64;
        let mut sums = vec![0.0_f64; self.channels];
        for (channel, plane) in self.of(x) {
            sums[channel] += f64::from(sum_of(plane, |value| value));
        }
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
        let mut sums = vec![0.0_f64; self.channels];
        for (channel, plane) in self.of(x) {
            let mean = mean[channel];
            sums[channel] += f64::from(sum_of(plane, |value| (value - mean).powi(2)));
        }
        let variance = sums.iter().map(|sum| (sum / count) as f32).collect();
        [mean, variance]
    }
}

#[derive(Debug, Clone)]
struct Normalization {
    planes: Planes,
    x: Dense,
    mean: Vec<f32>,
    /// Reciprocals of the standard deviations.
    factors: Vec<f32>,
    scale: Dense,
    /// True if the mean and the variance depend on `x`.
    depends: bool,
}

impl Normalization {
    fn forward(&self, bias: &[f32]) -> Vec<f32> {
        let mut result = Vec::with_capacity(self.x.values().len());
        for (channel, plane) in self.planes.of(self.x.values()) {
            let factor = self.factors[channel] * self.scale.values()[channel];
            let (mean, bias) = (self.mean[channel], bias[channel]);
            result.extend(plane.iter().map(|value| (value - mean) * factor + bias));
        }
        result
    }

    /// Sums per channel of the gradient, and of the gradient times the normalized value.
    fn sums(&self, gradient: &[f32]) -> [Vec<f32>; 2] {
        let mut sums = [vec![0.0; self.planes.channels], vec![0.0; self.planes.channels]];
        let planes = self.planes.of(self.x.values()).zip(self.planes.of(gradient));
        for ((channel, x), (_, gradient)) in planes {
            let mean = self.mean[channel];
            let products = sum_of_pairs(x, gradient, |x, gradient| (x - mean) * gradient);
            sums[0][channel] += sum_of(gradient, |value| value);
            sums[1][channel] += products * self.factors[channel];
        }
        sums
    }
}

impl Function<3> for Normalization {
    fn gradients(self, gradient: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let shape = dims(&gradient);
        let gradient = Dense::of(&gradient);
        let [by_bias, by_scale] = self.sums(gradient.values());
        let by_x = wanted[0].then(|| {
            let count = self.planes.each() as f32;
            let mut result = Vec::with_capacity(gradient.values().len());
            let planes = self.planes.of(self.x.values()).zip(self.planes.of(gradient.values()));
            for ((channel, x), (_, gradient)) in planes {
                let factor = self.factors[channel];
                let scale = factor * self.scale.values()[channel];
                // The mean and the variance depend on x (section 3 of the paper).
                let share = if self.depends { 1.0 / count } else { 0.0 };
                let (base, slope) = (by_bias[channel] * share, by_scale[channel] * share * factor);
                let mean = self.mean[channel];
                let pairs = x.iter().zip(gradient);
                result.extend(pairs.map(|(x, value)| scale * (value - base - (x - mean) * slope)));
            }
            tensor(&shape, result)
        });
        let of = |values: Vec<f32>| Some(tensor(&[self.planes.channels], values));
        [by_x, of(by_scale), of(by_bias)]
    }
}
