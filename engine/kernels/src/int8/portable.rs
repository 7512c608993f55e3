//! Products of bytes in plain Rust.

use super::weights::{Codes, GROUP};
use super::{Job, Tile};
use crate::aligned::LINE;

/// Computes the product of a tile.
///
/// # Safety
/// No other part writes these numbers of the product.
pub(super) unsafe fn tile(job: &Job<'_>, tile: Tile) {
    let weights = &job.matrix.weights;
    let Codes::Words(lines) = &weights.codes else { return };
    for row in tile.row..tile.row + tile.rows {
        let words = words(job, row);
        for panel in tile.panel..tile.panel + tile.panels {
            let mut sums = [0_i32; LINE];
            let lines = &lines[panel * weights.groups * 2..(panel + 1) * weights.groups * 2];
            for (line, pair) in lines.iter().zip(words.chunks_exact(2)) {
                for (sum, [first, second]) in sums.iter_mut().zip(line.0) {
                    *sum += i32::from(first) * i32::from(pair[0]);
                    *sum += i32::from(second) * i32::from(pair[1]);
                }
            }
            // SAFETY: the caller's promise.
            unsafe { job.finish(row, panel, &sums) };
        }
    }
}

/// Codes of a row, as many as the groups of weights need.
pub(super) fn words<'a>(job: &'a Job<'_>, row: usize) -> &'a [i16] {
    let floats = &job.codes[row * job.stride..(row + 1) * job.stride];
    let count = (job.matrix.weights.groups * GROUP).min(floats.len() * 2);
    // SAFETY: a float is two integers of 16 bits, of which all values are right.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast::<i16>(), count) }
}
