//! Transposes blocks of up to sixteen by sixteen numbers.

use crate::Level;
use crate::aligned::LINE;
use crate::parallel::SharedSlice;

/// A block inside a matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    /// Index of the first number.
    pub(crate) start: usize,
    /// Distance from one row to the next.
    pub(crate) stride: usize,
    /// Rows, sixteen at most.
    pub(crate) rows: usize,
    /// Columns, sixteen at most.
    pub(crate) columns: usize,
}

impl Block {
    /// End of the last number.
    fn end(self) -> usize {
        self.start + self.rows.saturating_sub(1) * self.stride + self.columns
    }
}

/// Writes the columns of `from` as the rows of `to`. If `to` is larger, the rest becomes zero; if
/// it is smaller, the rest is left out.
///
/// # Panics
/// When a block does not lie in its slice, or is larger than sixteen.
pub(crate) fn transpose(level: Level, source: &[f32], from: Block, target: &mut [f32], to: Block) {
    // SAFETY: the target is borrowed exclusively.
    unsafe { SharedSlice::new(target).transpose(level, source, from, to) };
}

impl SharedSlice<'_> {
    /// Transposes as [`transpose`] does, into a slice that other threads write to as well.
    ///
    /// # Safety
    /// No other thread uses the numbers of the block that is written.
    ///
    /// # Panics
    /// When a block does not lie in its slice, or is larger than sixteen.
    pub(crate) unsafe fn transpose(&self, level: Level, source: &[f32], from: Block, to: Block) {
        assert!(from.end() <= source.len() && to.end() <= self.len(), "a block is outside");
        let sides = [from.rows, from.columns, to.rows, to.columns];
        assert!(sides.iter().all(|side| *side <= LINE), "a block is too large");
        #[cfg(target_arch = "x86_64")]
        if level >= Level::Avx512 {
            // SAFETY: the processor has AVX-512 F, and the blocks lie in their slices.
            unsafe { avx512::transpose(source.as_ptr(), from, self.start(), to) };
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if level == Level::Avx2 {
            // SAFETY: the processor has AVX2, and the blocks lie in their slices.
            unsafe { avx2::transpose(source.as_ptr(), from, self.start(), to) };
            return;
        }
        let _ = level;
        for row in 0..to.rows {
            for column in 0..to.columns {
                let inside = row < from.columns && column < from.rows;
                let at = from.start + column * from.stride + row;
                let value = if inside { source[at] } else { 0.0 };
                // SAFETY: as the caller says.
                unsafe { self.write(to.start + row * to.stride + column, value) };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{Block, LINE};
    use std::arch::x86_64::*;

    /// Loads sixteen rows, and exchanges halves of ever larger parts in four rounds.
    ///
    /// # Safety
    /// The processor has AVX-512 F; both blocks lie in what their pointers point to, and are no
    /// larger than sixteen by sixteen.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn transpose(source: *const f32, from: Block, target: *mut f32, to: Block) {
        let mut rows = [_mm512_setzero_ps(); LINE];
        let mask = first(from.columns);
        for (index, row) in rows.iter_mut().enumerate().take(from.rows) {
            // SAFETY: the row lies in the source, and the mask has no more than its columns.
            *row = unsafe {
                _mm512_maskz_loadu_ps(mask, source.add(from.start + index * from.stride))
            };
        }
        let rows = transpose_registers(rows);
        let mask = first(to.columns);
        for (index, row) in rows.iter().enumerate().take(to.rows) {
            // SAFETY: the row lies in the target, and the mask has no more than its columns.
            unsafe {
                _mm512_mask_storeu_ps(target.add(to.start + index * to.stride), mask, *row);
            }
        }
    }

    /// Mask of the first `count` numbers.
    fn first(count: usize) -> __mmask16 {
        ((1_u32 << count) - 1) as __mmask16
    }

    #[target_feature(enable = "avx512f")]
    fn transpose_registers(rows: [__m512; LINE]) -> [__m512; LINE] {
        let mut pairs = rows;
        for i in (0..LINE).step_by(2) {
            pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
            pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
        }
        let mut fours = pairs;
        for i in (0..LINE).step_by(4) {
            fours[i] = unpack_low(pairs[i], pairs[i + 2]);
            fours[i + 1] = unpack_high(pairs[i], pairs[i + 2]);
            fours[i + 2] = unpack_low(pairs[i + 1], pairs[i + 3]);
            fours[i + 3] = unpack_high(pairs[i + 1], pairs[i + 3]);
        }
        let mut eights = fours;
        for i in 0..4 {
            for half in [0, 8] {
                let (a, b) = (fours[half + i], fours[half + 4 + i]);
                eights[half + i] = _mm512_shuffle_f32x4::<0x88>(a, b);
                eights[half + 4 + i] = _mm512_shuffle_f32x4::<0xdd>(a, b);
            }
        }
        let mut columns = eights;
        for i in 0..8 {
            columns[i] = _mm512_shuffle_f32x4::<0x88>(eights[i], eights[8 + i]);
            columns[8 + i] = _mm512_shuffle_f32x4::<0xdd>(eights[i], eights[8 + i]);
        }
        columns
    }

    #[target_feature(enable = "avx512f")]
    fn unpack_low(a: __m512, b: __m512) -> __m512 {
        _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
    }

    #[target_feature(enable = "avx512f")]
    fn unpack_high(a: __m512, b: __m512) -> __m512 {
        _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::Block;
    use std::arch::x86_64::*;

    /// Numbers in a register.
    const SIDE: usize = 8;

    /// Mask whose window from `SIDE - count` on has the first `count` numbers.
    const MASK: [i32; 2 * SIDE] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

    /// Transposes quarters of eight by eight.
    ///
    /// # Safety
    /// The processor has AVX2; both blocks lie in what their pointers point to, and are no larger
    /// than sixteen by sixteen.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn transpose(source: *const f32, from: Block, target: *mut f32, to: Block) {
        for row in (0..to.rows).step_by(SIDE) {
            for column in (0..to.columns).step_by(SIDE) {
                let mut rows = [_mm256_setzero_ps(); SIDE];
                let count = from.columns.saturating_sub(row).min(SIDE);
                let high = from.rows.saturating_sub(column).min(SIDE);
                for (index, value) in rows.iter_mut().enumerate().take(high) {
                    let at = from.start + (column + index) * from.stride + row;
                    // SAFETY: so many numbers of the row lie in the source.
                    *value = unsafe { load(source.wrapping_add(at), count) };
                }
                let rows = transpose_registers(rows);
                let count = (to.columns - column).min(SIDE);
                let high = (to.rows - row).min(SIDE);
                for (index, value) in rows.into_iter().enumerate().take(high) {
                    let at = to.start + (row + index) * to.stride + column;
                    // SAFETY: so many numbers of the row lie in the target.
                    unsafe { store(target.wrapping_add(at), count, value) };
                }
            }
        }
    }

    /// Mask of the first `count` numbers, eight at most.
    #[target_feature(enable = "avx2,fma")]
    fn first(count: usize) -> __m256i {
        // SAFETY: the window lies in the constant.
        unsafe { _mm256_loadu_si256(MASK[SIDE - count..][..SIDE].as_ptr().cast()) }
    }

    /// # Safety
    /// `count` numbers, eight at most, can be read.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load(start: *const f32, count: usize) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe {
            match count {
                SIDE => _mm256_loadu_ps(start),
                _ => _mm256_maskload_ps(start, first(count)),
            }
        }
    }

    /// # Safety
    /// `count` numbers, eight at most, can be written.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store(start: *mut f32, count: usize, value: __m256) {
        // SAFETY: the caller's promise.
        unsafe {
            match count {
                SIDE => _mm256_storeu_ps(start, value),
                _ => _mm256_maskstore_ps(start, first(count), value),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn transpose_registers(rows: [__m256; SIDE]) -> [__m256; SIDE] {
        let mut pairs = rows;
        for i in (0..SIDE).step_by(2) {
            pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
            pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
        }
        let mut fours = pairs;
        for i in (0..SIDE).step_by(4) {
            fours[i] = _mm256_shuffle_ps::<0x44>(pairs[i], pairs[i + 2]);
            fours[i + 1] = _mm256_shuffle_ps::<0xee>(pairs[i], pairs[i + 2]);
            fours[i + 2] = _mm256_shuffle_ps::<0x44>(pairs[i + 1], pairs[i + 3]);
            fours[i + 3] = _mm256_shuffle_ps::<0xee>(pairs[i + 1], pairs[i + 3]);
        }
        let mut columns = fours;
        for i in 0..4 {
            columns[i] = _mm256_permute2f128_ps::<0x20>(fours[i], fours[4 + i]);
            columns[4 + i] = _mm256_permute2f128_ps::<0x31>(fours[i], fours[4 + i]);
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_every_size_are_transposed_and_the_rest_is_untouched() {
        let source: Vec<f32> = (0..20 * 20).map(|i| i as f32 + 1.0).collect();
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            for (rows, columns) in [(16, 16), (1, 16), (16, 1), (5, 11), (13, 3), (0, 4)] {
                let from = Block { start: 21, stride: 20, rows, columns };
                for (wide, high) in [(16, 16), (rows, columns), (16, columns)] {
                    let to = Block { start: 3, stride: 18, rows: high, columns: wide };
                    let mut target = vec![-1.0; 18 * 18];
                    transpose(level, &source, from, &mut target, to);
                    for (i, value) in target.iter().enumerate() {
                        let (r, c) = (i.wrapping_sub(3) / 18, i.wrapping_sub(3) % 18);
                        let expected = match (r < high && c < wide, r < columns && c < rows) {
                            (true, true) => source[21 + c * 20 + r],
                            (true, false) => 0.0,
                            (false, _) => -1.0,
                        };
                        assert_eq!(*value, expected, "{level} {rows}x{columns} at {r},{c}");
                    }
                }
            }
        }
    }
}
