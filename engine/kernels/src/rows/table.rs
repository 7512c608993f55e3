//! Products of one or two rows with AVX2, each looked up in a table.
//!
//! The table of a tile has the products of its inputs and all values of the codebook. A slot is the
//! index of its product there, so a weight is loaded and added, and nothing is unpacked or
//! multiplied. Each product serves many outputs. Without a codebook the table has the inputs.

use super::{BAND, CODE_BITS, GROUP, STEPS, TABLE_ROWS, ViewValues, Weights};
use crate::aligned::Floats;
use crate::weights::PALETTE;
use std::arch::x86_64::*;

/// Numbers in a register of eight.
const WIDE: usize = 8;

/// Slots of one round.
const ROUND: usize = GROUP * STEPS;

/// Inputs of a tile: some rows of equal length.
#[derive(Clone, Copy)]
pub(super) struct TileRows<'a> {
    /// Rows from the first input of the tile on.
    pub(super) x: &'a [f32],
    pub(super) stride: usize,
    pub(super) rows: usize,
    /// Inputs of the tile that exist.
    pub(super) inputs: usize,
    /// Inputs of a whole tile.
    pub(super) tile: usize,
}

impl TileRows<'_> {
    /// Numbers of an input, one for each place of a register of eight: rows repeat.
    #[inline(always)]
    fn pattern<const ROWS: usize>(&self, input: usize) -> [f32; WIDE] {
        let entry: [f32; ROWS] = std::array::from_fn(|row| self.x[row * self.stride + input]);
        std::array::from_fn(|place| entry[place % ROWS])
    }
}

/// Writes the table of a tile.
///
/// # Safety
/// The processor has AVX2 and FMA.
pub(super) unsafe fn fill(table: &mut Floats, values: ViewValues<'_>, tile: TileRows<'_>) {
    // The inputs, and a zero behind them.
    let entries = match values {
        ViewValues::Coded(_) => (tile.tile + 1) * PALETTE,
        ViewValues::Plain(_) => tile.tile + 1,
    };
    table.grow(entries * tile.rows);
    // SAFETY: the caller's promise.
    unsafe {
        match tile.rows {
            1 => fill_rows::<1>(table, values, tile),
            _ => fill_rows::<TABLE_ROWS>(table, values, tile),
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn fill_rows<const ROWS: usize>(table: &mut [f32], values: ViewValues<'_>, tile: TileRows<'_>) {
    let zero = match values {
        ViewValues::Coded(codebook) => {
            let used = codebook.iter().rposition(|value| *value != 0.0).map_or(0, |last| last + 1);
            let mut spread = [0.0; PALETTE * TABLE_ROWS];
            for (place, value) in spread.iter_mut().enumerate().take(used * ROWS) {
                *value = codebook[place / ROWS];
            }
            let (spread, _) = spread[..(used * ROWS).next_multiple_of(WIDE)].as_chunks::<WIDE>();
            let entries = table.chunks_exact_mut(PALETTE * ROWS);
            for (input, entries) in entries.enumerate().take(tile.inputs) {
                let pattern = tile.pattern::<ROWS>(input);
                let (entries, _) = entries.as_chunks_mut::<WIDE>();
                for (entry, spread) in entries.iter_mut().zip(spread) {
                    *entry = std::array::from_fn(|place| spread[place] * pattern[place]);
                }
            }
            tile.tile * PALETTE
        }
        ViewValues::Plain(_) => {
            for (input, entry) in table.chunks_exact_mut(ROWS).enumerate().take(tile.inputs) {
                entry.copy_from_slice(&tile.pattern::<ROWS>(input)[..ROWS]);
            }
            tile.tile
        }
    };
    table[zero * ROWS..(zero + 1) * ROWS].fill(0.0);
}

/// Adds the products of a tile to the sums of a band, which have a number for each output and row.
/// Prefetches the slots that come `after`: bands of a tile do not lie side by side.
///
/// # Safety
/// The processor has AVX2 and FMA. The table is that of the tile and of so many rows. Groups have
/// as many steps as there are weights, whole rounds each.
pub(super) unsafe fn add(
    weights: Weights<'_>,
    after: &[u16],
    table: &[f32],
    rows: usize,
    sums: &mut [f32],
) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows {
            1 => add_rows::<1>(weights, after, table.as_ptr(), sums),
            _ => add_rows::<TABLE_ROWS>(weights, after, table.as_ptr(), sums),
        }
    }
}

/// # Safety
/// As [`add`].
#[target_feature(enable = "avx2,fma")]
unsafe fn add_rows<const ROWS: usize>(
    weights: Weights<'_>,
    after: &[u16],
    table: *const f32,
    sums: &mut [f32],
) {
    assert!(sums.len() >= BAND * ROWS, "the sums are too short");
    let mut slots = weights.slots;
    let mut after = after.as_ptr();
    let mut values = match weights.values {
        ViewValues::Coded(_) => std::ptr::null(),
        ViewValues::Plain(values) => values.as_ptr(),
    };
    for group in weights.groups {
        let (own, rest) = slots.split_at(usize::from(group.steps) * GROUP);
        slots = rest;
        let (rounds, _) = own.as_chunks::<ROUND>();
        let mut acc = [_mm_setzero_ps(); ROUND];
        for round in rounds {
            // A hint, oftener than once a line: a branch would cost more.
            _mm_prefetch::<_MM_HINT_T1>(after.cast());
            after = after.wrapping_add(ROUND);
            let (steps, _) = round.as_chunks::<GROUP>();
            for (slots, acc) in steps.iter().zip(acc.as_chunks_mut::<GROUP>().0) {
                // SAFETY: four slots are a quad, and loading them at once is faster. Each slot has
                // an entry in the table, and a value if there is no codebook.
                unsafe {
                    let quad = slots.as_ptr().cast::<u64>().read_unaligned();
                    for (lane, acc) in acc.iter_mut().enumerate() {
                        let slot = (quad >> (lane * 16)) as usize & 0xffff;
                        *acc = match weights.values {
                            ViewValues::Coded(_) => {
                                add_entry::<ROWS>(*acc, entry::<ROWS>(table, slot))
                            }
                            ViewValues::Plain(_) => {
                                let x = entry::<ROWS>(table, slot >> CODE_BITS);
                                _mm_fmadd_ps(x, _mm_broadcast_ss(&*values.add(lane)), *acc)
                            }
                        };
                    }
                }
                values = values.wrapping_add(GROUP);
            }
        }
        for (lane, output) in group.outputs.into_iter().enumerate() {
            let both = _mm_add_ps(acc[lane], acc[GROUP + lane]);
            let sums = &mut sums[usize::from(output) * ROWS..][..ROWS];
            // SAFETY: the sums of an output are one number or two.
            unsafe {
                let own = entry::<ROWS>(sums.as_ptr(), 0);
                match ROWS {
                    1 => _mm_store_ss(sums.as_mut_ptr(), _mm_add_ss(own, both)),
                    _ => _mm_storel_pd(
                        sums.as_mut_ptr().cast(),
                        _mm_castps_pd(_mm_add_ps(own, both)),
                    ),
                }
            }
        }
    }
}

/// Loads an entry of a table: a number for each row.
///
/// # Safety
/// The processor has AVX2, and the table has the entry.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn entry<const ROWS: usize>(table: *const f32, index: usize) -> __m128 {
    // SAFETY: the caller's promise.
    unsafe {
        let start = table.add(index * ROWS);
        match ROWS {
            1 => _mm_load_ss(start),
            _ => _mm_castpd_ps(_mm_load_sd(start.cast())),
        }
    }
}

/// Adds an entry to its sums.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_entry<const ROWS: usize>(acc: __m128, entry: __m128) -> __m128 {
    if ROWS == 1 { _mm_add_ss(acc, entry) } else { _mm_add_ps(acc, entry) }
}
