//! An image as planes in which every weight of the kernel is a plain distance.
//!
//! With pads, a plane is the image's channel with its zeros around it. With strides, each channel
//! becomes several planes, its *phases*: of every second row and column, say, the even and the odd
//! ones. Then the numbers that one weight of the kernel meets lie side by side, at a distance that
//! is the same for every output, and outputs of a row follow each other.

use super::shape::{Convolution, Images};
use crate::parallel::Shared;
use std::ops::Range;

/// Where planes lie.
#[derive(Debug, Clone)]
pub(crate) struct Planes {
    convolution: Convolution,
    input: Images,
    output: Images,
    /// The first row and column of each phase that the kernel meets.
    phases: Vec<[usize; 2]>,
    /// For each weight of the kernel its phase, and its row and column there.
    taps: Vec<(usize, [usize; 2])>,
    height: usize,
    width: usize,
}

impl Planes {
    pub(crate) fn new(convolution: &Convolution, input: Images, output: Images) -> Self {
        let (mut phases, mut taps) = (Vec::new(), Vec::new());
        let mut reach = [0; 2];
        for tap in 0..convolution.taps() {
            let place = [tap / convolution.kernel[1], tap % convolution.kernel[1]];
            let at: [usize; 2] = std::array::from_fn(|i| place[i] * convolution.dilations[i]);
            let phase = std::array::from_fn(|i| at[i] % convolution.strides[i]);
            let far: [usize; 2] = std::array::from_fn(|i| at[i] / convolution.strides[i]);
            let known = phases.iter().position(|known| *known == phase);
            taps.push((known.unwrap_or(phases.len()), far));
            if known.is_none() {
                phases.push(phase);
            }
            reach = std::array::from_fn(|i| reach[i].max(far[i]));
        }
        Self {
            convolution: *convolution,
            input,
            output,
            phases,
            taps,
            height: output.height + reach[0],
            width: output.width + reach[1],
        }
    }

    /// Whether the images are such planes already.
    pub(crate) fn are_images(&self) -> bool {
        self.convolution.pads == [0; 4]
            && self.convolution.strides == [1; 2]
            && (self.height, self.width) == (self.input.height, self.input.width)
    }

    /// The numbers of all planes, if they can be counted.
    pub(crate) fn len(&self) -> Option<usize> {
        let of_channel = self.height.checked_mul(self.width)?.checked_mul(self.phases.len())?;
        let channels = self.input.count.checked_mul(self.convolution.channels)?;
        of_channel.checked_mul(channels)
    }

    /// The channels of all images.
    pub(crate) fn channels(&self) -> usize {
        self.input.count * self.convolution.channels
    }

    /// The numbers of a channel's planes.
    fn channel_len(&self) -> usize {
        self.height * self.width * self.phases.len()
    }

    /// For each weight of an output, in their order, the distance of its input from where the
    /// output starts.
    pub(crate) fn distances(&self) -> Vec<usize> {
        let of_plane = self.height * self.width;
        let of_tap = |&(phase, [row, column]): &(usize, [usize; 2])| {
            phase * of_plane + row * self.width + column
        };
        let channels = 0..self.convolution.channels;
        let starts = channels.map(|channel| channel * self.channel_len());
        starts.flat_map(|start| self.taps.iter().map(move |tap| start + of_tap(tap))).collect()
    }

    /// Where the inputs of an output start.
    pub(crate) fn start(&self, position: usize) -> usize {
        let (image, pixel) = (position / self.output.pixels(), position % self.output.pixels());
        let (row, column) = (pixel / self.output.width, pixel % self.output.width);
        image * self.convolution.channels * self.channel_len() + row * self.width + column
    }

    /// How many outputs from this one on have their inputs side by side, itself included.
    pub(crate) fn run(&self, position: usize) -> usize {
        let pixel = position % self.output.pixels();
        if self.width == self.output.width {
            return self.output.pixels() - pixel;
        }
        self.output.width - pixel % self.output.width
    }

    /// Writes the planes of some channels of `images`.
    pub(crate) fn write(&self, images: &[f32], channels: Range<usize>, planes: &Shared<'_>) {
        let (from, to) = (self.input.pixels(), self.channel_len());
        for channel in channels {
            let image = &images[channel * from..(channel + 1) * from];
            // SAFETY: each channel is written by one caller.
            let planes = unsafe { planes.part(channel * to..(channel + 1) * to) };
            for (plane, phase) in planes.chunks_exact_mut(self.height * self.width).zip(&self.phases) {
                self.write_plane(image, *phase, plane);
            }
        }
    }

    fn write_plane(&self, image: &[f32], phase: [usize; 2], plane: &mut [f32]) {
        let [top, left, ..] = self.convolution.pads;
        let [down, right] = self.convolution.strides;
        // The columns of the plane that lie in the image.
        let inside = inside(phase[1], right, left, self.input.width, self.width);
        for (row, line) in plane.chunks_exact_mut(self.width).enumerate() {
            let row = (row * down + phase[0]).checked_sub(top);
            let Some(row) = row.filter(|row| *row < self.input.height) else {
                line.fill(0.0);
                continue;
            };
            line[..inside.start].fill(0.0);
            line[inside.end..].fill(0.0);
            let line = &mut line[inside.clone()];
            let first = row * self.input.width + (inside.start * right + phase[1]).saturating_sub(left);
            if line.is_empty() {
                continue;
            }
            match right {
                1 => line.copy_from_slice(&image[first..first + line.len()]),
                _ => {
                    let from = image[first..].iter().step_by(right);
                    line.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
}

/// The places `i` below `len` where `i * stride + phase - pad` lies in `0..size`.
fn inside(phase: usize, stride: usize, pad: usize, size: usize, len: usize) -> Range<usize> {
    let start = pad.saturating_sub(phase).div_ceil(stride).min(len);
    let end = (pad + size).saturating_sub(phase).div_ceil(stride).min(len);
    start..end.max(start)
}
