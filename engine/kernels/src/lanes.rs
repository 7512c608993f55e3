//! Format for small batches: outputs side by side.
//!
//! Sixteen outputs are the lanes of a register, and a step multiplies one weight of each. Memory
//! look-ups would be slow, so a step reads a *window* of inputs only, which fits two registers. A
//! lane selects its input with 5 bits, and its value from a codebook in two more registers with
//! another 5.
//!
//! The windows of a band's steps move along the inputs as its lanes do (see [`schedule`]). Lanes
//! that fall behind leave weights to a list of stragglers. Lanes that are ahead select the last
//! element of the window, which is always zero.
//!
//! A 32-bit word holds three steps of a lane. Values that do not fit a codebook of 32 are stored
//! beside the words. Only AVX-512 has such look-ups.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod encode;
mod schedule;

use crate::aligned::{LINE, Line};
use crate::weights::PALETTE;
use std::ops::Range;

/// Outputs in a register.
const LANES: usize = LINE;

/// Registers of sums that share steps and the loads of windows.
const REGISTERS: usize = 4;

/// Outputs in a band.
pub(crate) const BAND: usize = LANES * REGISTERS;

/// Inputs that a step can reach: two registers, less the element that is always zero.
const WINDOW: usize = 2 * LINE - 1;

/// Steps in a word.
const WORD_STEPS: usize = 3;

/// Bits of a window offset, and of a code.
const FIELD_BITS: u32 = 5;

/// Most rows of a batch in one pass over the weights.
const PASS: usize = 4;

/// A sparse matrix for small batches.
#[derive(Debug)]
pub(crate) struct Lanes {
    inputs: usize,
    /// Output of each lane, band by band.
    order: Vec<u32>,
    bands: Vec<Band>,
    /// Start of each step's window.
    windows: Vec<u32>,
    /// A word for each lane of a band and three steps.
    words: Vec<Line<u32>>,
    values: LaneValues,
    stragglers: Vec<Straggler>,
}

#[derive(Debug)]
enum LaneValues {
    Coded([f32; PALETTE]),
    /// A value for each step and lane of a band.
    Plain(Vec<Line<f32>>),
}

/// Ends of a band's words and stragglers; they start at those of the band before.
#[derive(Debug, Clone, Copy, Default)]
struct Band {
    words: u32,
    stragglers: [u32; REGISTERS],
}

/// A weight for each lane of a register, of any inputs.
#[derive(Debug, Clone)]
struct Straggler {
    inputs: Line<u32>,
    values: Line<f32>,
}

/// View of a band for a kernel.
struct BandView<'a> {
    /// Window starts: [`WORD_STEPS`] for each [`REGISTERS`] lines of words.
    windows: &'a [u32],
    words: &'a [Line<u32>],
    values: ViewValues<'a>,
    stragglers: [&'a [Straggler]; REGISTERS],
}

/// Values of a band's steps.
enum ViewValues<'a> {
    Coded(&'a [f32; PALETTE]),
    Plain(&'a [Line<f32>]),
}

/// Sums of a band: one for each row of the batch and lane.
type Sums<const ROWS: usize> = [[f32; BAND]; ROWS];

impl Lanes {
    /// Fewest outputs: a smaller matrix would leave most lanes idle, and take more memory than a
    /// dense one.
    pub(crate) const OUTPUTS_MIN: usize = BAND / 2;

    pub(crate) fn bands(&self) -> usize {
        self.bands.len()
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let values = match &self.values {
            LaneValues::Coded(_) => 0,
            LaneValues::Plain(values) => size_of_val(&values[..]),
        };
        size_of_val(&self.order[..])
            + size_of_val(&self.bands[..])
            + size_of_val(&self.windows[..])
            + size_of_val(&self.words[..])
            + size_of_val(&self.stragglers[..])
            + values
    }

    /// Numbers in a row of inputs, with the zeros behind it that windows may reach.
    pub(crate) fn row_len(&self) -> usize {
        (self.inputs + WINDOW + 1).next_multiple_of(LINE)
    }

    /// Multiplies bands by rows, and calls `write` with (row, output, sum).
    ///
    /// `x` has rows of [`row_len`](Self::row_len): inputs, then zeros.
    ///
    /// # Panics
    /// When `x` has a partial row.
    pub(crate) fn multiply(
        &self,
        bands: Range<usize>,
        x: &[f32],
        mut write: impl FnMut(usize, usize, f32),
    ) {
        assert!(x.len().is_multiple_of(self.row_len()), "x has a partial row");
        for band in bands {
            let rows = x.chunks(PASS * self.row_len());
            for (pass, x) in rows.enumerate() {
                let count = x.len() / self.row_len();
                let sums = self.band_sums(band, x, count);
                for (row, sums) in sums.iter().enumerate().take(count) {
                    let outputs = self.order[band * BAND..].iter().zip(sums);
                    outputs.for_each(|(o, sum)| write(pass * PASS + row, *o as usize, *sum));
                }
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn band_sums(&self, band: usize, x: &[f32], rows: usize) -> Sums<PASS> {
        let view = self.view(band);
        let mut sums = [[0.0; BAND]; PASS];
        let len = self.row_len();
        // SAFETY: there is a format of this kind only where the processor has AVX-512 F. Windows
        // start and stragglers lie within the inputs, or right behind them; rows are that long and
        // have the zeros after them.
        unsafe {
            match rows {
                1 => sums[..1].copy_from_slice(&avx512::sums::<1>(&view, x.as_ptr(), len)),
                2 => sums[..2].copy_from_slice(&avx512::sums::<2>(&view, x.as_ptr(), len)),
                3 => sums[..3].copy_from_slice(&avx512::sums::<3>(&view, x.as_ptr(), len)),
                _ => sums = avx512::sums::<PASS>(&view, x.as_ptr(), len),
            }
        }
        sums
    }

    /// Never called: this format is made only on x86-64.
    #[cfg(not(target_arch = "x86_64"))]
    fn band_sums(&self, _: usize, _: &[f32], _: usize) -> Sums<PASS> {
        [[0.0; BAND]; PASS]
    }

    fn view(&self, index: usize) -> BandView<'_> {
        let before = index.checked_sub(1).map_or(Band::default(), |before| self.bands[before]);
        let band = &self.bands[index];
        let words = before.words as usize..band.words as usize;
        let steps = words.start * WORD_STEPS..words.end * WORD_STEPS;
        let mut start = before.stragglers[REGISTERS - 1] as usize;
        BandView {
            windows: &self.windows[steps.start..steps.end],
            words: &self.words[words.start * REGISTERS..words.end * REGISTERS],
            values: match &self.values {
                LaneValues::Coded(codebook) => ViewValues::Coded(codebook),
                LaneValues::Plain(values) => {
                    ViewValues::Plain(&values[steps.start * REGISTERS..steps.end * REGISTERS])
                }
            },
            stragglers: band.stragglers.map(|end| {
                let range = start..end as usize;
                start = range.end;
                &self.stragglers[range]
            }),
        }
    }
}
