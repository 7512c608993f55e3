//! The format for many positions at once: batches, and pixels of a convolution.
//!
//! For each weight one number is multiplied by a line of sixteen positions and added to the line of
//! its output. Outputs are cut into bands and inputs into tiles. Within a band and a tile, outputs
//! are sorted by how many weights they have there, and eight of nearly equal numbers make a group:
//! eight sums that do not wait for each other, in one loop of a length that hardly changes from one
//! group to the next. Shorter ones are filled up with weights of the tile's line of zeros.
//!
//! A weight takes 16 bits with a codebook of up to 32 values (11 bits of input within the tile,
//! 5 bits of code), else 48. They are unpacked, some hundred at a time, right before their use.

mod encode;
mod portable;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::Level;
use crate::aligned::LINE;
use crate::panel::Panel;
use crate::weights::PALETTE;
use std::ops::Range;

/// The outputs of a band: a group names them with 8 bits.
pub(crate) const BAND: usize = 256;

/// The outputs of a group.
const GROUP: usize = 4;

/// The strips that one pass over the weights takes at most.
pub(crate) const STRIPS: usize = 4;

/// The numbers of a band's sums.
pub(crate) const SUMS: usize = BAND * STRIPS * LINE;

/// Steps of a group that are unpacked at a time.
const CHUNK: usize = 128;

/// Bits of a weight's code.
const CODE_BITS: u32 = 5;

/// The bits of a slot that are its input.
const INPUT_MASK: usize = 0xffff << CODE_BITS & 0xffff;

/// The most inputs of a tile: the rest of 16 bits, less the one for the line of zeros.
const TILE_MAX: usize = (1 << (16 - CODE_BITS)) - 1;

/// A sparse matrix for many positions.
#[derive(Debug)]
pub(crate) struct Rows {
    level: Level,
    outputs: usize,
    /// Of one row of the kernel, if it is a convolution's; else of all inputs.
    panel: Panel,
    kernel_rows: usize,
    /// Where the groups and the weights of a tile of a band start, band by band; and the ends.
    starts: Vec<Start>,
    groups: Vec<Group>,
    /// The weights, [`GROUP`] a step: input within the tile, and code. A line of idle ones lies
    /// behind the last, so that whole lines can be looked at.
    slots: Vec<u16>,
    values: RowValues,
}

/// What positions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Positions {
    /// Rows of a batch: often sixteen or less.
    Batch,
    /// Pixels: always many. The inputs are those of each of so many rows of the kernel.
    Pixels { kernel_rows: usize },
}

#[derive(Debug, Clone, Copy)]
struct Start {
    group: u32,
    step: u32,
}

/// Outputs whose weights are interleaved: in each step one weight of each.
#[derive(Debug, Clone, Copy)]
struct Group {
    steps: u16,
    /// Their places in the band.
    outputs: [u8; GROUP],
}

/// The values of the weights.
#[derive(Debug)]
enum RowValues {
    /// By code.
    Coded([f32; PALETTE]),
    /// One a slot; all codes are zero.
    Plain(Vec<f32>),
}

/// The inputs of some positions, for one pass over a band.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strips<'a> {
    /// The lines of all strips.
    pub(crate) lines: &'a [f32],
    /// Where those of each strip start.
    pub(crate) starts: &'a [usize],
    /// From those of one row of the kernel to those of the next.
    pub(crate) step: usize,
    /// How many positions count, of all strips; those beyond them are not looked at.
    pub(crate) positions: usize,
}

/// What a kernel works through: one tile of a band.
struct Pass<'a> {
    groups: &'a [Group],
    /// With a line more behind the last.
    slots: &'a [u16],
    values: ViewValues<'a>,
    /// All lines, from the tile of a strip that starts at 0 on.
    lines: &'a [f32],
    starts: &'a [usize],
    positions: usize,
}

/// The values of a pass's weights.
#[derive(Clone, Copy)]
enum ViewValues<'a> {
    Coded(&'a [f32; PALETTE]),
    Plain(&'a [f32]),
}

impl Pass<'_> {
    /// The input within the tile and the value of a weight.
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
    /// Where the lines of its inputs must lie.
    pub(crate) fn panel(&self) -> Panel {
        self.panel
    }

    /// The tiles of all inputs.
    fn tiles(&self) -> usize {
        self.kernel_rows * self.panel.tiles()
    }

    /// The strips that one pass over the weights should have: more of them share the look-up of a
    /// weight, fewer leave room in the first cache.
    pub(crate) fn strips(&self) -> usize {
        (2 * encode::TILE / self.panel.tile).clamp(2, STRIPS)
    }

    pub(crate) fn bands(&self) -> usize {
        self.outputs.div_ceil(BAND)
    }

    /// The outputs of a band.
    pub(crate) fn outputs_of(&self, band: usize) -> Range<usize> {
        band * BAND..self.outputs.min((band + 1) * BAND)
    }

    /// What it takes in memory.
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

    /// Adds a band's products to its sums: for each output of the band, a line for
    /// each strip.
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
                // SAFETY: a format has a level that the processor has. Groups and weights are
                // those of this tile, so what they point at lies in the strips and sums, whose
                // lengths are checked above.
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

    fn pass<'a>(&'a self, band: usize, tile: usize, strips: Strips<'a>) -> Pass<'a> {
        let index = band * self.tiles() + tile;
        let (row, tile) = (tile / self.panel.tiles(), tile % self.panel.tiles());
        let (start, end) = (self.starts[index], self.starts[index + 1]);
        let slots = start.step as usize * GROUP..end.step as usize * GROUP;
        Pass {
            groups: &self.groups[start.group as usize..end.group as usize],
            values: match &self.values {
                RowValues::Coded(codebook) => ViewValues::Coded(codebook),
                RowValues::Plain(values) => ViewValues::Plain(&values[slots.clone()]),
            },
            slots: &self.slots[slots.start..slots.end + LINE],
            lines: &strips.lines[row * strips.step + tile * self.panel.tile_len()..],
            starts: strips.starts,
            positions: strips.positions,
        }
    }
}
