//! Convolutions with sparse kernels.
//!
//! A convolution is a product whose matrix has a row for each output channel and a column for each
//! weight of the kernel. Pixels of the output are the positions of [`Rows`]. See [`plan`] for the
//! layout of their inputs.

mod finish;
mod pack;
mod plan;
mod shape;

pub use shape::{Convolution, Images};

use crate::error::{check_bias, check_length};
use crate::panel::Segment;
use crate::parallel::{SharedSlice, split_range};
use crate::rows::{BAND, Positions, Rows, STRIPS, SUMS, Strips};
use crate::scratch::{PartScratch, Parts};
use crate::{Finish, KernelError, Level, Parallel, Scratch, SparseWeights};
use finish::{Band, start, write};
use pack::Source;
use plan::{Chunk, Plan, StripPosition};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Most parts of a run.
const PARTS_MAX: usize = 16;

/// A convolution with sparse kernels.
#[derive(Debug)]
pub struct SparseConv {
    convolution: Convolution,
    outputs: usize,
    count: usize,
    level: Level,
    rows: Rows,
    /// Plan of the last run: most runs are of one size.
    plan: Mutex<Option<Arc<Plan>>>,
}

/// Inputs of a convolution, laid out as for ONNX's `Conv`.
#[derive(Debug, Clone, Copy)]
pub struct ConvInput<'a> {
    /// Images: [count, channels, height, width].
    pub x: &'a [f32],
    /// Size of the images.
    pub images: Images,
    /// Numbers added to the output before the activation: [count, outputs, height, width] of the
    /// output.
    pub residual: Option<&'a [f32]>,
}

/// State of one run, shared by its parts.
struct Job<'a> {
    conv: &'a SparseConv,
    plan: &'a Plan,
    x: &'a [f32],
    finish: Finish<'a>,
    residual: Option<&'a [f32]>,
    y: SharedSlice<'a>,
}

impl SparseConv {
    /// Makes a convolution for this processor.
    ///
    /// The matrix has a row for each output channel, with the kernel's weights in the order of
    /// ONNX's `Conv`: channel of the group, row, column.
    ///
    /// # Errors
    /// When the weights do not fit the convolution.
    pub fn new(weights: &SparseWeights, convolution: Convolution) -> Result<Self, KernelError> {
        Self::at_level(weights, convolution, Level::best())
    }

    /// Makes a convolution for an instruction level, or the best level if the processor lacks it.
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
        let Convolution { channels, kernel: [kernel_rows, columns], groups, .. } = convolution;
        let (channels_of_group, outputs_of_group) = (channels / groups, outputs / groups);
        // Rows of the kernel come first, and each group has columns of its own.
        let remapped = weights.remapped(kernel_rows * channels * columns, |output, weight| {
            let (channel, tap) = (weight / convolution.taps(), weight % convolution.taps());
            let channel = output / outputs_of_group * channels_of_group + channel;
            (tap / columns * channels + channel) * columns + tap % columns
        });
        let rows = Rows::new(&remapped, Positions::Pixels { kernel_rows }, level);
        let (count, plan) = (weights.count(), Mutex::default());
        Ok(Self { convolution, outputs, count, level, rows, plan })
    }

    /// Parameters of the convolution.
    pub fn convolution(&self) -> &Convolution {
        &self.convolution
    }

    /// Number of output channels.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of non-zero weights.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Memory in bytes.
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
        let Scratch { inputs, parts, .. } = scratch;
        let job = Job {
            conv: self,
            plan: &plan,
            x: input.x,
            finish,
            residual: input.residual,
            y: SharedSlice::new(y),
        };
        for chunk in plan.chunks() {
            inputs.grow(plan.chunk_len(&chunk));
            job.pack(&chunk, inputs, parts, threads)?;
            job.multiply(&chunk, inputs, parts, threads)?;
        }
        Ok(())
    }

    /// Plan for images of this size.
    fn plan(&self, images: Images) -> Result<Arc<Plan>, KernelError> {
        let lock = || self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lock().as_ref().filter(|plan| plan.images == images).map(Arc::clone);
        if let Some(plan) = last {
            return Ok(plan);
        }
        let plan = Arc::new(Plan::new(self.convolution, images, self.rows.panel())?);
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
        check_bias(finish.bias, self.outputs)?;
        if let Some(residual) = input.residual {
            check_length("the residual", residual.len(), y_len)?;
        }
        Ok(())
    }
}

impl Job<'_> {
    /// Lays out the lines of a chunk.
    fn pack(
        &self,
        chunk: &Chunk,
        lines: &mut [f32],
        parts: &Parts,
        threads: &dyn Parallel,
    ) -> Result<(), KernelError> {
        let plan = self.plan;
        let lines = SharedSlice::new(lines);
        let rows = chunk.images.len() * plan.starts(chunk.groups.len());
        let count = rows.min(PARTS_MAX);
        threads.run(count, &|part| {
            parts.with(|scratch| {
                for row in split_range(rows, count, part) {
                    let range = row * plan.row_len()..(row + 1) * plan.row_len();
                    // SAFETY: each row is in one part.
                    self.pack_row(chunk, row, unsafe { lines.part(range) }, &mut scratch.segments);
                }
            });
        })
    }

    /// Lays out the lines of one row of the input, of one of the chunk's images.
    fn pack_row(&self, chunk: &Chunk, row: usize, lines: &mut [f32], segments: &mut Vec<Segment>) {
        let plan = self.plan;
        let starts = plan.starts(chunk.groups.len());
        let (image, row) = (chunk.images.start + row / starts, row % starts);
        if !plan.is_used(chunk, row) {
            return;
        }
        let channel_len = plan.input.pixels();
        let image_len = plan.convolution.channels * channel_len;
        for (index, strip) in lines.chunks_exact_mut(plan.panel.strip_len()).enumerate() {
            plan.segments(chunk, row, index, segments);
            let source = Source {
                image: &self.x[image * image_len..(image + 1) * image_len],
                channel_len,
                stride: plan.convolution.strides[1],
                segments,
                segments_of_line: plan.rows(),
            };
            source.pack(self.conv.level, plan.panel, strip);
        }
    }

    /// Multiplies the lines of a chunk by the weights.
    fn multiply(
        &self,
        chunk: &Chunk,
        lines: &[f32],
        parts: &Parts,
        threads: &dyn Parallel,
    ) -> Result<(), KernelError> {
        let strips = self.plan.chunk_strips(chunk);
        let blocks = strips.div_ceil(self.conv.rows.strips());
        let count = blocks.min(PARTS_MAX);
        threads.run(count, &|part| {
            parts.with(|scratch| {
                scratch.sums.grow(SUMS);
                for block in split_range(blocks, count, part) {
                    // Blocks are equal: one of few strips is hardly faster than a full one.
                    self.block(chunk, lines, split_range(strips, blocks, block), scratch);
                }
            });
        })
    }

    /// Computes some strips of all outputs.
    fn block(&self, chunk: &Chunk, lines: &[f32], strips: Range<usize>, scratch: &mut PartScratch) {
        let (level, rows) = (self.conv.level, &self.conv.rows);
        let (mut places, mut starts) = ([StripPosition::default(); STRIPS], [0; STRIPS]);
        let count = strips.len();
        for (index, strip) in strips.enumerate() {
            (places[index], starts[index]) = self.plan.strip(chunk, strip);
        }
        let (step, positions) = (self.plan.step(), count * crate::aligned::LINE);
        let strips = Strips { lines, starts: &starts[..count], step, positions };
        for band in 0..rows.bands() {
            let outputs = rows.outputs_of(band);
            let sums = &mut scratch.sums[..BAND * positions];
            start(
                level,
                self.finish.bias.map(|bias| &bias[outputs.clone()]),
                outputs.len(),
                sums,
                positions,
            );
            rows.add_products(band, strips, sums);
            let band = Band {
                sums,
                places: &places[..count],
                outputs,
                of_image: self.conv.outputs,
                pixels: self.plan.output.pixels(),
                residual: self.residual,
                activation: self.finish.activation,
            };
            // SAFETY: each strip is in one block, and each block in one part.
            unsafe { write(level, &band, &self.y) };
        }
    }
}
