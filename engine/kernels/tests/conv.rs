//! Convolutions equal those with dense kernels, for any shape, level and size.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use proptest::prelude::*;
use skysail_kernels::{
    Activation, ConvInput, Convolution, Finish, Images, Scratch, Serial, SparseConv, SparseWeights,
};
use support::{Random, Sum, activations, levels};

#[derive(Debug, Clone)]
struct Case {
    convolution: Convolution,
    outputs_of_group: usize,
    images: Images,
    density: f64,
    few_values: bool,
    residual: bool,
    activation: Activation,
    seed: u64,
}

fn pair(most: usize) -> impl Strategy<Value = [usize; 2]> {
    [1..=most, 1..=most]
}

fn cases() -> impl Strategy<Value = Case> {
    let channels = (1_usize..4, 1_usize..12, 1_usize..20);
    let kernel = (pair(4), pair(3), pair(2), [0..3_usize, 0..3_usize, 0..3_usize, 0..3_usize]);
    let images = (1_usize..4, 1_usize..24, 1_usize..24);
    let rest = (0.0..1.0_f64, any::<bool>(), any::<bool>(), activations(), any::<u64>());
    let cases = (channels, kernel, images, rest).prop_map(|(channels, kernel, images, rest)| {
        let (groups, channels_of_group, outputs_of_group) = channels;
        let (kernel, strides, dilations, pads) = kernel;
        let channels = channels_of_group * groups;
        let (count, height, width) = images;
        let (density, few_values, residual, activation, seed) = rest;
        Case {
            convolution: Convolution { channels, groups, kernel, strides, dilations, pads },
            outputs_of_group,
            images: Images { count, height, width },
            density,
            few_values,
            residual,
            activation,
            seed,
        }
    });
    cases.prop_filter("fits", |case| case.convolution.output(case.images).is_ok())
}

impl Case {
    fn outputs(&self) -> usize {
        self.outputs_of_group * self.convolution.groups
    }

    /// Weights of an output.
    fn inputs(&self) -> usize {
        let Convolution { channels, groups, kernel, .. } = self.convolution;
        channels / groups * kernel[0] * kernel[1]
    }

    fn weights(&self, random: &mut Random) -> Vec<f32> {
        let mut weights = random.values(self.outputs() * self.inputs());
        for weight in &mut weights {
            if self.few_values {
                *weight = (*weight * 10.0).round() / 10.0;
            }
            if random.unit() > self.density {
                *weight = 0.0;
            }
        }
        weights
    }

    /// Sum at a position of the output: image, channel, row, column.
    fn expected(&self, x: &[f32], weights: &[f32], place: [usize; 4]) -> Sum {
        let Convolution { channels, groups, kernel, strides, dilations, pads } = self.convolution;
        let [image, output, row, column] = place;
        let group = output / self.outputs_of_group;
        let mut sum = Sum::default();
        for weight in 0..self.inputs() {
            let (channel, tap) =
                (weight / (kernel[0] * kernel[1]), weight % (kernel[0] * kernel[1]));
            let channel = group * (channels / groups) + channel;
            let y = (row * strides[0] + tap / kernel[1] * dilations[0]).checked_sub(pads[0]);
            let x_at = (column * strides[1] + tap % kernel[1] * dilations[1]).checked_sub(pads[1]);
            let (Some(y), Some(x_at)) = (y, x_at) else { continue };
            if y >= self.images.height || x_at >= self.images.width {
                continue;
            }
            let plane = (image * channels + channel) * self.images.pixels();
            let input = x[plane + y * self.images.width + x_at];
            sum.add(f64::from(weights[output * self.inputs() + weight]) * f64::from(input));
        }
        sum
    }

    fn check(&self) {
        let mut random = Random::new(self.seed);
        let weights = self.weights(&mut random);
        let entries = weights
            .iter()
            .enumerate()
            .map(|(i, w)| ((i / self.inputs()) as u32, (i % self.inputs()) as u32, *w));
        let sparse = SparseWeights::plain(self.outputs(), self.inputs(), entries).unwrap();
        let x = random.values(self.images.count * self.convolution.channels * self.images.pixels());
        let size = self.convolution.output(self.images).unwrap();
        let len = size.count * self.outputs() * size.pixels();
        let (bias, residual) = (random.values(self.outputs()), random.values(len));
        let input = ConvInput {
            x: &x,
            images: self.images,
            residual: self.residual.then_some(&residual[..]),
        };
        let finish = Finish { bias: Some(&bias), activation: self.activation };
        let mut scratch = Scratch::default();
        for level in levels() {
            let conv = SparseConv::at_level(&sparse, self.convolution, level).unwrap();
            let mut y = vec![f32::NAN; len];
            conv.convolve(input, &mut y, finish, &mut scratch, &Serial).unwrap();
            for (index, y) in y.iter().enumerate() {
                let (map, pixel) = (index / size.pixels(), index % size.pixels());
                let output = map % self.outputs();
                let place = [map / self.outputs(), output, pixel / size.width, pixel % size.width];
                let mut sum = self.expected(&x, &weights, place);
                sum.add(f64::from(bias[output]));
                if self.residual {
                    sum.add(f64::from(residual[index]));
                }
                sum.check(self.activation, *y, &(level, place));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sparse_convolutions_equal_dense_ones(case in cases()) {
        case.check();
    }
}
