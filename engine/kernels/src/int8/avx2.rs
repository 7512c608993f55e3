//! Products of bytes with AVX2, widened to 16 bits: sums of two products fit 32.

use super::portable::words;
use super::weights::Codes;
use super::{Job, ROWS, Tile};
use crate::aligned::{LINE, Line};
use std::arch::x86_64::*;

/// Registers in a line.
const HALVES: usize = 2;

/// Computes the product of a tile.
///
/// # Safety
/// The processor has AVX2. The tile has [`ROWS`] rows at most, and no other part writes these
/// numbers of the product.
pub(super) unsafe fn tile(job: &Job<'_>, tile: Tile) {
    // SAFETY: the caller's promise.
    unsafe {
        match tile.rows {
            1 => rows::<1>(job, tile),
            2 => rows::<2>(job, tile),
            3 => rows::<3>(job, tile),
            4 => rows::<4>(job, tile),
            5 => rows::<5>(job, tile),
            _ => rows::<ROWS>(job, tile),
        }
    }
}

/// # Safety
/// As [`tile`]; and the tile has `COUNT` rows.
#[target_feature(enable = "avx2,fma")]
unsafe fn rows<const COUNT: usize>(job: &Job<'_>, tile: Tile) {
    let weights = &job.matrix.weights;
    let Codes::Words(lines) = &weights.codes else { return };
    let pairs = weights.groups * 2;
    let rows: [&[i16]; COUNT] = std::array::from_fn(|row| &words(job, tile.row + row)[..pairs * 2]);
    for panel in tile.panel..tile.panel + tile.panels {
        let lines = &lines[panel * pairs..(panel + 1) * pairs];
        let mut sums = [[_mm256_setzero_si256(); HALVES]; COUNT];
        for (pair, line) in lines.iter().enumerate() {
            let start = line.0.as_ptr().cast::<__m256i>();
            // SAFETY: a line is two registers of 16-bit integers.
            let halves: [__m256i; HALVES] =
                std::array::from_fn(|half| unsafe { _mm256_load_si256(start.add(half)) });
            for (row, sums) in rows.iter().zip(&mut sums) {
                // SAFETY: each row has two integers for each line.
                let both = unsafe { row.as_ptr().add(pair * 2).cast::<i32>().read_unaligned() };
                let both = _mm256_set1_epi32(both);
                for (sum, half) in sums.iter_mut().zip(&halves) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(both, *half));
                }
            }
        }
        for (row, halves) in sums.iter().enumerate() {
            let mut line = Line([0_i32; LINE]);
            for (half, sums) in halves.iter().enumerate() {
                // SAFETY: a line is two registers.
                unsafe {
                    _mm256_store_si256(line.0.as_mut_ptr().cast::<__m256i>().add(half), *sums);
                };
            }
            // SAFETY: the caller's promise.
            unsafe { job.finish(tile.row + row, panel, &line.0) };
        }
    }
}
