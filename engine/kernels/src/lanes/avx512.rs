//! Sums of a band with AVX-512.

use super::{
    BAND, BandView, FIELD_BITS, LANES, REGISTERS, Straggler, Sums, ViewValues, WINDOW, WORD_STEPS,
};
use crate::aligned::{LINE, Line};
use std::arch::x86_64::*;

/// Mask of a window's second register, without its last element.
const UPPER: __mmask16 = ((1_u32 << (WINDOW - LINE)) - 1) as __mmask16;

/// Distance of prefetches, in lines of words or values: 4 kB.
const AHEAD: usize = 64;

/// Partial sums: registers for each row.
type Accumulators<const ROWS: usize> = [[__m512; REGISTERS]; ROWS];

/// Computes the sums of a band for some rows, each `row_len` after the one before.
///
/// # Safety
/// The processor has AVX-512 F. From `x` on there are `ROWS` rows. From the start of each window,
/// and from each straggler's input, the rest of a row is at least two registers long.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn sums<const ROWS: usize>(
    band: &BandView<'_>,
    x: *const f32,
    row_len: usize,
) -> Sums<ROWS> {
    let rows: [*const f32; ROWS] = std::array::from_fn(|row| x.wrapping_add(row * row_len));
    let mut acc = [[_mm512_setzero_ps(); REGISTERS]; ROWS];
    // SAFETY: as the caller says.
    unsafe {
        match band.values {
            ViewValues::Coded(codebook) => {
                let low = _mm512_loadu_ps(codebook.as_ptr());
                let high = _mm512_loadu_ps(codebook[LINE..].as_ptr());
                coded(band, (low, high), rows, &mut acc);
            }
            ViewValues::Plain(values) => plain(band, values, rows, &mut acc),
        }
        for (register, stragglers) in band.stragglers.iter().enumerate() {
            add_stragglers(stragglers, register, rows, &mut acc);
        }
    }
    let mut sums = [[0.0; BAND]; ROWS];
    for (sums, acc) in sums.iter_mut().zip(acc) {
        for (sums, acc) in sums.chunks_exact_mut(LANES).zip(acc) {
            // SAFETY: a register's sums are a register wide.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), acc) };
        }
    }
    sums
}

/// Field of a word for one of its steps, in the lowest bits.
macro_rules! field {
    ($word:expr, $step:expr, $field:expr) => {
        _mm512_srli_epi32::<{ ($step * 2 + $field) * FIELD_BITS }>($word)
    };
}

/// # Safety
/// As [`sums`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn coded<const ROWS: usize>(
    band: &BandView<'_>,
    (low, high): (__m512, __m512),
    rows: [*const f32; ROWS],
    acc: &mut Accumulators<ROWS>,
) {
    let words = band.words.chunks_exact(REGISTERS).zip(band.windows.chunks_exact(WORD_STEPS));
    for (words, windows) in words {
        prefetch(words);
        macro_rules! step {
            ($step:literal) => {
                // SAFETY: as the caller says.
                let windows = unsafe { window(rows, windows[$step]) };
                for (register, word) in words.iter().enumerate().take(REGISTERS) {
                    // SAFETY: a line is a register wide.
                    let word = unsafe { _mm512_load_si512(word.0.as_ptr().cast()) };
                    let value = _mm512_permutex2var_ps(low, field!(word, $step, 1), high);
                    let offset = field!(word, $step, 0);
                    add(value, offset, &windows, register, acc);
                }
            };
        }
        step!(0);
        step!(1);
        step!(2);
    }
}

/// # Safety
/// As [`sums`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn plain<const ROWS: usize>(
    band: &BandView<'_>,
    values: &[Line<f32>],
    rows: [*const f32; ROWS],
    acc: &mut Accumulators<ROWS>,
) {
    let words = band.words.chunks_exact(REGISTERS).zip(band.windows.chunks_exact(WORD_STEPS));
    for ((words, windows), values) in words.zip(values.chunks_exact(REGISTERS * WORD_STEPS)) {
        prefetch(words);
        prefetch(values);
        macro_rules! step {
            ($step:literal) => {
                // SAFETY: as the caller says.
                let windows = unsafe { window(rows, windows[$step]) };
                for (register, word) in words.iter().enumerate().take(REGISTERS) {
                    // SAFETY: a line is a register wide.
                    let (word, value) = unsafe {
                        let value = values[$step * REGISTERS + register].0.as_ptr();
                        (_mm512_load_si512(word.0.as_ptr().cast()), _mm512_load_ps(value))
                    };
                    add(value, field!(word, $step, 0), &windows, register, acc);
                }
            };
        }
        step!(0);
        step!(1);
        step!(2);
    }
}

/// Prefetches data some distance ahead: a matrix is larger than the near caches, and the hardware
/// prefetcher stops at the end of a page.
#[inline(always)]
fn prefetch<T>(lines: &[Line<T>]) {
    for line in lines {
        let line: *const Line<T> = line;
        // SAFETY: it is a hint only: what lies there is not read.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(AHEAD).cast()) };
    }
}

/// Loads the inputs of a window, for each row.
///
/// # Safety
/// As [`sums`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn window<const ROWS: usize>(
    rows: [*const f32; ROWS],
    start: u32,
) -> [(__m512, __m512); ROWS] {
    rows.map(|row| {
        // SAFETY: as the caller says.
        unsafe {
            let row = row.add(start as usize);
            (_mm512_loadu_ps(row), _mm512_maskz_loadu_ps(UPPER, row.add(LINE)))
        }
    })
}

/// Adds a step's products to a register's sums.
#[inline]
#[target_feature(enable = "avx512f")]
fn add<const ROWS: usize>(
    value: __m512,
    offset: __m512i,
    windows: &[(__m512, __m512); ROWS],
    register: usize,
    acc: &mut Accumulators<ROWS>,
) {
    for (acc, (lower, upper)) in acc.iter_mut().zip(windows) {
        let x = _mm512_permutex2var_ps(*lower, offset, *upper);
        acc[register] = _mm512_fmadd_ps(value, x, acc[register]);
    }
}

/// # Safety
/// As [`sums`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn add_stragglers<const ROWS: usize>(
    stragglers: &[Straggler],
    register: usize,
    rows: [*const f32; ROWS],
    acc: &mut Accumulators<ROWS>,
) {
    for straggler in stragglers {
        // SAFETY: a line is a register wide, and inputs lie in the row as the caller says.
        unsafe {
            let inputs = _mm512_load_si512(straggler.inputs.0.as_ptr().cast());
            let value = _mm512_load_ps(straggler.values.0.as_ptr());
            for (acc, row) in acc.iter_mut().zip(rows) {
                let x = _mm512_i32gather_ps::<4>(inputs, row);
                acc[register] = _mm512_fmadd_ps(value, x, acc[register]);
            }
        }
    }
}
