//! Products with AVX-512: a strip is a register wide.

use super::{CHUNK, GROUP, Group, INPUT_MASK, Pass, ViewValues, prefetch};
use crate::aligned::{LINE, Line};
use crate::weights::PALETTE;
use std::arch::x86_64::*;

/// Values of a chunk of weights, padded to registers.
type Values = [Line<f32>; CHUNK * GROUP / LINE];

/// Adds the products of a tile, for `STRIPS` strips.
///
/// # Safety
/// The processor has AVX-512 F.
///
/// The pass's groups have as many steps as there are weights, whose inputs lie in the tile or on
/// its line of zeros. There are `STRIPS` strips, and the sums have as many lines for each output of
/// a band.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn add<const STRIPS: usize, const SETS: usize>(
    pass: &Pass<'_>,
    sums: &mut [f32],
) {
    let mut unpacked: Values = [Line([0.0; LINE]); CHUNK * GROUP / LINE];
    let strips: [*const f32; STRIPS] =
        std::array::from_fn(|strip| pass.lines.as_ptr().wrapping_add(pass.starts[strip]));
    let mut first = 0;
    for group in pass.weights.groups {
        let mut left = usize::from(group.steps);
        while left > 0 {
            let steps = left.min(CHUNK);
            let slots = &pass.weights.slots[first..first + steps * GROUP];
            prefetch(slots);
            let values = match pass.weights.values {
                ViewValues::Coded(codebook) => {
                    let whole = (steps * GROUP).next_multiple_of(LINE);
                    unpack(&pass.weights.slots[first..first + whole], codebook, &mut unpacked);
                    unpacked.as_ptr().cast()
                }
                ViewValues::Plain(values) => values[first..first + steps * GROUP].as_ptr(),
            };
            // SAFETY: there is a value for each slot; the rest is the caller's promise.
            unsafe { multiply::<STRIPS, SETS>(slots, values, strips, group, sums) };
            first += steps * GROUP;
            left -= steps;
        }
    }
}

/// Multiplies the weights of some steps of a group by their lines.
///
/// # Safety
/// As [`add`]; and there is a value for each slot.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn multiply<const STRIPS: usize, const SETS: usize>(
    slots: &[u16],
    values: *const f32,
    strips: [*const f32; STRIPS],
    group: &Group,
    sums: &mut [f32],
) {
    let sums = sums.as_mut_ptr();
    let line =
        |lane: usize, strip: usize| (usize::from(group.outputs[lane]) * STRIPS + strip) * LINE;
    // SAFETY: the sums have `STRIPS` lines for each output of a band; each slot has the input of
    // a line in the tile.
    unsafe {
        let mut sets = [[[_mm512_setzero_ps(); STRIPS]; GROUP]; SETS];
        sets[0] = std::array::from_fn(|lane| {
            std::array::from_fn(|strip| _mm512_loadu_ps(sums.add(line(lane, strip))))
        });
        let (steps, _) = slots.as_chunks::<GROUP>();
        let (rounds, rest) = steps.as_chunks::<SETS>();
        let mut values = values;
        for round in rounds {
            for (slots, acc) in round.iter().zip(&mut sets) {
                step(slots, values, strips, acc);
                values = values.add(GROUP);
            }
        }
        for slots in rest {
            step(slots, values, strips, &mut sets[0]);
            values = values.add(GROUP);
        }
        for lane in 0..GROUP {
            for strip in 0..STRIPS {
                let mut acc = sets[0][lane][strip];
                for set in &sets[1..] {
                    acc = _mm512_add_ps(acc, set[lane][strip]);
                }
                _mm512_storeu_ps(sums.add(line(lane, strip)), acc);
            }
        }
    }
}

/// Multiplies one weight of each output of a group by its lines.
///
/// # Safety
/// As [`multiply`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn step<const STRIPS: usize>(
    slots: &[u16; GROUP],
    values: *const f32,
    strips: [*const f32; STRIPS],
    acc: &mut [[__m512; STRIPS]; GROUP],
) {
    // SAFETY: four slots are a quad; the rest is the caller's promise.
    unsafe {
        let quad = slots.as_ptr().cast::<u64>().read_unaligned();
        for (lane, acc) in acc.iter_mut().enumerate() {
            let slot = (quad >> (lane * 16)) as usize;
            let offset = (slot & INPUT_MASK) * 2;
            let value = _mm512_set1_ps(*values.add(lane));
            for (acc, strip) in acc.iter_mut().zip(strips) {
                let line = _mm512_loadu_ps(strip.byte_add(offset));
                *acc = _mm512_fmadd_ps(line, value, *acc);
            }
        }
    }
}

/// Looks up the values of whole lines of slots.
#[inline]
#[target_feature(enable = "avx512f")]
fn unpack(slots: &[u16], codebook: &[f32; PALETTE], values: &mut Values) {
    // SAFETY: the codebook has two registers of values.
    let (low, high) =
        unsafe { (_mm512_loadu_ps(codebook.as_ptr()), _mm512_loadu_ps(codebook[LINE..].as_ptr())) };
    let (lines, _) = slots.as_chunks::<LINE>();
    for (slots, values) in lines.iter().zip(values) {
        // SAFETY: a line of slots is half a register.
        let slots = unsafe { _mm256_loadu_si256(slots.as_ptr().cast()) };
        // The look-up takes the lowest five bits, which are the code.
        let value = _mm512_permutex2var_ps(low, _mm512_cvtepu16_epi32(slots), high);
        // SAFETY: a line is a register wide.
        unsafe { _mm512_store_ps(values.0.as_mut_ptr(), value) };
    }
}
