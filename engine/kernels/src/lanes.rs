//! The format for few rows of a batch: outputs side by side.
//!
//! Sixteen outputs are the lanes of a register, and a step multiplies one weight of each. Memory
//! look-ups would be slow, so a step looks at a *window* of inputs only, which lie in two
//! registers: a lane picks its own with 5 bits, and its value out of a codebook in two more
//! registers with another 5. The windows of a band's steps move along the inputs as its lanes
//! do (see [`schedule`]); lanes that fall behind leave weights to a list of stragglers, and lanes
//! that are ahead pick the last place of the window, which is always zero.
//!
//! A 32-bit word holds three steps of a lane. Values that do not fit a codebook of 32 lie beside
//! the words. Only AVX-512 has such look-ups.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod encode;
mod schedule;

use crate::aligned::{LINE, Line};
use crate::weights::PALETTE;
use std::ops::Range;

/// Outputs of a register.
const LANES: usize = LINE;

/// The registers of sums that take their steps together, and share the loads of the windows.
const TEAMS: usize = 4;

/// The outputs of a band.
pub(crate) const BAND: usize = LANES * TEAMS;

/// The inputs that a step can reach: two registers, less the place that is always zero.
const WINDOW: usize = 2 * LINE - 1;

/// The steps that a word holds.
const WORD_STEPS: usize = 3;

/// Bits of a place in the window, and of a code.
const FIELD_BITS: u32 = 5;

/// The rows of a batch that one pass over the weights takes at most.
const PASS: usize = 4;

/// A sparse matrix for few rows.
#[derive(Debug)]
pub(crate) struct Lanes {
    inputs: usize,
    /// The output of each lane, band by band.
    order: Vec<u32>,
    bands: Vec<Band>,
    /// Where the window of each step starts.
    windows: Vec<u32>,
    /// For each three steps a word for each lane of a band.
    words: Vec<Line<u32>>,
    values: LaneValues,
    stragglers: Vec<Straggler>,
}

#[derive(Debug)]
enum LaneValues {
    Coded([f32; PALETTE]),
    /// For each step a value for each lane of a band.
    Plain(Vec<Line<f32>>),
}

/// Where a band's words and stragglers end; they start where those of the band before end.
#[derive(Debug, Clone, Copy, Default)]
struct Band {
    words: u32,
    stragglers: [u32; TEAMS],
}

/// A weight for each lane of a team, of inputs anywhere.
#[derive(Debug, Clone)]
struct Straggler {
    inputs: Line<u32>,
    values: Line<f32>,
}

/// What a kernel works through: a band.
struct BandView<'a> {
    /// [`WORD_STEPS`] for each [`TEAMS`] lines of words.
    windows: &'a [u32],
    words: &'a [Line<u32>],
    values: ViewValues<'a>,
    stragglers: [&'a [Straggler]; TEAMS],
}

/// The values of a band's steps.
enum ViewValues<'a> {
    Coded(&'a [f32; PALETTE]),
    Plain(&'a [Line<f32>]),
}

/// A band's sums: for each row of the batch one for each of its lanes.
type Sums<const ROWS: usize> = [[f32; BAND]; ROWS];

impl Lanes {
    /// A matrix of fewer outputs would leave most lanes idle, and take more memory than a dense
    /// one.
    pub(crate) const OUTPUTS_MIN: usize = BAND / 2;

    pub(crate) fn bands(&self) -> usize {
        self.bands.len()
    }

    /// What it takes in memory.
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

    /// The numbers that a row of inputs takes, with the zeros behind it that windows may reach.
    pub(crate) fn row_len(&self) -> usize {
        (self.inputs + WINDOW + 1).next_multiple_of(LINE)
    }

    /// Multiplies some bands by some rows, and gives each sum to `write` as (row, output, sum).
    ///
    /// `x` has rows of [`row_len`](Self::row_len): inputs, then zeros.
    ///
    /// # Panics
    /// When `x` has not whole rows.
    pub(crate) fn multiply(
        &self,
        bands: Range<usize>,
        x: &[f32],
        mut write: impl FnMut(usize, usize, f32),
    ) {
        assert!(x.len().is_multiple_of(self.row_len()), "x has not whole rows");
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

    /// Never comes to be called: no such format is made for other processors.
    #[cfg(not(target_arch = "x86_64"))]
    fn band_sums(&self, _: usize, _: &[f32], _: usize) -> Sums<PASS> {
        [[0.0; BAND]; PASS]
    }

    fn view(&self, index: usize) -> BandView<'_> {
        let before = index.checked_sub(1).map_or(Band::default(), |before| self.bands[before]);
        let band = &self.bands[index];
        let words = before.words as usize..band.words as usize;
        let steps = words.start * WORD_STEPS..words.end * WORD_STEPS;
        let mut start = before.stragglers[TEAMS - 1] as usize;
        BandView {
            windows: &self.windows[steps.start..steps.end],
            words: &self.words[words.start * TEAMS..words.end * TEAMS],
            values: match &self.values {
                LaneValues::Coded(codebook) => ViewValues::Coded(codebook),
                LaneValues::Plain(values) => {
                    ViewValues::Plain(&values[steps.start * TEAMS..steps.end * TEAMS])
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
