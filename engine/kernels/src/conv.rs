//! Convolutions by sparse kernels.
//!
//! A convolution is a product, too: its matrix has a row for each output channel and a column for
//! each weight of the kernel. Pixels of the output are the positions of [`Rows`], and their inputs
//! are gathered into strips, a block of pixels at a time, so that they stay in the near caches.

mod pack;
mod planes;
mod shape;

pub use shape::{Convolution, Images};

use crate::aligned::LINE;
use crate::error::check_length;
use crate::level::at_level;
use crate::parallel::{Shared, share};
use crate::rows::{BAND, Positions, Rows, SUMS, Strips};
use crate::scratch::PartScratch;
use crate::{Activation, Finish, KernelError, Level, Parallel, Scratch, SparseWeights};
use pack::Source;
use planes::Planes;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Parts that a run is split into at most.
const PARTS_MAX: usize = 16;

/// A convolution whose kernels are sparse.
#[derive(Debug)]
pub struct SparseConv {
    convolution: Convolution,
    outputs: usize,
    count: usize,
    level: Level,
    rows: Rows,
    /// That of the last run: most runs are of one size.
    plan: Mutex<Option<Arc<Plan>>>,
}

/// What follows from the size of the images.
#[derive(Debug)]
struct Plan {
    images: Images,
    output: Images,
    planes: Planes,
    /// For each weight of an output the distance of its input from where the output starts.
    distances: Vec<usize>,
    /// The greatest of them.
    far: usize,
}

/// What a convolution works on, all of it as ONNX's `Conv` has it.
#[derive(Debug, Clone, Copy)]
pub struct ConvInput<'a> {
    /// Images: [count, channels, height, width].
    pub x: &'a [f32],
    /// Their size.
    pub images: Images,
    /// Numbers that are added to the output, before the activation: [count, outputs, height,
    /// width] of the output.
    pub residual: Option<&'a [f32]>,
}

/// One run: what all its parts know.
struct Run<'a> {
    conv: &'a SparseConv,
    plan: &'a Plan,
    source: Source<'a>,
    finish: Finish<'a>,
    residual: Option<&'a [f32]>,
    y: Shared<'a>,
}

impl SparseConv {
    /// A convolution for this processor. The matrix has a row for each output channel, with the
    /// kernel's weights in the order of ONNX's `Conv`: channel of the group, row, column.
    ///
    /// # Errors
    /// When the weights are not those of such a convolution.
    pub fn new(weights: &SparseWeights, convolution: Convolution) -> Result<Self, KernelError> {
        Self::at_level(weights, convolution, Level::best())
    }

    /// One for a set of instructions, or the best there is where the processor lacks it.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn at_level(
        weights: &SparseWeights,
        convolution: Convolution,
        level: Level,
    ) -> Result<Self, KernelError> {
        let outputs = weights.outputs();
        convolution.check(outputs, weights.inputs())?;
        let level = level.or_best();
        let rows = if convolution.groups == 1 {
            Rows::new(weights, Positions::Pixels, level)
        } else {
            // Each group has columns of its own, in one matrix for all.
            let outputs_of_group = outputs / convolution.groups;
            let all = weights.inputs() * convolution.groups;
            let first = |output: usize| output / outputs_of_group * weights.inputs();
            Rows::new(&weights.shifted(all, first), Positions::Pixels, level)
        };
        let (count, plan) = (weights.count(), Mutex::default());
        Ok(Self { convolution, outputs, count, level, rows, plan })
    }

    /// What it does.
    pub fn convolution(&self) -> &Convolution {
        &self.convolution
    }

    /// Channels that come out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The weights that are not zero.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    /// Convolves images into `y` ([count, outputs, height, width], see [`Convolution::output`]).
    ///
    /// # Errors
    /// When a length does not fit, or the kernel does not fit the images.
    pub fn convolve(
        &self,
        input: ConvInput<'_>,
        y: &mut [f32],
        finish: Finish<'_>,
        scratch: &mut Scratch,
        threads: &dyn Parallel,
    ) -> Result<(), KernelError> {
        let plan = self.plan(input.images)?;
        self.check(&input, y, finish, plan.output)?;
        if y.is_empty() {
            return Ok(());
        }
        let Scratch { inputs, parts } = scratch;
        let values = if plan.planes.are_images() {
            input.x
        } else {
            write_planes(&plan.planes, input.x, inputs, threads)?
        };
        let run = Run {
            conv: self,
            plan: &plan,
            source: Source {
                planes: &plan.planes,
                values,
                distances: &plan.distances,
                far: plan.far,
            },
            finish,
            residual: input.residual,
            y: Shared::new(y),
        };
        let positions = plan.output.count * plan.output.pixels();
        let block = self.rows.strips() * LINE;
        let blocks = positions.div_ceil(block);
        let count = blocks.min(PARTS_MAX);
        threads.run(count, &|part| {
            parts.with(|part_scratch| {
                part_scratch.sums.grow(SUMS);
                part_scratch.panel.grow(self.rows.strips() * self.rows.panel().strip_len());
                for index in share(blocks, count, part) {
                    let first = index * block;
                    run.block(first..positions.min(first + block), part_scratch);
                }
            });
        })
    }

    /// The plan for images of this size.
    fn plan(&self, images: Images) -> Result<Arc<Plan>, KernelError> {
        let lock = || self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lock().as_ref().filter(|plan| plan.images == images).map(Arc::clone);
        if let Some(plan) = last {
            return Ok(plan);
        }
        let output = self.convolution.output(images)?;
        let planes = Planes::new(&self.convolution, images, output);
        let too_large = || KernelError::Convolution(format!("{images:?} are too large"));
        planes.len().ok_or_else(too_large)?;
        let distances = planes.distances();
        let far = distances.iter().max().copied().unwrap_or(0);
        let plan = Arc::new(Plan { images, output, planes, distances, far });
        *lock() = Some(Arc::clone(&plan));
        Ok(plan)
    }

    /// Checks that all lengths fit.
    fn check(
        &self,
        input: &ConvInput<'_>,
        y: &[f32],
        finish: Finish<'_>,
        output: Images,
    ) -> Result<(), KernelError> {
        let len = |images: Images, channels: usize| {
            let pixels = images.height.checked_mul(images.width)?.checked_mul(images.count)?;
            pixels.checked_mul(channels)
        };
        let too_large = || KernelError::Convolution(format!("{:?} are too many", input.images));
        let x_len = len(input.images, self.convolution.channels).ok_or_else(too_large)?;
        let y_len = len(output, self.outputs).ok_or_else(too_large)?;
        check_length("the input", input.x.len(), x_len)?;
        check_length("the output", y.len(), y_len)?;
        if let Some(bias) = finish.bias {
            check_length("the bias", bias.len(), self.outputs)?;
        }
        if let Some(residual) = input.residual {
            check_length("what is added", residual.len(), y_len)?;
        }
        Ok(())
    }
}

fn write_planes<'a>(
    planes: &Planes,
    x: &[f32],
    inputs: &'a mut crate::aligned::Floats,
    threads: &dyn Parallel,
) -> Result<&'a [f32], KernelError> {
    let (len, channels) = (planes.len().unwrap_or(0), planes.channels());
    inputs.grow(len);
    let target = Shared::new(&mut inputs[..len]);
    let parts = channels.min(PARTS_MAX);
    threads.run(parts, &|part| planes.write(x, share(channels, parts, part), &target))?;
    Ok(&inputs[..len])
}

impl Run<'_> {
    /// Computes some positions of all outputs.
    fn block(&self, positions: Range<usize>, scratch: &mut PartScratch) {
        let (level, rows) = (self.conv.level, &self.conv.rows);
        let panel = rows.panel();
        for (number, strip) in scratch.panel.chunks_exact_mut(panel.strip_len()).enumerate() {
            let first = positions.start + number * LINE;
            if first >= positions.end {
                break;
            }
            self.source.pack(level, panel, first..positions.end.min(first + LINE), strip);
        }
        let strips = Strips { panel: &scratch.panel, positions: positions.len() };
        let width = strips.count() * LINE;
        for band in 0..rows.bands() {
            let outputs = rows.outputs_of(band);
            let sums = &mut scratch.sums[..BAND * width];
            start(level, self.finish.bias, outputs.clone(), sums, width);
            rows.add_products(band, strips, sums);
            write(level, self, outputs, positions.clone(), &*sums, width);
        }
    }
}

at_level! {
    /// Starts the sums of some outputs, each `width` wide.
    fn start(bias: Option<&[f32]>, outputs: Range<usize>, sums: &mut [f32], width: usize) {
        let sums = &mut sums[..outputs.len() * width];
        let Some(bias) = bias else { return sums.fill(0.0) };
        let lines = sums.chunks_exact_mut(width).zip(&bias[outputs]);
        lines.for_each(|(line, bias)| line.fill(*bias));
    }
}

at_level! {
    /// Writes the sums of some outputs at some positions.
    fn write(run: &Run<'_>, outputs: Range<usize>, positions: Range<usize>, sums: &[f32], width: usize) {
        let pixels = run.plan.output.pixels();
        let mut position = positions.start;
        while position < positions.end {
            let (image, pixel) = (position / pixels, position % pixels);
            let len = (pixels - pixel).min(positions.end - position);
            let lane = position - positions.start;
            for (output, sums) in outputs.clone().zip(sums.chunks_exact(width)) {
                let start = (image * run.conv.outputs + output) * pixels + pixel;
                // SAFETY: each position belongs to one block, and each block to one part.
                let y = unsafe { run.y.part(start..start + len) };
                let residual = run.residual.map(|residual| &residual[start..start + len]);
                finish(&sums[lane..lane + len], residual, run.finish.activation, y);
            }
            position += len;
        }
    }
}

/// Writes sums, with what is added to them.
#[inline(always)]
fn finish(sums: &[f32], residual: Option<&[f32]>, activation: Activation, y: &mut [f32]) {
    match (residual, activation) {
        // Those that are frequent get loops of their own.
        (None, Activation::Relu) => {
            y.iter_mut().zip(sums).for_each(|(y, sum)| *y = Activation::Relu.of(*sum));
        }
        (None, _) => {
            y.iter_mut().zip(sums).for_each(|(y, sum)| *y = *sum);
            activation.apply(y);
        }
        (Some(residual), _) => {
            let terms = sums.iter().zip(residual);
            y.iter_mut().zip(terms).for_each(|(y, (sum, added))| *y = sum + added);
            activation.apply(y);
        }
    }
}
