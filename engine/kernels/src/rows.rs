//! Format for many positions: large batches, and pixels of a convolution.
//!
//! Each weight is multiplied by a line of sixteen positions and added to the line of its output.
//!
//! Outputs are cut into bands and inputs into tiles. Within a band and a tile, outputs are sorted
//! by their number of weights, and some of nearly equal numbers form a group. Their sums do not
//! wait for each other, in one loop whose length hardly changes between groups. Shorter outputs are
//! padded with weights of the tile's line of zeros.
//!
//! A weight takes 16 bits with a codebook of up to 32 values (11 of input within the tile, 5 of
//! code), else 48. Weights are unpacked some hundred at a time, right before use.

mod encode;
mod portable;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod table;

use crate::Level;
use crate::aligned::{Floats, LINE};
use crate::panel::Panel;
use crate::weights::PALETTE;
use std::ops::Range;

/// Outputs in a band: a group indexes them with 8 bits.
pub(crate) const BAND: usize = 256;

/// Outputs in a group.
const GROUP: usize = 4;

/// Most strips in one pass over the weights.
pub(crate) const STRIPS: usize = 4;

/// Steps of a group are padded to a multiple of this. Then fewer groups differ in their number of
/// steps, which the processor predicts.
const STEPS: usize = 2;

/// Most rows whose products are looked up in a table: more would not fit the first-level cache.
const TABLE_ROWS: usize = 2;

/// Numbers in a band's sums.
pub(crate) const SUMS: usize = BAND * STRIPS * LINE;

/// Steps of a group that are unpacked at a time.
const CHUNK: usize = 128;

/// Bits of a weight's code.
const CODE_BITS: u32 = 5;

/// Bits of a slot that hold its input.
const INPUT_MASK: usize = 0xffff << CODE_BITS & 0xffff;

/// Most inputs in a tile: 16 bits less those of the code, less one for the line of zeros.
const TILE_MAX: usize = (1 << (16 - CODE_BITS)) - 1;

/// A sparse matrix for many positions.
#[derive(Debug)]
pub(crate) struct Rows {
    level: Level,
    outputs: usize,
    /// Layout of inputs: those of one kernel row for a convolution, else all.
    panel: Panel,
    kernel_rows: usize,
    /// Starts of the groups and weights of each band's tiles, band by band; then the ends.
    starts: Vec<Start>,
    groups: Vec<Group>,
    /// Weights, [`GROUP`] in a step: input within the tile, and code. A line of idle ones follows
    /// the last, so that whole lines can be read.
    slots: Vec<u16>,
    values: RowValues,
}

/// Kind of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Positions {
    /// Rows of a batch: often sixteen or less.
    Batch,
    /// Pixels: always many. Inputs are those of each of the kernel rows.
    Pixels { kernel_rows: usize },
}

#[derive(Debug, Clone, Copy)]
struct Start {
    group: u32,
    step: u32,
}

/// Outputs with interleaved weights: each step has one weight of each.
#[derive(Debug, Clone, Copy)]
struct Group {
    steps: u16,
    /// Indices of the outputs in the band.
    outputs: [u8; GROUP],
}

/// Values of the weights.
#[derive(Debug)]
enum RowValues {
    /// Values by code.
    Coded([f32; PALETTE]),
    /// One value for each slot; all codes are zero.
    Plain(Vec<f32>),
}

/// Inputs of some positions, for one pass over a band.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strips<'a> {
    /// Lines of all strips.
    pub(crate) lines: &'a [f32],
    /// Start of each strip's lines.
    pub(crate) starts: &'a [usize],
    /// Distance from the lines of one kernel row to those of the next.
    pub(crate) step: usize,
    /// Number of valid positions in all strips; others are ignored.
    pub(crate) positions: usize,
}

/// View of one tile of a band for a kernel.
struct Pass<'a> {
    weights: Weights<'a>,
    /// Lines from the tile of a strip that starts at 0 on.
    lines: &'a [f32],
    starts: &'a [usize],
    positions: usize,
}

/// Weights of a tile of a band.
#[derive(Clone, Copy)]
struct Weights<'a> {
    groups: &'a [Group],
    /// Slots, with one more line behind the last.
    slots: &'a [u16],
    values: ViewValues<'a>,
}

/// Values of a view's weights.
#[derive(Clone, Copy)]
enum ViewValues<'a> {
    Coded(&'a [f32; PALETTE]),
    Plain(&'a [f32]),
}

impl Weights<'_> {
    /// Input within the tile, and value, of a weight.
    #[inline(always)]
    fn weight(&self, slot: usize) -> (usize, f32) {
        let packed = usize::from(self.slots[slot]);
        let value = match self.values {
            ViewValues::Coded(codebook) => codebook[packed % PALETTE],
            ViewValues::Plain(values) => values[slot],
        };
        (packed >> CODE_BITS, value)
    }
}

impl Rows {
    /// Layout of the inputs.
    pub(crate) fn panel(&self) -> Panel {
        self.panel
    }

    /// Number of tiles of all inputs.
    fn tiles(&self) -> usize {
        self.kernel_rows * self.panel.tiles()
    }

    /// Number of strips in one pass: more share the look-up of a weight, fewer leave room in the
    /// first-level cache.
    pub(crate) fn strips(&self) -> usize {
        (2 * encode::TILE / self.panel.tile).clamp(2, STRIPS)
    }

    pub(crate) fn bands(&self) -> usize {
        self.outputs.div_ceil(BAND)
    }

    /// Outputs of a band.
    pub(crate) fn outputs_of(&self, band: usize) -> Range<usize> {
        band * BAND..self.outputs.min((band + 1) * BAND)
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let values = match &self.values {
            RowValues::Coded(_) => 0,
            RowValues::Plain(values) => size_of_val(&values[..]),
        };
        size_of_val(&self.groups[..])
            + size_of_val(&self.starts[..])
            + size_of_val(&self.slots[..])
            + values
    }

    /// Adds a band's products to its sums, which have a line for each output and strip.
    ///
    /// # Panics
    /// When there are more than [`STRIPS`] strips, or a slice is too short.
    pub(crate) fn add_products(&self, band: usize, strips: Strips<'_>, sums: &mut [f32]) {
        let count = strips.starts.len();
        assert!((1..=STRIPS).contains(&count), "{count} strips");
        assert!(sums.len() >= BAND * count * LINE, "the sums are too short");
        let end = (self.kernel_rows - 1) * strips.step + self.panel.strip_len();
        let fits = |start: &usize| start + end <= strips.lines.len();
        assert!(strips.starts.iter().all(fits), "a strip is too short");
        for tile in 0..self.tiles() {
            let pass = self.pass(band, tile, strips);
            match self.level {
                // SAFETY: a format has a level of the processor. Groups and weights are those of
                // this tile, so their indices lie in the strips and sums, whose lengths are checked
                // above.
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 | Level::Vnni => unsafe {
                    match count {
                        1 => avx512::add::<1, 2>(&pass, sums),
                        2 => avx512::add::<2, 1>(&pass, sums),
                        3 => avx512::add::<3, 1>(&pass, sums),
                        _ => avx512::add::<STRIPS, 1>(&pass, sums),
                    }
                },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => unsafe { avx2::add(&pass, sums) },
                _ => portable::add(&pass, sums),
            }
        }
    }

    /// Most rows whose products are looked up in tables; zero if the level has none.
    pub(crate) fn table_rows(&self) -> usize {
        match self.level {
            Level::Avx2 => TABLE_ROWS,
            _ => 0,
        }
    }

    /// Adds the products of a tile and a few rows to the sums of all bands' outputs, which have
    /// a number for each row.
    ///
    /// # Panics
    /// When there are more than [`table_rows`](Self::table_rows), or the sums are too short.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn add_by_table(
        &self,
        tile: usize,
        x: &[f32],
        table: &mut Floats,
        sums: &mut [f32],
    ) {
        let (inputs, rows) = (self.panel.inputs_of(tile), x.len() / self.panel.inputs);
        assert!((1..=self.table_rows()).contains(&rows), "{rows} rows");
        let band_len = BAND * rows;
        assert!(sums.len() >= self.bands() * band_len, "the sums are too short");
        let tile_rows = table::TileRows {
            x: &x[inputs.start..],
            stride: self.panel.inputs,
            rows,
            inputs: inputs.len(),
            tile: self.panel.tile,
        };
        for (band, sums) in sums.chunks_exact_mut(band_len).enumerate().take(self.bands()) {
            let weights = self.weights(band, tile);
            // SAFETY: the level is AVX2. The table is that of this tile, and slots have inputs of
            // the tile or the zero behind it.
            unsafe {
                if band == 0 {
                    table::fill(table, weights.values, tile_rows);
                }
                table::add(weights, self.after(band, tile), table, rows, sums);
            }
        }
    }

    /// Slots that are needed after those of a tile of a band: of the next band, or of the next tile.
    #[cfg(target_arch = "x86_64")]
    fn after(&self, band: usize, tile: usize) -> &[u16] {
        let (next, tile) = match band + 1 < self.bands() {
            true => (band + 1, tile),
            false => (0, tile + 1),
        };
        self.weights(next, tile.min(self.tiles() - 1)).slots
    }

    /// Never called: no other processor has tables.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn add_by_table(&self, _: usize, _: &[f32], _: &mut Floats, _: &mut [f32]) {}

    fn pass<'a>(&'a self, band: usize, tile: usize, strips: Strips<'a>) -> Pass<'a> {
        let (row, place) = (tile / self.panel.tiles(), tile % self.panel.tiles());
        Pass {
            weights: self.weights(band, tile),
            lines: &strips.lines[row * strips.step + place * self.panel.tile_len()..],
            starts: strips.starts,
            positions: strips.positions,
        }
    }

    fn weights(&self, band: usize, tile: usize) -> Weights<'_> {
        let index = band * self.tiles() + tile;
        let (start, end) = (self.starts[index], self.starts[index + 1]);
        let slots = start.step as usize * GROUP..end.step as usize * GROUP;
        Weights {
            groups: &self.groups[start.group as usize..end.group as usize],
            values: match &self.values {
                RowValues::Coded(codebook) => ViewValues::Coded(codebook),
                RowValues::Plain(values) => ViewValues::Plain(&values[slots.clone()]),
            },
            slots: &self.slots[slots.start..slots.end + LINE],
        }
    }
}

/// Distance of prefetches in bytes of weights.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4096;

/// Prefetches weights some distance ahead: a matrix is larger than the near caches.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch<T>(weights: &[T]) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    for line in weights.chunks(64 / size_of::<T>()) {
        // SAFETY: it is a hint only: what lies there is not read.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().wrapping_byte_add(AHEAD).cast()) };
    }
}
