//! Products of float rows, quantized to bytes row by row, and a matrix of bytes.
//!
//! Each row has its own scale and center, so rows never change each other's product. Sums are exact
//! 32-bit integers at every level: no kernel adds two products in 16 bits, as the instruction
//! `vpmaddubsw` does, which saturates.

mod quantize;
mod portable;
mod weights;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod vnni;

use crate::aligned::LINE;
use crate::error::{check_length, check_product, check_size};
use crate::parallel::{SharedSlice, split_range};
use crate::{Finish, KernelError, Level, Parallel, Scratch};
use quantize::{QuantizedRow, Range};
use weights::Weights;

/// Rows in a tile; with the panels of a step, their sums fill the registers.
const ROWS: usize = 6;

/// Panels in a step. A panel is a line of outputs.
const PANELS: usize = 4;

/// Rows in one part of a run.
const PART_ROWS: usize = 240;

/// Fewest products that are worth another thread.
const PART_PRODUCTS: usize = 1 << 18;

/// Inputs that a thread quantizes at once.
const PART_INPUTS: usize = 1 << 15;

/// Most inputs: the sum of more products could overflow.
const INPUTS_MAX: usize = 1 << 15;

/// Most outputs.
const OUTPUTS_MAX: usize = 1 << 24;

/// A matrix of signed bytes, with a scale for each output.
#[derive(Debug)]
pub struct Int8Matrix {
    outputs: usize,
    inputs: usize,
    level: Level,
    weights: Weights,
}

impl Int8Matrix {
    /// Makes a matrix for this processor. `codes` are [inputs, outputs]; a weight is its code times
    /// its output's scale.
    ///
    /// # Errors
    /// When a length does not fit, or a size is out of its range.
    pub fn new(
        codes: &[i8],
        inputs: usize,
        outputs: usize,
        scales: &[f32],
    ) -> Result<Self, KernelError> {
        Self::at_level(codes, inputs, outputs, scales, Level::best())
    }

    /// Makes a matrix for an instruction level, or the best level if the processor lacks it.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn at_level(
        codes: &[i8],
        inputs: usize,
        outputs: usize,
        scales: &[f32],
        level: Level,
    ) -> Result<Self, KernelError> {
        check_size("the number of inputs", inputs, INPUTS_MAX)?;
        check_size("the number of outputs", outputs, OUTPUTS_MAX)?;
        check_length("the codes", codes.len(), inputs * outputs)?;
        check_length("the scales", scales.len(), outputs)?;
        let level = level.or_best();
        let weights = Weights::of(codes, outputs, scales, level);
        Ok(Self { outputs, inputs, level, weights })
    }

    /// Numbers in a row of the product.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Numbers in an input row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        self.weights.bytes()
    }

    /// Multiplies the rows of `x` ([batch, inputs]) by the matrix into `y` ([batch, outputs]).
    ///
    /// A row with an infinity or not-a-number results in a row of not-a-numbers.
    ///
    /// # Errors
    /// When a length does not fit.
    pub fn multiply(
        &self,
        x: &[f32],
        y: &mut [f32],
        finish: Finish<'_>,
        scratch: &mut Scratch,
        threads: &impl Parallel,
    ) -> Result<(), KernelError> {
        let rows = check_product((x, self.inputs), (y, self.outputs), finish.bias)?;
        let stride = QuantizedRow::stride(self.inputs, self.level);
        let Scratch { codes, ranges, .. } = scratch;
        codes.grow(rows * stride);
        ranges.grow(rows * Range::NUMBERS);
        self.quantize_rows(x, [codes, ranges], stride, threads)?;
        let job = Job {
            matrix: self,
            finish,
            codes: &codes[..rows * stride],
            stride,
            ranges: &ranges[..rows * Range::NUMBERS],
            rows,
            y: SharedSlice::new(y),
        };
        job.run(threads)
    }

    /// Quantizes all rows.
    fn quantize_rows(
        &self,
        x: &[f32],
        [codes, ranges]: [&mut [f32]; 2],
        stride: usize,
        threads: &impl Parallel,
    ) -> Result<(), KernelError> {
        let rows = x.len() / self.inputs;
        let (codes, ranges) = (SharedSlice::new(codes), SharedSlice::new(ranges));
        let parts = x.len().div_ceil(PART_INPUTS).min(rows);
        threads.run(parts, &|part| {
            for row in split_range(rows, parts, part) {
                let places = row * Range::NUMBERS..(row + 1) * Range::NUMBERS;
                // SAFETY: each row belongs to one part, and so do its range and its bytes.
                let (range, bytes) =
                    unsafe { (ranges.part(places), codes.part(row * stride..(row + 1) * stride)) };
                let x = &x[row * self.inputs..(row + 1) * self.inputs];
                QuantizedRow(bytes).fill(x, range, self.level);
            }
        })
    }
}

/// State of one run, shared by its parts.
struct Job<'a> {
    matrix: &'a Int8Matrix,
    finish: Finish<'a>,
    /// Quantized rows, each `stride` floats after the one before.
    codes: &'a [f32],
    stride: usize,
    ranges: &'a [f32],
    rows: usize,
    y: SharedSlice<'a>,
}

/// Rows and panels whose sums are kept in registers.
#[derive(Clone, Copy)]
struct Tile {
    row: usize,
    rows: usize,
    panel: usize,
    panels: usize,
}

impl Job<'_> {
    /// Runs all steps of panels, each over some of the rows, on all threads.
    fn run(&self, threads: &impl Parallel) -> Result<(), KernelError> {
        let panels = self.matrix.weights.panels();
        let steps = panels.div_ceil(PANELS);
        let spans = self.rows.div_ceil(PART_ROWS);
        let products = self.rows * self.matrix.inputs * self.matrix.outputs;
        let parts = (steps * spans).min(products.div_ceil(PART_PRODUCTS));
        threads.run(parts, &|part| {
            for place in split_range(steps * spans, parts, part) {
                let (step, span) = (place / spans, place % spans);
                let (panel, row) = (step * PANELS, span * PART_ROWS);
                let panels = PANELS.min(panels - panel);
                let rows = PART_ROWS.min(self.rows - row);
                let tiles = rows.div_ceil(ROWS);
                for tile in 0..tiles {
                    let own = split_range(rows, tiles, tile);
                    let (row, rows) = (row + own.start, own.len());
                    self.tile(Tile { row, rows, panel, panels });
                }
            }
        })
    }

    fn tile(&self, tile: Tile) {
        match self.matrix.level {
            // SAFETY: a matrix has a level of the processor. The tile's rows and panels are
            // of this run, and of no other part.
            #[cfg(target_arch = "x86_64")]
            Level::Vnni => unsafe { vnni::tile(self, tile) },
            // SAFETY: as above; later levels have AVX2 as well.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 => unsafe { avx2::tile(self, tile) },
            // SAFETY: as above.
            _ => unsafe { portable::tile(self, tile) },
        }
    }

    /// Range of a row.
    fn range(&self, row: usize) -> Range {
        Range::read(&self.ranges[row * Range::NUMBERS..])
    }

    /// Computes the product of a row and a panel from its integer sums.
    ///
    /// # Safety
    /// No other part writes these numbers of the product.
    #[inline(always)]
    unsafe fn finish(&self, row: usize, panel: usize, sums: &[i32; LINE]) {
        let Range { step, center } = self.range(row);
        let (scales, shifts) = self.matrix.weights.outputs_of(panel);
        let first = panel * LINE;
        let count = LINE.min(self.matrix.outputs - first);
        let start = row * self.matrix.outputs + first;
        // SAFETY: the caller's promise.
        let y = unsafe { self.y.part(start..start + count) };
        for (place, y) in y.iter_mut().enumerate() {
            let product = sums[place] as f32 * step * scales[place];
            *y = product + center * shifts[place];
        }
        if let Some(bias) = self.finish.bias {
            let bias = &bias[first..first + count];
            y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
        }
        self.finish.activation.apply(y);
    }
}
