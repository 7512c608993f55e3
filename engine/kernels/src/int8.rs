//! Products of rows of floats, which become bytes row by row, and a matrix of bytes.
//!
//! Each row has a scale and a center of its own, so what one row holds never changes another's
//! product. Sums are exact 32-bit integers at every level: neither form adds two products in 16
//! bits, as the instruction `vpmaddubsw` does, which saturates.

mod codes;
mod portable;
mod weights;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod vnni;

use crate::aligned::LINE;
use crate::error::{Count, check_length};
use crate::parallel::{Shared, share};
use crate::{Finish, KernelError, Level, Parallel, Scratch};
use codes::{Range, RowBytes};
use weights::Weights;

/// Rows of a tile: with the panels of a step, so many sums as registers can hold.
const ROWS: usize = 6;

/// Panels of a step. A panel is a line of outputs.
const PANELS: usize = 4;

/// Rows that one part of a run works through.
const PART_ROWS: usize = 240;

/// Products of a part that are worth being handed to another thread.
const PART_PRODUCTS: usize = 1 << 18;

/// Inputs that a thread makes bytes of at once.
const PART_INPUTS: usize = 1 << 15;

/// Weights of an output at most: more could be too much for a sum.
const INPUTS_MAX: usize = 1 << 15;

/// Outputs at most.
const OUTPUTS_MAX: usize = 1 << 24;

/// A matrix of signed bytes with a scale for each output.
#[derive(Debug)]
pub struct Int8Matrix {
    outputs: usize,
    inputs: usize,
    level: Level,
    weights: Weights,
}

impl Int8Matrix {
    /// A matrix for this processor: `codes` are [inputs, outputs], and a weight is its code times
    /// its output's scale.
    ///
    /// # Errors
    /// When a length does not fit, or a size is beyond its limit.
    pub fn new(
        codes: &[i8],
        inputs: usize,
        outputs: usize,
        scales: &[f32],
    ) -> Result<Self, KernelError> {
        Self::at_level(codes, inputs, outputs, scales, Level::best())
    }

    /// A matrix for a set of instructions, or the best there is where the processor lacks it.
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
        for (what, value, max) in
            [("the number of inputs", inputs, INPUTS_MAX), ("of outputs", outputs, OUTPUTS_MAX)]
        {
            if !(1..=max).contains(&value) {
                return Err(KernelError::Size { what, value, max });
            }
        }
        check_length("the codes", codes.len(), inputs * outputs)?;
        check_length("the scales", scales.len(), outputs)?;
        let level = level.or_best();
        let weights = Weights::of(codes, outputs, scales, level);
        Ok(Self { outputs, inputs, level, weights })
    }

    /// The numbers of a row of a product.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The numbers of a row of what is multiplied.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        self.weights.bytes()
    }

    /// Multiplies the rows of `x` ([batch, inputs]) by the matrix into `y` ([batch, outputs]). A
    /// row with an infinity or what is no number gives a row of what is no number.
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
        let rows = x.len() / self.inputs;
        if rows * self.inputs != x.len() {
            let (what, expected) = ("what is multiplied", Count::MultipleOf(self.inputs));
            return Err(KernelError::Length { what, actual: x.len(), expected });
        }
        check_length("the product", y.len(), rows * self.outputs)?;
        if let Some(bias) = finish.bias {
            check_length("the bias", bias.len(), self.outputs)?;
        }
        let stride = RowBytes::stride(self.inputs, self.level);
        let Scratch { codes, ranges, .. } = scratch;
        codes.grow(rows * stride);
        ranges.grow(rows * Range::NUMBERS);
        self.make_bytes(x, [codes, ranges], stride, threads)?;
        let run = Run {
            matrix: self,
            finish,
            codes: &codes[..rows * stride],
            stride,
            ranges: &ranges[..rows * Range::NUMBERS],
            rows,
            y: Shared::new(y),
        };
        run.all(threads)
    }

    /// Makes bytes of all rows.
    fn make_bytes(
        &self,
        x: &[f32],
        [codes, ranges]: [&mut [f32]; 2],
        stride: usize,
        threads: &impl Parallel,
    ) -> Result<(), KernelError> {
        let rows = x.len() / self.inputs;
        let (codes, ranges) = (Shared::new(codes), Shared::new(ranges));
        let parts = x.len().div_ceil(PART_INPUTS).min(rows);
        threads.run(parts, &|part| {
            for row in share(rows, parts, part) {
                let places = row * Range::NUMBERS..(row + 1) * Range::NUMBERS;
                // SAFETY: each row is one part's alone, and so are its range and its bytes.
                let (range, bytes) =
                    unsafe { (ranges.part(places), codes.part(row * stride..(row + 1) * stride)) };
                let x = &x[row * self.inputs..(row + 1) * self.inputs];
                RowBytes(bytes).fill(x, range, self.level);
            }
        })
    }
}

/// A product under way.
struct Run<'a> {
    matrix: &'a Int8Matrix,
    finish: Finish<'a>,
    /// The bytes of all rows, each `stride` floats after the one before.
    codes: &'a [f32],
    stride: usize,
    ranges: &'a [f32],
    rows: usize,
    y: Shared<'a>,
}

/// Rows and panels whose sums are held in registers.
#[derive(Clone, Copy)]
struct Tile {
    row: usize,
    rows: usize,
    panel: usize,
    panels: usize,
}

impl Run<'_> {
    /// Steps of panels, each through some of the rows, on all threads.
    fn all(&self, threads: &impl Parallel) -> Result<(), KernelError> {
        let panels = self.matrix.weights.panels();
        let steps = panels.div_ceil(PANELS);
        let spans = self.rows.div_ceil(PART_ROWS);
        let products = self.rows * self.matrix.inputs * self.matrix.outputs;
        let parts = (steps * spans).min(products.div_ceil(PART_PRODUCTS));
        threads.run(parts, &|part| {
            for place in share(steps * spans, parts, part) {
                let (step, span) = (place / spans, place % spans);
                let (panel, row) = (step * PANELS, span * PART_ROWS);
                let panels = PANELS.min(panels - panel);
                let rows = PART_ROWS.min(self.rows - row);
                let tiles = rows.div_ceil(ROWS);
                for tile in 0..tiles {
                    let own = share(rows, tiles, tile);
                    let (row, rows) = (row + own.start, own.len());
                    self.tile(Tile { row, rows, panel, panels });
                }
            }
        })
    }

    fn tile(&self, tile: Tile) {
        match self.matrix.level {
            // SAFETY: a matrix has a level that the processor has. The tile's rows and panels are
            // of this run, and no other part has them.
            #[cfg(target_arch = "x86_64")]
            Level::Vnni => unsafe { vnni::tile(self, tile) },
            // SAFETY: as above; later levels have AVX2 as well.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 => unsafe { avx2::tile(self, tile) },
            // SAFETY: as above.
            _ => unsafe { portable::tile(self, tile) },
        }
    }

    /// The range of a row.
    fn range(&self, row: usize) -> Range {
        Range::read(&self.ranges[row * Range::NUMBERS..])
    }

    /// Makes the product of a row and a panel from its sums, in floats.
    ///
    /// # Safety
    /// No other part has these numbers of the product.
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
