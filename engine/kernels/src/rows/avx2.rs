//! Products with AVX2: half a line at a time.

use super::{CHUNK, GROUP, Group, Pass};
use crate::aligned::LINE;
use std::arch::x86_64::*;

/// Numbers in a register.
const HALF: usize = LINE / 2;

/// Adds the products of a tile.
///
/// # Safety
/// The processor has AVX2 and FMA.
///
/// The pass's groups have as many steps as there are weights, whose inputs lie in the tile or on
/// its line of zeros. There is a strip for every sixteen positions, and the sums have as many lines
/// for each output of a band.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn add(pass: &Pass<'_>, sums: &mut [f32]) {
    let strips = pass.starts.len();
    let (mut offsets, mut values) = ([0_u32; CHUNK * GROUP], [0.0_f32; CHUNK * GROUP]);
    let mut first = 0;
    for group in pass.groups {
        let mut left = usize::from(group.steps);
        while left > 0 {
            let steps = left.min(CHUNK);
            for (index, (offset, value)) in
                offsets.iter_mut().zip(&mut values).take(steps * GROUP).enumerate()
            {
                let (input, weight) = pass.weight(first + index);
                (*offset, *value) = ((input * LINE) as u32, weight);
            }
            for half in 0..pass.positions.div_ceil(HALF) {
                let (strip, half) = (half / 2, half % 2 * HALF);
                let panel = pass.lines[pass.starts[strip] + half..].as_ptr();
                let weights = (&offsets[..steps * GROUP], &values[..steps * GROUP]);
                let place = HalfLines { start: strip * LINE + half, stride: strips * LINE };
                // SAFETY: the processor has the instructions, and panel and sums are as the
                // caller says.
                unsafe { multiply(weights, panel, group, place, sums.as_mut_ptr()) };
            }
            first += steps * GROUP;
            left -= steps;
        }
    }
}

/// Position of the half lines of a band's sums.
#[derive(Clone, Copy)]
struct HalfLines {
    start: usize,
    stride: usize,
}

/// Multiplies weights of a group by their half lines.
///
/// # Safety
/// As [`add`]: each offset is that of a line in the panel, and the sums have half a line at
/// `place` for each output.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply(
    (offsets, values): (&[u32], &[f32]),
    panel: *const f32,
    group: &Group,
    place: HalfLines,
    sums: *mut f32,
) {
    let line = |lane: usize| place.start + usize::from(group.outputs[lane]) * place.stride;
    // SAFETY: as the caller says.
    let mut acc: [__m256; GROUP] =
        std::array::from_fn(|lane| unsafe { _mm256_loadu_ps(sums.add(line(lane))) });
    let steps = offsets.chunks_exact(GROUP).zip(values.chunks_exact(GROUP));
    for (offsets, values) in steps {
        for ((acc, offset), value) in acc.iter_mut().zip(offsets).zip(values) {
            // SAFETY: as the caller says.
            let x = unsafe { _mm256_loadu_ps(panel.add(*offset as usize)) };
            *acc = _mm256_fmadd_ps(x, _mm256_set1_ps(*value), *acc);
        }
    }
    for (lane, acc) in acc.into_iter().enumerate() {
        // SAFETY: as the caller says.
        unsafe { _mm256_storeu_ps(sums.add(line(lane)), acc) };
    }
}
