//! Products of bytes with AVX-512 VNNI: a register is a line of outputs, and accumulates the
//! products of four inputs at once.

use super::quantize::Range;
use super::weights::{Codes, GROUP};
use super::{Job, PANELS, ROWS, Tile};
use crate::aligned::{LINE, Line};
use std::arch::x86_64::*;

/// Computes the product of a tile.
///
/// # Safety
/// The processor has AVX-512 F, BW and VNNI. The tile has [`ROWS`] rows and [`PANELS`] panels at
/// most, and no other part writes these numbers of the product.
pub(super) unsafe fn tile(job: &Job<'_>, tile: Tile) {
    // SAFETY: the caller's promise.
    unsafe {
        match tile.rows {
            1 => panels::<1>(job, tile),
            2 => panels::<2>(job, tile),
            3 => panels::<3>(job, tile),
            4 => panels::<4>(job, tile),
            5 => panels::<5>(job, tile),
            _ => panels::<ROWS>(job, tile),
        }
    }
}

/// # Safety
/// As [`tile`]; and the tile has `COUNT` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn panels<const COUNT: usize>(job: &Job<'_>, tile: Tile) {
    // SAFETY: the caller's promise.
    unsafe {
        match tile.panels {
            1 => sums::<COUNT, 1>(job, tile),
            2 => sums::<COUNT, 2>(job, tile),
            3 => sums::<COUNT, 3>(job, tile),
            _ => sums::<COUNT, PANELS>(job, tile),
        }
    }
}

/// # Safety
/// As [`panels`]; and the tile has `WIDTH` panels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn sums<const COUNT: usize, const WIDTH: usize>(job: &Job<'_>, tile: Tile) {
    let weights = &job.matrix.weights;
    let Codes::Bytes(lines) = &weights.codes else { return };
    let groups = weights.groups;
    let lines: [&[Line<[i8; GROUP]>]; WIDTH] = std::array::from_fn(|panel| {
        let first = (tile.panel + panel) * groups;
        &lines[first..first + groups]
    });
    // A float has the bytes of four inputs.
    let rows: [&[f32]; COUNT] = std::array::from_fn(|row| {
        let first = (tile.row + row) * job.stride;
        &job.codes[first..first + groups]
    });
    let mut sums = [[_mm512_setzero_si512(); WIDTH]; COUNT];
    for panel in 0..WIDTH {
        let start = weights.starts[tile.panel + panel].0.as_ptr();
        // SAFETY: a line is a register.
        let start = unsafe { _mm512_load_si512(start.cast()) };
        sums.iter_mut().for_each(|sums| sums[panel] = start);
    }
    for group in 0..groups {
        // SAFETY: there are so many groups of each panel and each row, and a line is a register.
        let lines: [__m512i; WIDTH] = std::array::from_fn(|panel| unsafe {
            _mm512_load_si512(lines[panel].as_ptr().add(group).cast())
        });
        for row in 0..COUNT {
            // SAFETY: as above.
            let four = unsafe { rows[row].as_ptr().add(group).cast::<i32>().read() };
            let four = _mm512_set1_epi32(four);
            for panel in 0..WIDTH {
                sums[row][panel] = _mm512_dpbusd_epi32(sums[row][panel], four, lines[panel]);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { finish(job, tile.row + row, tile.panel, sums) };
    }
}

/// Computes the floats of a row from its sums.
///
/// # Safety
/// As [`tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn finish<const WIDTH: usize>(
    job: &Job<'_>,
    row: usize,
    panel: usize,
    sums: &[__m512i; WIDTH],
) {
    let Range { step, center } = job.range(row);
    let (step, center) = (_mm512_set1_ps(step), _mm512_set1_ps(center));
    let outputs = job.matrix.outputs;
    let first = panel * LINE;
    let count = (WIDTH * LINE).min(outputs - first);
    let start = row * outputs + first;
    // SAFETY: the caller's promise.
    let y = unsafe { job.y.part(start..start + count) };
    for (place, (sums, y)) in sums.iter().zip(y.chunks_mut(LINE)).enumerate() {
        let (scales, shifts) = job.matrix.weights.outputs_of(panel + place);
        // A register has sixteen numbers.
        let mask = (u32::MAX >> (32 - y.len())) as __mmask16;
        // SAFETY: scales and shifts are lines; of the others, the mask has no more than there is.
        unsafe {
            let product = _mm512_mul_ps(_mm512_cvtepi32_ps(*sums), step);
            let product = _mm512_mul_ps(product, _mm512_load_ps(scales.as_ptr()));
            let mut product = _mm512_fmadd_ps(center, _mm512_load_ps(shifts.as_ptr()), product);
            if let Some(bias) = job.finish.bias {
                let bias = bias[first + place * LINE..].as_ptr();
                product = _mm512_add_ps(product, _mm512_maskz_loadu_ps(mask, bias));
            }
            _mm512_mask_storeu_ps(y.as_mut_ptr(), mask, product);
        }
    }
    job.finish.activation.apply(y);
}
