//! Products with AVX2: a strip is two registers wide, and up to two strips share a pass.

use super::{CHUNK, GROUP, Group, INPUT_MASK, Pass, ViewValues, prefetch};
use crate::aligned::{LINE, Line};
use crate::weights::PALETTE;
use std::arch::x86_64::*;

/// Numbers in a register.
const HALF: usize = LINE / 2;

/// Most halves of strips that share the look-up of a weight.
const HALVES_MAX: usize = 4;

/// Registers of the codebook.
const TABLES: usize = PALETTE / HALF;

/// Values of a chunk of weights, padded to lines.
type Values = [Line<f32>; CHUNK * GROUP / LINE];

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
    let mut unpacked: Values = [Line([0.0; LINE]); CHUNK * GROUP / LINE];
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
            unsafe { add_chunk(pass, Chunk { slots, values }, group, sums) };
            first += steps * GROUP;
            left -= steps;
        }
    }
}

/// Weights of some steps of a group, with a value for each slot.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    slots: &'a [u16],
    values: *const f32,
}

/// Adds the products of some steps, for all positions.
///
/// # Safety
/// As [`add`]; and there is a value for each slot.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_chunk(pass: &Pass<'_>, chunk: Chunk<'_>, group: &Group, sums: &mut [f32]) {
    let stride = pass.starts.len() * LINE;
    let halves = pass.positions.div_ceil(HALF);
    for half in (0..halves).step_by(HALVES_MAX) {
        let strip = half / 2;
        let last = (strip + 1).min(pass.starts.len() - 1);
        let lines = [strip, last].map(|strip| pass.lines[pass.starts[strip]..].as_ptr());
        // A place of its own for each output of the group.
        let start = strip * LINE;
        let places = group.outputs.map(|output| {
            let place = usize::from(output) * stride + start;
            sums[place..].as_mut_ptr()
        });
        // SAFETY: as the caller says; no two outputs of a group are the same.
        unsafe {
            match halves - half {
                1 => multiply::<1, GROUP, 0>(chunk, lines, places),
                2 => multiply::<2, GROUP, 0>(chunk, lines, places),
                3 => multiply::<3, GROUP, 0>(chunk, lines, places),
                _ => {
                    // Sums of all four outputs do not fit the registers.
                    multiply::<4, 2, 0>(chunk, lines, places);
                    multiply::<4, 2, 2>(chunk, lines, places);
                }
            }
        }
    }
}

/// Multiplies the weights of `LANES` outputs of a group, from `FIRST` on, by `HALVES` halves of the
/// lines of two strips.
///
/// # Safety
/// As [`add`]: each slot has the input of a line in the tile, and each place has `HALVES` halves.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply<const HALVES: usize, const LANES: usize, const FIRST: usize>(
    chunk: Chunk<'_>,
    lines: [*const f32; 2],
    places: [*mut f32; GROUP],
) {
    // SAFETY: as the caller says.
    unsafe {
        let mut acc: [[__m256; HALVES]; LANES] = std::array::from_fn(|lane| {
            std::array::from_fn(|half| _mm256_loadu_ps(places[FIRST + lane].add(half * HALF)))
        });
        let mut values = chunk.values.add(FIRST);
        let (steps, _) = chunk.slots.as_chunks::<GROUP>();
        for slots in steps {
            let quad = slots.as_ptr().cast::<u64>().read_unaligned() >> (FIRST * 16);
            // One load for all values; a lane's is then spread within the register.
            let four = match LANES {
                2 => _mm256_castpd_ps(_mm256_broadcast_sd(&*values.cast::<f64>())),
                _ => _mm256_broadcast_ps(&*values.cast::<__m128>()),
            };
            let spread = [
                _mm256_permute_ps::<0x00>(four),
                _mm256_permute_ps::<0x55>(four),
                _mm256_permute_ps::<0xaa>(four),
                _mm256_permute_ps::<0xff>(four),
            ];
            for (lane, acc) in acc.iter_mut().enumerate() {
                let offset = ((quad >> (lane * 16)) as usize & INPUT_MASK) * 2;
                for (half, acc) in acc.iter_mut().enumerate() {
                    let line = lines[half / 2].byte_add(offset).add(half % 2 * HALF);
                    *acc = _mm256_fmadd_ps(_mm256_loadu_ps(line), spread[lane], *acc);
                }
            }
            values = values.add(GROUP);
        }
        for (lane, acc) in acc.into_iter().enumerate() {
            for (half, acc) in acc.into_iter().enumerate() {
                _mm256_storeu_ps(places[FIRST + lane].add(half * HALF), acc);
            }
        }
    }
}

/// Looks up the values of whole lines of slots.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn unpack(slots: &[u16], codebook: &[f32; PALETTE], values: &mut Values) {
    // SAFETY: the codebook has so many registers of values.
    let tables: [__m256; TABLES] =
        std::array::from_fn(|table| unsafe { _mm256_loadu_ps(codebook[table * HALF..].as_ptr()) });
    let (lines, _) = slots.as_chunks::<LINE>();
    for (slots, values) in lines.iter().zip(values) {
        let (halves, _) = slots.as_chunks::<HALF>();
        let (places, _) = values.0.as_chunks_mut::<HALF>();
        for (slots, place) in halves.iter().zip(places) {
            // SAFETY: half a line of slots is half a register.
            let slots = unsafe { _mm_loadu_si128(slots.as_ptr().cast()) };
            let slots = _mm256_cvtepu16_epi32(slots);
            // The look-up takes the lowest three bits of the code; the others choose between
            // tables, as sign bits.
            let [a, b, c, d] = tables.map(|table| _mm256_permutevar8x32_ps(table, slots));
            let fourth = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(slots));
            let fifth = _mm256_castsi256_ps(_mm256_slli_epi32::<27>(slots));
            let (low, high) = (_mm256_blendv_ps(a, b, fourth), _mm256_blendv_ps(c, d, fourth));
            let value = _mm256_blendv_ps(low, high, fifth);
            // SAFETY: half a line is a register wide.
            unsafe { _mm256_store_ps(place.as_mut_ptr(), value) };
        }
    }
}
