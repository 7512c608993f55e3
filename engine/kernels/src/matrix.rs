//! Products of dense inputs and a sparse matrix.

use crate::aligned::LINE;
use crate::error::check_product;
use crate::lanes::Lanes;
use crate::level::at_level;
use crate::parallel::{SharedSlice, split_range};
use crate::rows::{BAND, Positions, Rows, STRIPS, SUMS, Strips};
use crate::transpose::Block;
use crate::{Activation, KernelError, Level, Parallel, Scratch, SparseWeights};

/// Smaller batches are faster in the format for small batches, if there are both.
const FEW: usize = 8;

/// Most parts of a run in the format for small batches.
const PARTS_MAX: usize = 16;

/// Fewest weights of a part that looks products up in tables.
const PART_WEIGHTS: usize = 1 << 14;

/// Formats of a matrix in memory. Each works for every batch; they differ in speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formats {
    /// Fast for batches of less than eight rows. Processors without AVX-512 use `Many` instead, and
    /// so do all if there are few outputs.
    Few,
    /// Fast for larger batches.
    Many,
    /// Both, for twice the memory.
    Both,
}

impl Formats {
    /// Chooses the formats for batches of these sizes.
    pub fn for_batches(batches: impl IntoIterator<Item = usize>) -> Self {
        let (mut few, mut many) = (false, false);
        for batch in batches {
            *(if batch < FEW { &mut few } else { &mut many }) = true;
        }
        match (few, many) {
            (true, false) => Self::Few,
            (true, true) => Self::Both,
            (false, _) => Self::Many,
        }
    }
}

/// Steps after the sums of a product.
#[derive(Debug, Clone, Copy, Default)]
pub struct Finish<'a> {
    /// Bias, one number for each output.
    pub bias: Option<&'a [f32]>,
    /// Activation after the bias.
    pub activation: Activation,
}

/// A sparse matrix in the formats that products need.
#[derive(Debug)]
pub struct SparseMatrix {
    outputs: usize,
    inputs: usize,
    count: usize,
    level: Level,
    forms: Forms,
}

#[derive(Debug)]
enum Forms {
    Few(Lanes),
    Many(Rows),
    Both(Box<(Lanes, Rows)>),
}

impl SparseMatrix {
    /// Makes a matrix in these formats, for this processor.
    pub fn new(weights: &SparseWeights, formats: Formats) -> Self {
        Self::at_level(weights, formats, Level::best())
    }

    /// Makes a matrix for an instruction level, or the best level if the processor lacks it.
    pub fn at_level(weights: &SparseWeights, formats: Formats, level: Level) -> Self {
        let level = level.or_best();
        let rows = || Rows::new(weights, Positions::Batch, level);
        Self {
            outputs: weights.outputs(),
            inputs: weights.inputs(),
            count: weights.count(),
            level,
            forms: match formats {
                Formats::Many => Forms::Many(rows()),
                _ if level < Level::Avx512 || weights.outputs() < Lanes::OUTPUTS_MIN => {
                    Forms::Many(rows())
                }
                Formats::Few => Forms::Few(Lanes::new(weights)),
                Formats::Both => Forms::Both(Box::new((Lanes::new(weights), rows()))),
            },
        }
    }

    /// Numbers in a row of the product.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Numbers in an input row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of non-zero weights.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        match &self.forms {
            Forms::Few(lanes) => lanes.bytes(),
            Forms::Many(rows) => rows.bytes(),
            Forms::Both(both) => both.0.bytes() + both.1.bytes(),
        }
    }

    /// Formats of the matrix.
    pub fn formats(&self) -> Formats {
        match self.forms {
            Forms::Few(_) => Formats::Few,
            Forms::Many(_) => Formats::Many,
            Forms::Both(_) => Formats::Both,
        }
    }

    /// Multiplies the rows of `x` ([batch, inputs]) by the matrix into `y` ([batch, outputs]).
    ///
    /// Zero weights count as absent, even if an input is infinite or not a number.
    ///
    /// # Errors
    /// When a length does not fit.
    pub fn multiply(
        &self,
        x: &[f32],
        y: &mut [f32],
        finish: Finish<'_>,
        scratch: &mut Scratch,
        threads: &dyn Parallel,
    ) -> Result<(), KernelError> {
        let batch = check_product((x, self.inputs), (y, self.outputs), finish.bias)?;
        match &self.forms {
            Forms::Few(lanes) => self.few(lanes, x, y, finish, scratch, threads),
            Forms::Many(rows) if (1..=rows.table_rows()).contains(&batch) => {
                self.by_table(rows, x, y, finish, scratch, threads)
            }
            Forms::Many(rows) => self.many(rows, x, y, finish, scratch, threads),
            Forms::Both(both) if batch < FEW => self.few(&both.0, x, y, finish, scratch, threads),
            Forms::Both(both) => self.many(&both.1, x, y, finish, scratch, threads),
        }
    }

    fn few(
        &self,
        lanes: &Lanes,
        x: &[f32],
        y: &mut [f32],
        finish: Finish<'_>,
        scratch: &mut Scratch,
        threads: &dyn Parallel,
    ) -> Result<(), KernelError> {
        let (batch, row_len) = (x.len() / self.inputs, lanes.row_len());
        scratch.inputs.grow(batch * row_len);
        let inputs = &mut scratch.inputs[..batch * row_len];
        for (row, x) in inputs.chunks_exact_mut(row_len).zip(x.chunks_exact(self.inputs)) {
            row[..self.inputs].copy_from_slice(x);
            row[self.inputs..].fill(0.0);
        }
        let (inputs, y, outputs) = (&*inputs, SharedSlice::new(y), self.outputs);
        let parts = lanes.bands().min(PARTS_MAX);
        threads.run(parts, &|part| {
            lanes.multiply(split_range(lanes.bands(), parts, part), inputs, |row, output, sum| {
                let sum = sum + finish.bias.map_or(0.0, |bias| bias[output]);
                // SAFETY: each output is in one band, and each band in one part.
                unsafe { y.write(row * outputs + output, finish.activation.of(sum)) };
            });
        })
    }

    /// Multiplies few rows by tables of products. Parts have tiles, so that each table is made
    /// once, and sums of their own.
    fn by_table(
        &self,
        rows: &Rows,
        x: &[f32],
        y: &mut [f32],
        finish: Finish<'_>,
        scratch: &mut Scratch,
        threads: &dyn Parallel,
    ) -> Result<(), KernelError> {
        let batch = x.len() / self.inputs;
        let (tiles, sums_len) = (rows.panel().tiles(), rows.bands() * BAND * batch);
        let count = tiles.min(PARTS_MAX).min((self.count / PART_WEIGHTS).max(1));
        let Scratch { inputs, parts, .. } = scratch;
        inputs.grow(count * sums_len);
        let sums = SharedSlice::new(&mut inputs[..count * sums_len]);
        threads.run(count, &|part| {
            // SAFETY: each part has sums of its own.
            let sums = unsafe { sums.part(part * sums_len..(part + 1) * sums_len) };
            sums.fill(0.0);
            parts.with(|scratch| {
                for tile in split_range(tiles, count, part) {
                    rows.add_by_table(tile, x, &mut scratch.sums, sums);
                }
            });
        })?;
        let (sums, others) = inputs[..count * sums_len].split_at_mut(sums_len);
        for other in others.chunks_exact(sums_len) {
            sums.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
        }
        for (row, y) in y.chunks_exact_mut(self.outputs).enumerate() {
            let sums = sums[row..].iter().step_by(batch);
            y.iter_mut().zip(sums).for_each(|(y, sum)| *y = *sum);
            if let Some(bias) = finish.bias {
                y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
            }
            activate(self.level, finish.activation, y);
        }
        Ok(())
    }

    fn many(
        &self,
        rows: &Rows,
        x: &[f32],
        y: &mut [f32],
        finish: Finish<'_>,
        scratch: &mut Scratch,
        threads: &dyn Parallel,
    ) -> Result<(), KernelError> {
        let (batch, panel) = (x.len() / self.inputs, rows.panel());
        let strips = batch.div_ceil(LINE);
        let Scratch { inputs, parts, .. } = scratch;
        inputs.grow(strips * panel.strip_len());
        let packed = SharedSlice::new(&mut inputs[..strips * panel.strip_len()]);
        threads.run(strips * panel.tiles(), &|part| {
            let (strip, tile) = (part / panel.tiles(), part % panel.tiles());
            let start = part * panel.tile_len();
            // SAFETY: each part has a tile of its own.
            let target = unsafe { packed.part(start..start + panel.tile_len()) };
            let x = &x[strip * LINE * self.inputs..x.len().min((strip + 1) * LINE * self.inputs)];
            panel.pack_rows(self.level, x, tile, target);
        })?;
        let (inputs, y) = (&**inputs, SharedSlice::new(y));
        let pass = rows.strips();
        threads.run(strips.div_ceil(pass) * rows.bands(), &|part| {
            let (block, band) = (part / rows.bands(), part % rows.bands());
            let first = block * pass * LINE;
            let starts: [usize; STRIPS] =
                std::array::from_fn(|strip| (block * pass + strip) * panel.strip_len());
            let positions = (batch - first).min(pass * LINE);
            let starts = &starts[..positions.div_ceil(LINE)];
            let strips = Strips { lines: inputs, starts, step: 0, positions };
            parts.with(|part| {
                part.sums.grow(SUMS);
                self.band(rows, band, strips, &mut part.sums, finish);
                // SAFETY: each part has other outputs or other rows.
                unsafe { self.write(rows, (first, band), strips, &part.sums, &y) };
            });
        })
    }

    /// Computes the sums of a band.
    fn band(
        &self,
        rows: &Rows,
        band: usize,
        strips: Strips<'_>,
        sums: &mut [f32],
        finish: Finish<'_>,
    ) {
        let width = strips.starts.len() * LINE;
        let outputs = rows.outputs_of(band);
        let sums = &mut sums[..BAND * width];
        match finish.bias {
            Some(bias) => {
                let lines = sums.chunks_exact_mut(width).zip(&bias[outputs.clone()]);
                lines.for_each(|(line, bias)| line.fill(*bias));
            }
            None => sums[..outputs.len() * width].fill(0.0),
        }
        rows.add_products(band, strips, sums);
        activate(self.level, finish.activation, &mut sums[..outputs.len() * width]);
    }

    /// Writes the sums of a band as columns of rows from `first` on.
    ///
    /// # Safety
    /// No other thread writes these numbers.
    unsafe fn write(
        &self,
        rows: &Rows,
        (first, band): (usize, usize),
        strips: Strips<'_>,
        sums: &[f32],
        y: &SharedSlice<'_>,
    ) {
        let width = strips.starts.len() * LINE;
        let outputs = rows.outputs_of(band);
        for strip in 0..strips.starts.len() {
            let positions = LINE.min(strips.positions - strip * LINE);
            for output in outputs.clone().step_by(LINE) {
                let high = LINE.min(outputs.end - output);
                let start = (output - outputs.start) * width + strip * LINE;
                let from = Block { start, stride: width, rows: high, columns: positions };
                let start = (first + strip * LINE) * self.outputs + output;
                let to = Block { start, stride: self.outputs, rows: positions, columns: high };
                // SAFETY: as the caller says.
                unsafe { y.transpose(self.level, sums, from, to) };
            }
        }
    }
}

at_level! {
    /// Applies the activation to each value.
    pub(crate) fn activate(activation: Activation, values: &mut [f32]) {
        activation.apply(values);
    }
}
