//! Start and end of a convolution's sums.

use super::plan::StripPosition;
use crate::aligned::LINE;
use crate::level::at_level;
use crate::parallel::SharedSlice;
use crate::{Activation, Level};
use std::ops::Range;

at_level! {
    /// Starts the sums of the outputs, each `width` wide.
    pub(super) fn start(bias: Option<&[f32]>, outputs: usize, sums: &mut [f32], width: usize) {
        let sums = &mut sums[..outputs * width];
        let Some(bias) = bias else { return sums.fill(0.0) };
        let lines = sums.chunks_exact_mut(width).zip(bias);
        lines.for_each(|(line, bias)| line.fill(*bias));
    }
}

/// Sums of some outputs, and their positions in the output.
pub(super) struct Band<'a> {
    /// A line for each output and strip.
    pub(super) sums: &'a [f32],
    /// Position of each strip.
    pub(super) places: &'a [StripPosition],
    pub(super) outputs: Range<usize>,
    /// Output channels of an image.
    pub(super) of_image: usize,
    /// Pixels of an output channel.
    pub(super) pixels: usize,
    pub(super) residual: Option<&'a [f32]>,
    pub(super) activation: Activation,
}

/// Writes a band's sums.
///
/// # Safety
/// No other thread writes these numbers.
pub(super) unsafe fn write(level: Level, band: &Band<'_>, y: &SharedSlice<'_>) {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx512 {
        // SAFETY: the processor has AVX-512 F; the rest is the caller's promise.
        return unsafe { band.write_avx512(y) };
    }
    let _ = level;
    band.for_each(|range, sums| {
        let residual = band.residual.map(|residual| &residual[range.clone()]);
        // SAFETY: as the caller says.
        let y = unsafe { y.part(range) };
        match residual {
            None => y.copy_from_slice(sums),
            Some(added) => {
                let terms = sums.iter().zip(added);
                y.iter_mut().zip(terms).for_each(|(y, (sum, added))| *y = sum + added);
            }
        }
        band.activation.apply(y);
    });
}

impl Band<'_> {
    /// Calls `piece` for each part of the output, with its range and its sums.
    #[inline(always)]
    fn for_each(&self, mut piece: impl FnMut(Range<usize>, &[f32])) {
        let width = self.places.len() * LINE;
        for (output, sums) in self.outputs.clone().zip(self.sums.chunks_exact(width)) {
            for (place, sums) in self.places.iter().zip(sums.chunks_exact(LINE)) {
                let start = (place.image * self.of_image + output) * self.pixels + place.pixel;
                piece(start..start + place.len, &sums[..place.len]);
            }
        }
    }

    /// # Safety
    /// The processor has AVX-512 F, and no other thread writes these outputs.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn write_avx512(&self, y: &SharedSlice<'_>) {
        use std::arch::x86_64::*;
        let zero = _mm512_setzero_ps();
        self.for_each(|range, sums| {
            let mask = ((1_u32 << sums.len()) - 1) as __mmask16;
            let added = self.residual.map(|residual| &residual[range.clone()]);
            // SAFETY: as the caller says.
            let y = unsafe { y.part(range) };
            // SAFETY: the mask has as many lanes as the slices.
            let mut value = unsafe { _mm512_maskz_loadu_ps(mask, sums.as_ptr()) };
            if let Some(added) = added {
                // SAFETY: as above.
                value =
                    _mm512_add_ps(value, unsafe { _mm512_maskz_loadu_ps(mask, added.as_ptr()) });
            }
            // These instructions return the second operand if one is not a number.
            value = match self.activation {
                Activation::None => value,
                Activation::Relu => _mm512_max_ps(zero, value),
                Activation::LeakyRelu { slope } => {
                    let negative = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(value, zero);
                    _mm512_mask_mul_ps(value, negative, value, _mm512_set1_ps(slope))
                }
                Activation::Clip { low, high } => {
                    let value = _mm512_max_ps(_mm512_set1_ps(low), value);
                    _mm512_min_ps(_mm512_set1_ps(high), value)
                }
            };
            if y.len() == sums.len() {
                // SAFETY: the mask has as many lanes as the slice.
                unsafe { _mm512_mask_storeu_ps(y.as_mut_ptr(), mask, value) };
            }
        });
    }
}
